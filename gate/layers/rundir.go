package layers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// What is in the folder of a run.
const (
	dirPrefix = "imagegate-" // of the folder itself; digits follow
	lockName  = ".imagegate.lock"
	blobsDir  = "blobs"
	layersDir = "layers"
)

// makeRunDir makes a folder that only this user can read, and locks it for as
// long as the process lives. It gets the name by which others know it once it is
// locked, so that nobody sweeps it before.
func makeRunDir(parent string) (string, *flock.Flock, error) {
	made, err := os.MkdirTemp(parent, dirPrefix+"new-")
	if err != nil {
		return "", nil, err
	}
	lock := flock.New(filepath.Join(made, lockName))
	ok, err := lock.TryLock()
	if err == nil && !ok {
		err = errors.New("its lock is held by another process")
	}
	dir := filepath.Join(parent, dirPrefix+strings.TrimPrefix(filepath.Base(made), dirPrefix+"new-"))
	if err == nil {
		err = os.Rename(made, dir)
	}
	if err != nil {
		return "", nil, errors.Join(err, lock.Close(), os.RemoveAll(made))
	}
	return dir, lock, nil
}

// sweep removes folders whose run is gone, which is those that have a lock file
// that nobody holds. What it cannot remove stays; that is no reason to fail.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), dirPrefix)
		if !ok || !e.IsDir() || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		name := filepath.Join(dir, lockName)
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		// Never made here: that would put a file into a folder that its own run
		// is just removing.
		lock := flock.New(name, flock.SetFlag(os.O_RDWR))
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = removeRunDir(dir)
			_ = lock.Close()
		}
	}
}

// removeRunDir removes the lock file last, for a folder without one would be
// swept by nobody if this were interrupted.
func removeRunDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
