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

// Names of the folder of a run and of the files in it.
const (
	dirPrefix = "imagegate-" // prefix of the folder's name; digits follow
	newPrefix = dirPrefix + "new-"
	lockName  = ".imagegate.lock"
	blobsDir  = "blobs"
	layersDir = "layers"
)

// runDir is the folder of one run. Other users may share its parent folder. runDir accesses both
// folders through handles, because another user can replace a name with a link, but not a handle.
type runDir struct {
	path   string
	name   string
	parent *os.Root
	root   *os.Root
	lock   *flock.Flock
}

// makeRunDir creates a folder that only this user can read, and locks it while the process lives.
// The folder gets its final name only after it is locked, so that a concurrent sweep does not
// remove it.
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
		_, _ = rand.Read(b[:]) // rand.Read never fails
		digits = strconv.FormatUint(binary.LittleEndian.Uint64(b[:]), 10)
		if err = parent.Mkdir(newPrefix+digits, 0o700); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return digits, err
}

// openOwn opens a folder. It fails if the folder belongs to another user or if other users can use
// it. It checks the owner and the mode of the opened folder, so an attacker gains nothing by
// replacing the name.
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
		err = fmt.Errorf("opening folder %q: the folder is a link, or was replaced while it was opened", name)
	case !disk.IsOwn(opened):
		err = fmt.Errorf("opening folder %q: the folder belongs to another user", name)
	case !onlyOwner(opened):
		err = fmt.Errorf("opening folder %q: other users can use the folder (mode %v)", name, opened.Mode())
	default:
		return root, nil
	}
	return nil, errors.Join(err, root.Close())
}

// tryLock takes a lock without waiting. It verifies that the locked file is the lock file in this
// folder, because another user could have replaced the path of the lock.
func tryLock(lock *flock.Flock, root *os.Root) error {
	ok, err := lock.TryLock()
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("another process holds the lock of the folder")
	}
	held, err := lock.Stat()
	if err == nil {
		var found fs.FileInfo
		if found, err = root.Lstat(lockName); err == nil && !os.SameFile(held, found) {
			err = errors.New("the lock file of the folder was replaced")
		}
	}
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

// sweep removes the folders of runs that have ended. Such a folder belongs to this user and has a
// lock file that no process holds. Failures are ignored.
func sweep(parent string) {
	root, err := os.OpenRoot(parent)
	if err != nil {
		return
	}
	defer func() { _ = root.Close() }() // sweep ignores all failures
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
	defer func() { _ = root.Close() }() // sweep ignores all failures
	if info, err := root.Lstat(lockName); err != nil || !info.Mode().IsRegular() {
		return
	}
	// Do not create the lock file here. That would add a file to a folder while its own run removes
	// the folder.
	lock := flock.New(filepath.Join(path, name, lockName), flock.SetFlag(os.O_RDWR))
	if tryLock(lock, root) == nil {
		_ = d.remove()
		_ = lock.Close()
	}
}

// remove removes the content of the folder, then the lock file, then the folder. If remove is
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

// close releases the lock and closes the handles.
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
