package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// partialPrefix is the prefix of the names of incomplete files.
const partialPrefix = ".imagegate-partial-"

// IsPartial reports whether name is the name of an incomplete file that a killed process left
// behind.
func IsPartial(name string) bool { return strings.HasPrefix(name, partialPrefix) }

// WriteFile replaces a file atomically: a reader sees the complete old content or the complete new
// content. If write fails, the old file stays. See [Prepare] for links, devices and pipes.
func WriteFile(path string, perm fs.FileMode, write func(io.Writer) error) (err error) {
	f, err := Prepare(path, perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Discard()) }()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

// WriteBytes is [WriteFile] for content in memory.
func WriteBytes(path string, perm fs.FileMode, data []byte) error {
	return WriteFile(path, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// IsAppended reports whether [WriteFile] would append to the file at path instead of replacing it.
// This applies to a device, a pipe, and a path to an open file descriptor, such as /dev/stdout.
func IsAppended(path string) bool {
	resolved, info, err := follow(path, nil)
	return err == nil && info != nil && !info.IsDir() && (!info.Mode().IsRegular() || isDescriptor(resolved))
}

// WriteNew writes a file that must not exist yet. If writing fails, WriteNew removes the file. It
// refuses links of other users on the path.
func WriteNew(path string, perm fs.FileMode, data []byte) (err error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	resolved, info, err := follow(dir, nil)
	if err != nil {
		return err
	}
	if info == nil {
		return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
	}
	root, err := openFolder(resolved)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close(), root.Remove(base))
	}
	return f.Close()
}

// File is a new file that does not have its final name yet. Commit renames it to the final name,
// and Discard removes it. A File must not be used concurrently.
type File struct {
	path string // the path that the caller gave
	perm fs.FileMode
	f    *os.File
	// dir is nil, and temp and base are empty, for a device or pipe.
	dir        *os.Root
	temp, base string
	device     string
	done       bool
}

// Resolve follows the symbolic links of this user and root at path. It returns the path of the file,
// and its information or nil if it does not exist. A link of another user is an [*UntrustedError].
func Resolve(path string) (string, fs.FileInfo, error) { return follow(path, nil) }

// Prepare creates an empty temporary file in the folder of path. If path cannot be written, because
// of a missing folder, missing permissions or a full disk, Prepare fails early. The file at path
// does not change before Commit.
//
// A symbolic link of this user or root is followed and stays a link. A link of another user is an
// [*UntrustedError], because it could redirect the write to another file. A device or a pipe is
// written directly and never replaced. Unless it is a character device, it must belong to this user
// or root. A pipe is opened by the first Write, because opening waits for a reader.
//
// The caller must call Discard. After Commit, Discard does nothing.
func Prepare(path string, perm fs.FileMode) (*File, error) {
	resolved, info, err := follow(path, nil)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, perm: perm}
	switch {
	case info == nil || info.Mode().IsRegular() && !isDescriptor(resolved):
		if err := f.prepare(resolved, info); err != nil {
			return nil, err
		}
		return f, nil
	case info.IsDir():
		return nil, &fs.PathError{Op: "write", Path: path, Err: errors.New("the path is a folder")}
	case !isDescriptor(resolved) && info.Mode()&fs.ModeCharDevice == 0 && !isTrustedOwner(info):
		return nil, check(path, path, info, false)
	}
	f.device = resolved
	if info.Mode()&fs.ModeNamedPipe != 0 {
		return f, nil
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// open opens a device, a pipe or a path to an open file descriptor. It opens them for appending,
// because other processes may append to the same file.
func (f *File) open() (err error) {
	f.f, err = os.OpenFile(f.device, os.O_WRONLY|os.O_APPEND, 0)
	return err
}

// prepare creates the temporary file. It opens the folder once and then only uses the handle. So
// replacing the folder with a link has no effect.
func (f *File) prepare(resolved string, old fs.FileInfo) (err error) {
	dir, base := filepath.Split(resolved)
	f.dir, err = openFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "open", Path: f.path, Err: syscall.ENOENT}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.dir.Close())
			f.done = true
		}
	}()
	// The path must still resolve to the same folder as before the folder was opened.
	again, _, err := follow(f.path, nil)
	if err != nil {
		return err
	}
	if again != resolved {
		return &UntrustedError{Path: f.path, At: f.path, Problem: WritableByOthers, Detail: "a link on the path changed while it was read"}
	}
	if old != nil {
		folder, err := f.dir.Stat(".")
		if err != nil {
			return err
		}
		if !replaceable(folder, old) {
			return fmt.Errorf("replacing %q: another user owns the file, and its folder has the sticky bit", f.path)
		}
	}
	f.base, f.temp = base, partialPrefix+rand.Text()
	f.f, err = f.dir.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return err
}

// openFolder opens the folder dir. It fails if dir is a link to a folder.
func openFolder(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil {
		var found fs.FileInfo
		if found, err = os.Lstat(filepath.Clean(dir)); err == nil && !os.SameFile(opened, found) {
			err = &UntrustedError{Path: dir, At: dir, Problem: WritableByOthers, Detail: "the folder changed while it was opened"}
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	if f.f == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	return f.f.Write(p)
}

// Sync writes the content to stable storage, so that it survives a power failure. It does nothing
// for a device or pipe.
func (f *File) Sync() error {
	if f.dir == nil {
		return nil
	}
	return f.f.Sync()
}

// Commit sets the permissions of the file and renames it to its final name, replacing the old file.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("writing %q: %w", f.path, os.ErrClosed)
	}
	if f.dir == nil {
		f.done = true
		if f.f == nil {
			return nil
		}
		return f.f.Close()
	}
	if err := f.f.Chmod(f.perm); err != nil {
		return err
	}
	if err := f.f.Close(); err != nil {
		return err
	}
	if err := f.dir.Rename(f.temp, f.base); err != nil {
		return err
	}
	f.done = true
	return f.dir.Close()
}

// Discard removes the file if it was not committed.
func (f *File) Discard() error {
	if f == nil || f.done {
		return nil
	}
	f.done = true
	if f.f != nil {
		_ = f.f.Close() // fails if Commit has closed the file
	}
	if f.dir == nil {
		return nil
	}
	return errors.Join(f.dir.Remove(f.temp), f.dir.Close())
}
