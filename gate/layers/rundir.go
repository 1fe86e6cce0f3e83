package layers

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/imagegate/imagegate/internal/disk"
)

// Names of the folder of a run and of its content.
const (
	dirPrefix = "imagegate-" // prefix of the folder; digits follow
	newPrefix = dirPrefix + "new-"
	lockName  = ".imagegate.lock"
	blobsDir  = "blobs"
	layersDir = "layers"
)

// runDir is the folder of one run, in a parent folder that other users may share. Both are accessed
// through handles: another user can replace a name by a link, but not a handle.
type runDir struct {
	path   string
	name   string
	parent *os.Root
	root   *os.Root
	lock   *flock.Flock
}

// makeRunDir creates a folder that only this user can read, and locks it while the process lives.
// The folder gets its final name only after it is locked, so that no sweep removes it before.
func makeRunDir(parent string) (_ *runDir, err error) {
	d := &runDir{}
	if d.parent, err = os.OpenRoot(parent); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.remove(), d.close())
		}
	}()
	digits, err := mkdirNew(d.parent)
	if err != nil {
		return nil, err
	}
	d.name = newPrefix + digits
	if d.root, err = openOwn(d.parent, d.name); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(parent, d.name, lockName))
	if err := tryLock(lock, d.root); err != nil {
		return nil, err
	}
	d.lock = lock
	if err := d.parent.Rename(d.name, dirPrefix+digits); err != nil {
		return nil, err
	}
	d.name = dirPrefix + digits
	d.path = filepath.Join(parent, d.name)
	return d, nil
}

// mkdirNew creates a folder with an unpredictable name.
func mkdirNew(parent *os.Root) (digits string, err error) {
	for range 100 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		digits = strconv.FormatUint(binary.LittleEndian.Uint64(b[:]), 10)
		if err = parent.Mkdir(newPrefix+digits, 0o700); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return digits, err
}

// openOwn opens a folder that belongs to this user and that no other user can read. It checks owner
// and mode of the opened folder, even if the name was replaced since.
func openOwn(parent *os.Root, name string) (_ *os.Root, err error) {
	named, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	switch {
	case err != nil:
	case !os.SameFile(named, opened):
		err = fmt.Errorf("opening %q: it is a link, or changed while it was opened", name)
	case !disk.IsOwn(opened):
		err = fmt.Errorf("opening %q: it belongs to another user", name)
	case !onlyOwner(opened):
		err = fmt.Errorf("opening %q: other users can use it (mode %v)", name, opened.Mode())
	default:
		return root, nil
	}
	return nil, errors.Join(err, root.Close())
}

// tryLock takes a lock without waiting. It verifies that the lock is on the file in this folder,
// because the path of the lock could have been replaced.
func tryLock(lock *flock.Flock, root *os.Root) error {
	ok, err := lock.TryLock()
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("its lock is held by another process")
	}
	held, err := lock.Stat()
	if err == nil {
		var found fs.FileInfo
		if found, err = root.Lstat(lockName); err == nil && !os.SameFile(held, found) {
			err = errors.New("its lock was replaced")
		}
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

// sweep removes the folders of runs that have ended: folders of this user with a lock file that no
// process holds. Failures are ignored.
func sweep(parent string) {
	root, err := os.OpenRoot(parent)
	if err != nil {
		return
	}
	defer func() { _ = root.Close() }() // a failure is ignored, as everywhere in sweep
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), dirPrefix)
		if ok && e.IsDir() && digits != "" && strings.Trim(digits, "0123456789") == "" {
			sweepOne(root, parent, e.Name())
		}
	}
}

func sweepOne(parent *os.Root, path, name string) {
	root, err := openOwn(parent, name)
	if err != nil {
		return
	}
	d := &runDir{name: name, parent: parent, root: root}
	defer func() { _ = root.Close() }() // a failure is ignored, as everywhere in sweep
	if info, err := root.Lstat(lockName); err != nil || !info.Mode().IsRegular() {
		return
	}
	// Do not create the lock file here: that would add a file to a folder that its own run is
	// removing.
	lock := flock.New(filepath.Join(path, name, lockName), flock.SetFlag(os.O_RDWR))
	if tryLock(lock, root) == nil {
		_ = d.remove()
		_ = lock.Close()
	}
}

// remove removes the content of the folder, then the lock file, then the folder. If it is
// interrupted, a sweep can still find the folder by its lock file. Only an empty folder is removed
// by its name.
func (d *runDir) remove() error {
	if d.root == nil {
		return nil
	}
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, d.root.RemoveAll(e.Name()))
		}
	}
	if err != nil {
		return err
	}
	if err := d.root.Remove(lockName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.parent.Remove(d.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close releases the lock and the handles.
func (d *runDir) close() (err error) {
	if d.lock != nil {
		err = d.lock.Close()
	}
	for _, root := range []*os.Root{d.root, d.parent} {
		if root != nil {
			err = errors.Join(err, root.Close())
		}
	}
	return err
}
