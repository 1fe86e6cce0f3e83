//go:build unix

package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// stranger is the ID of another user, who owns the files that the tests plant.
const stranger = 65534

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making files of another user needs root")
	}
}

func give(t *testing.T, path string) {
	t.Helper()
	if err := os.Lchown(path, stranger, stranger); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func folder(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func untrusted(t *testing.T, err error, problem Problem, at string) {
	t.Helper()
	var e *UntrustedError
	if !errors.As(err, &e) || e.Problem != problem || e.At != at {
		t.Fatalf("got %v, want %s at %s", err, problem, at)
	}
}

func TestAnotherUsersLinkIsNotFollowed(t *testing.T) {
	needRoot(t)
	for name, plant := range map[string]func(t *testing.T, shared, home string) string{
		"the file": func(t *testing.T, shared, home string) string {
			link := filepath.Join(shared, "report.json")
			if err := os.Symlink(filepath.Join(home, "profile"), link); err != nil {
				t.Fatal(err)
			}
			give(t, link)
			return link
		},
		"a folder on the way": func(t *testing.T, shared, home string) string {
			link := filepath.Join(shared, "out")
			if err := os.Symlink(home, link); err != nil {
				t.Fatal(err)
			}
			give(t, link)
			return filepath.Join(link, "profile")
		},
		"behind a link of this user": func(t *testing.T, shared, home string) string {
			link := filepath.Join(shared, "theirs")
			if err := os.Symlink(filepath.Join(home, "profile"), link); err != nil {
				t.Fatal(err)
			}
			give(t, link)
			mine := filepath.Join(shared, "mine")
			if err := os.Symlink("theirs", mine); err != nil {
				t.Fatal(err)
			}
			return mine
		},
		"to a file that does not exist": func(t *testing.T, shared, home string) string {
			link := filepath.Join(shared, "new.json")
			if err := os.Symlink(filepath.Join(home, "authorized_keys"), link); err != nil {
				t.Fatal(err)
			}
			give(t, link)
			return link
		},
	} {
		t.Run(name, func(t *testing.T) {
			home, shared := folder(t, filepath.Join(t.TempDir(), "home"), 0o700), folder(t, filepath.Join(t.TempDir(), "shared"), 0o1777|fs.ModeSticky)
			write(t, filepath.Join(home, "profile"), "mine", 0o600)
			path := plant(t, shared, home)
			err := WriteBytes(path, 0o644, []byte("theirs"))
			var e *UntrustedError
			if !errors.As(err, &e) || e.Problem != OwnedByOther {
				t.Errorf("got %v, want a refusal", err)
			}
			if got := read(t, filepath.Join(home, "profile")); got != "mine" {
				t.Errorf("the file now holds %q", got)
			}
			if entries, _ := os.ReadDir(home); len(entries) != 1 {
				t.Errorf("the folder now has %d files", len(entries))
			}
		})
	}
}

func TestOwnLinkIsFollowedAndStays(t *testing.T) {
	dir := t.TempDir()
	real := folder(t, filepath.Join(dir, "real"), 0o755)
	write(t, filepath.Join(real, "report.json"), "old", 0o644)
	for _, link := range [][2]string{{"real", "folder"}, {"folder/report.json", "report.json"}, {filepath.Join(real, "new.json"), "dangling.json"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"report.json", "dangling.json"} {
		if err := WriteBytes(filepath.Join(dir, path), 0o644, []byte("new "+path)); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(filepath.Join(dir, path)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is not a link any more: %v, %v", path, info, err)
		}
	}
	if got := read(t, filepath.Join(real, "report.json")); got != "new report.json" {
		t.Errorf("got %q", got)
	}
	if got := read(t, filepath.Join(real, "new.json")); got != "new dangling.json" {
		t.Errorf("got %q", got)
	}
}

func TestPipeIsWrittenAndNotReplaced(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		data, _ := os.ReadFile(pipe)
		got <- string(data)
	}()
	if err := WriteBytes(pipe, 0o644, []byte("through")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "through" {
		t.Errorf("got %q", s)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("the pipe is gone: %v, %v", info, err)
	}
}

func TestAnotherUsersPipeIsNotWritten(t *testing.T) {
	needRoot(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	give(t, pipe)
	untrusted(t, WriteBytes(pipe, 0o644, []byte("x")), OwnedByOther, pipe)
}

func TestOpenFileIsAppendedTo(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("no /proc here")
	}
	file := filepath.Join(t.TempDir(), "out")
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, "before "); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "stdout")
	if err := os.Symlink("/proc/self/fd/"+itoa(f.Fd()), link); err != nil {
		t.Fatal(err)
	}
	if err := WriteBytes(link, 0o644, []byte("report")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, " after"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file); got != "before report after" {
		t.Errorf("got %q", got)
	}
}

func itoa(n uintptr) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestFailedWriteLeavesOnlyTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	write(t, path, "old", 0o644)
	broken := errors.New("broken")
	err := WriteFile(path, 0o644, func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	f, err := Prepare(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Discard(), f.Discard()); err != nil {
		t.Error(err)
	}
	if err := f.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("committing a discarded file: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || read(t, path) != "old" {
		t.Errorf("the folder has %v, the file %q", entries, read(t, path))
	}
}

func TestCommitSetsPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	write(t, path, "old", 0o600)
	f, err := Prepare(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	if _, err := io.WriteString(f, "new"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("before Commit it holds %q", got)
	}
	if err := errors.Join(f.Sync(), f.Commit(), f.Discard()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 || read(t, path) != "new" {
		t.Errorf("got %v, %v, %q", info, err, read(t, path))
	}
}

func TestPrepareFailsEarly(t *testing.T) {
	dir := t.TempDir()
	if _, err := Prepare(filepath.Join(dir, "missing", "report.json"), 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	if _, err := Prepare(dir, 0o644); err == nil || !strings.Contains(err.Error(), "the path is a folder") {
		t.Errorf("a folder: %v", err)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(filepath.Join(dir, "loop"), 0o644); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a loop: %v", err)
	}
}

func TestFolderOfAnotherUserIsUntrusted(t *testing.T) {
	dir := t.TempDir()
	modes := []fs.FileMode{0o777, 0o702, 0o777 | fs.ModeSticky}
	if os.Geteuid() == 0 || os.Getegid() != os.Geteuid() {
		modes = append(modes, 0o770, 0o720)
	}
	for _, mode := range modes {
		at := folder(t, filepath.Join(dir, mode.String()), mode)
		if os.Geteuid() == 0 { // root's private group has the ID 0
			if err := os.Chown(at, 0, stranger); err != nil {
				t.Fatal(err)
			}
		}
		untrusted(t, Trusted(at), WritableByOthers, at)
	}
	sticky := filepath.Join(dir, (0o777 | fs.ModeSticky).String())
	if err := TrustedShared(sticky); err != nil {
		t.Errorf("a folder as /tmp: %v", err)
	}
	open := folder(t, filepath.Join(dir, "open"), 0o777)
	untrusted(t, TrustedShared(open), WritableByOthers, open)
	if err := Trusted(folder(t, filepath.Join(dir, "mine"), 0o755)); err != nil {
		t.Error(err)
	}
	if err := Trusted(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	needRoot(t)
	theirs := folder(t, filepath.Join(dir, "theirs"), 0o755)
	give(t, theirs)
	untrusted(t, Trusted(theirs), OwnedByOther, theirs)
	link := filepath.Join(dir, "link")
	if err := os.Symlink("mine", link); err != nil {
		t.Fatal(err)
	}
	if err := Trusted(link); err != nil {
		t.Errorf("a link of this user: %v", err)
	}
	give(t, link)
	untrusted(t, Trusted(link), OwnedByOther, link)
}

func TestFolderBelowAnotherUsersFolderIsUntrusted(t *testing.T) {
	dir := t.TempDir()
	if err := TrustedParents(filepath.Join(dir, "a", "b")); err != nil {
		t.Errorf("folders that do not exist: %v", err)
	}
	open := folder(t, filepath.Join(dir, "open"), 0o777)
	folder(t, filepath.Join(open, "cache"), 0o700)
	untrusted(t, TrustedParents(filepath.Join(open, "cache", "db")), WritableByOthers, open)
	untrusted(t, TrustedParents(filepath.Join(open, "missing")), WritableByOthers, open)
	// If a path leads through a symbolic link, the folders of the link's target are checked, too.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(open, "cache"), link); err != nil {
		t.Fatal(err)
	}
	untrusted(t, TrustedParents(filepath.Join(link, "db")), WritableByOthers, open)
	untrusted(t, TrustedParents(link), WritableByOthers, open)
	if err := os.Chmod(open, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := TrustedParents(filepath.Join(open, "cache", "db")); err != nil {
		t.Errorf("below a folder as /tmp: %v", err)
	}
}

// TestPrivateGroupMayWrite checks that a folder is trusted if only the user and the user's private
// group can write to it. With a umask of 002, every file is group-writable, but the private group
// has no other members.
func TestPrivateGroupMayWrite(t *testing.T) {
	if os.Getegid() != os.Geteuid() {
		t.Skip("this user has no group of its own")
	}
	dir := t.TempDir()
	mine := folder(t, filepath.Join(dir, "mine"), 0o775)
	if err := errors.Join(os.Chown(mine, -1, os.Getegid()), Trusted(mine), TrustedParents(filepath.Join(mine, "db"))); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(mine, 0o777); err != nil {
		t.Fatal(err)
	}
	untrusted(t, Trusted(mine), WritableByOthers, mine)
	needRoot(t)
	if err := errors.Join(os.Chmod(mine, 0o775), os.Chown(mine, 0, stranger)); err != nil {
		t.Fatal(err)
	}
	untrusted(t, Trusted(mine), WritableByOthers, mine)
}

func TestIsAppended(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pipe := filepath.Join(dir, "pipe")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("out", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	cases := map[string]bool{f.Name(): false, filepath.Join(dir, "link"): false, filepath.Join(dir, "none"): false, dir: false, pipe: true, os.DevNull: true}
	if _, err := os.Stat("/proc/self/fd"); err == nil {
		cases["/proc/self/fd/"+itoa(f.Fd())], cases["/dev/fd/"+itoa(f.Fd())] = true, true
	}
	for path, want := range cases {
		if got := IsAppended(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// TestFileThatOthersCouldWriteIsUntrusted checks that root rejects another user's file in a folder
// that all users can write to. In a folder that only the owner of the file can write to, root accepts
// the same file: no third user could have put it there.
func TestFileThatOthersCouldWriteIsUntrusted(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name         string
		folder, file fs.FileMode
		foreign, ok  bool
	}{
		{"mine in a shared folder", 0o777 | fs.ModeSticky, 0o600, false, true},
		{"theirs in a shared folder", 0o777 | fs.ModeSticky, 0o600, true, false},
		{"theirs in a folder without the sticky bit", 0o777, 0o644, true, false},
		{"theirs in a private folder", 0o755, 0o600, true, true},
		{"everyone's", 0o755, 0o646, false, false},
	} {
		dir := folder(t, filepath.Join(t.TempDir(), "d"), c.folder)
		path := filepath.Join(dir, "file")
		write(t, path, "x", c.file)
		if c.foreign {
			give(t, path)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, link} {
			f, err := os.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := TrustedContent(f); (err == nil) != c.ok {
				t.Errorf("%s, %s: %v", c.name, p, err)
			}
			f.Close()
		}
	}
}

// TestOwnedLikeAcceptsNoThirdUser checks that OwnedLike accepts a file only if this user, root or
// the owner of the other file owns it.
func TestOwnedLikeAcceptsNoThirdUser(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	mine, theirs := filepath.Join(dir, "mine"), filepath.Join(dir, "theirs")
	for _, path := range []string{mine, theirs} {
		write(t, path, "x", 0o600)
	}
	give(t, theirs)
	stat := func(path string) fs.FileInfo {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if err := errors.Join(OwnedLike(mine, stat(mine), stat(theirs)), OwnedLike(theirs, stat(theirs), stat(theirs))); err != nil {
		t.Error(err)
	}
	untrusted(t, OwnedLike(theirs, stat(theirs), stat(mine)), OwnedByOther, theirs)
}
