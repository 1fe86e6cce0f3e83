package layers

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// TestDiskThatRefusesLeavesNothing checks that a failed write leaves no files. The kernel refuses
// the write, because the test runs in a child process that may not write files larger than 64 KiB.
func TestDiskThatRefusesLeavesNothing(t *testing.T) {
	if os.Getenv("LAYERS_TEST_LIMITED") == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestDiskThatRefusesLeavesNothing$", "-test.v")
		cmd.Env = append(os.Environ(), "LAYERS_TEST_LIMITED=1", "GOCOVERDIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	limit := syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	plain := content(t, 1_000_000)
	for what, src := range map[string]*upstream{"gzip": honest(gz(t, plain), plain), "plain": honest(plain, plain)} {
		s := newStore(t)
		_, err := fetch(t, s, src)
		var refused *fs.PathError
		if !errors.As(err, &refused) || !errors.Is(err, syscall.EFBIG) || isCorrupt(err) {
			t.Errorf("%s: got %v", what, err)
		}
		for _, sub := range []string{blobsDir, layersDir} {
			if entries, err := os.ReadDir(filepath.Join(s.dir, sub)); err != nil || len(entries) != 0 {
				t.Errorf("%s: %s holds %v, %v", what, sub, entries, err)
			}
		}
	}
}

// TestFolderThatCannotBeRemovedKeepsItsLock checks that Close keeps the lock file of a folder that
// Close cannot remove. Without the lock file, no later run would sweep the folder.
func TestFolderThatCannotBeRemovedKeepsItsLock(t *testing.T) {
	dropCapabilities(t)
	s := newStore(t)
	dir, err := s.TempDir("catalog")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, lockName)); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
}

// dropCapabilities makes permissions apply to this test even if root runs it:
// https://man7.org/linux/man-pages/man2/capset.2.html
func dropCapabilities(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // the thread is never unlocked, so that it ends with the test
	header := struct {
		version uint32
		pid     int32
	}{version: 0x20080522}
	var none [2]struct{ effective, permitted, inheritable uint32 }
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0); errno != 0 {
		t.Fatal(errno)
	}
}
