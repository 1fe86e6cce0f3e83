package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRotatedLogGetsTheRecord renames the log during a run, as log rotation does, with and without
// creating a new file. The record must be in the file at the log's path.
func TestRotatedLogGetsTheRecord(t *testing.T) {
	for name, rotate := range map[string]func(path string) error{
		"renamed": func(path string) error { return os.Rename(path, path+".1") },
		"removed": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o600))
		},
	} {
		path := filepath.Join(t.TempDir(), "audit.log")
		l, _ := open(t, path)
		check(t, l.Prepare(t.Context(), event("1")))
		check(t, rotate(path))
		check(t, send(t, l, event("1")))
		check(t, l.Close())
		if all := records(t, path); len(all) != 1 || all[0].ID != "1" {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// TestPlantedRecordIsNotDelivered checks that a prepared record that another user created, or a
// symbolic link in its place, is ignored without an error. No file must be created through the
// link.
func TestPlantedRecordIsNotDelivered(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give away files")
	}
	dir := t.TempDir()
	path, elsewhere := filepath.Join(dir, "audit.log"), filepath.Join(dir, "elsewhere")
	line, err := encode(event("forged"))
	check(t, err)
	for name, content := range map[string][]byte{"forged": line, "broken": []byte("{}\n")} {
		check(t, os.WriteFile(path+".pending-"+name, content, 0o600))
		check(t, os.WriteFile(path+".pending-"+name+lockSuffix, nil, 0o600))
		check(t, os.Chown(path+".pending-"+name, 65534, 65534))
	}
	check(t, os.WriteFile(filepath.Join(dir, "secret"), line, 0o600))
	check(t, os.Symlink(filepath.Join(dir, "secret"), path+".pending-link"))
	check(t, os.WriteFile(path+".pending-z", line, 0o600))
	check(t, os.Symlink(elsewhere, path+".pending-z"+lockSuffix))
	check(t, os.Mkdir(path+".pending-folder", 0o700))
	l, n := open(t, path)
	if n != 0 {
		t.Errorf("%d records were delivered", n)
	}
	check(t, send(t, l, event("own")))
	if all := records(t, path); len(all) != 1 || all[0].ID != "own" {
		t.Errorf("records %+v", all)
	}
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("a file was created through a link")
	}
	other := filepath.Join(dir, "link.log")
	check(t, os.Symlink(elsewhere, other))
	check(t, unix.Lchown(other, 65534, 65534))
	if _, _, err := Open(t.Context(), other, Options{}); err == nil {
		t.Error("the link of another user is followed")
	}
}

// TestLogInAFolderThatCannotBeWritten checks that prepared records are stored in the spool folder
// if the folder of the log cannot be written.
func TestLogInAFolderThatCannotBeWritten(t *testing.T) {
	dir, spool := t.TempDir(), filepath.Join(t.TempDir(), "spool")
	path := filepath.Join(dir, "audit.log")
	check(t, os.WriteFile(path, nil, 0o600))
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
	check(t, unix.Mount(path, path, "", unix.MS_BIND, ""))
	t.Cleanup(func() { check(t, unix.Unmount(path, 0)) })
	check(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	l, _, err := Open(t.Context(), path, Options{Spool: spool})
	check(t, err)
	check(t, l.Prepare(t.Context(), event("1")))
	if left, err := os.ReadDir(spool); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
	check(t, errors.Join(send(t, l, event("1")), l.Close()))
	if all := records(t, path); len(all) != 1 {
		t.Errorf("records %+v", all)
	}
}

// TestPipeWithoutAReaderIsRefused checks that opening a named pipe without a reader is an error,
// and does not block.
func TestPipeWithoutAReaderIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	check(t, unix.Mkfifo(path, 0o600))
	if _, _, err := Open(t.Context(), path, Options{Spool: t.TempDir()}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}
