// Package disk checks whether another user could have written a local file, and replaces files
// atomically.
//
// [Trusted] and [TrustedParents] check a folder before its content is used. [WriteFile] replaces a
// file. [Prepare] does this in two steps, for a caller that needs to know early whether a file can
// be written.
//
// This user and root are trusted, every other user is not. On Unix, the package checks the owner
// and the mode of a file. On other systems, access control lists decide, and the package checks
// nothing.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Problem is the reason why a file or folder cannot be trusted.
type Problem string

// The possible problems.
const (
	// WritableByOthers means that users other than the owner can write to the file or folder.
	WritableByOthers Problem = "writable by other users"
	// OwnedByOther means that the owner is neither this user nor root.
	OwnedByOther Problem = "owned by another user"
	// ReadableByOthers means that the file contains a secret, and other users can read it.
	ReadableByOthers Problem = "readable by other users"
)

// UntrustedError means that another user could change a file or folder, or read a secret in it.
type UntrustedError struct {
	// Path is the file or folder that the caller wants to use.
	Path string
	// At is the file, folder or link with the problem: Path itself, or a folder or link that Path
	// leads through.
	At      string
	Problem Problem
	// Detail is the mode or the owner of At.
	Detail string
}

// Error names the path, the problem and the file or folder with the problem.
func (e *UntrustedError) Error() string {
	if e.At == e.Path {
		return fmt.Sprintf("%q cannot be trusted: it is %s (%s)", e.Path, e.Problem, e.Detail)
	}
	return fmt.Sprintf("%q cannot be trusted: %q is %s (%s)", e.Path, e.At, e.Problem, e.Detail)
}

// Trusted checks that this user or root owns a file or folder, and that other users cannot write to
// it. Trusted does not check the parent folders: see [TrustedParents]. It follows a symbolic link
// only if this user or root owns the link. The error is an [*UntrustedError], or the reason why the
// path cannot be read. If the path does not exist, the error wraps fs.ErrNotExist.
func Trusted(path string) error { return trusted(path, false) }

// Secret checks a file as [Trusted] does, and also that no other user can read it.
func Secret(file string) error {
	if err := Trusted(file); err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return checkSecret(file, info)
}

// TrustedContent checks an open file that may belong to any user, such as a configuration file that
// is mounted into a container. The file must not be writable for all users. If the folder of the
// file is writable for all users, the file must belong to this user or root. The error is an
// [*UntrustedError], or the reason why the file cannot be read.
func TrustedContent(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return checkContent(f.Name(), info)
}

// TrustedShared is like [Trusted], but also accepts a folder with the sticky bit, such as /tmp.
// Other users can add files there, but cannot change the files of this user.
func TrustedShared(path string) error { return trusted(path, true) }

func trusted(path string, sticky bool) error {
	_, info, err := follow(path, nil)
	if err != nil {
		return err
	}
	if info == nil {
		return &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	return check(path, path, info, sticky)
}

// TrustedParents checks every folder above path, because another user who can write to one of these
// folders could replace the file. It accepts folders with the sticky bit, and skips folders that do
// not exist.
func TrustedParents(path string) error {
	_, _, err := follow(path, func(dir string, info fs.FileInfo) error { return check(path, dir, info, true) })
	return err
}

// RemovePermissions removes permissions, such as 0o020 for the group's write permission, from a
// folder and from all files in it. It is for Kubernetes volumes with an fsGroup: on each mount, the
// kubelet lets the group read and write every file. It does not change files of other users, files
// that all users can write to, or links. If the folder does not exist, it does nothing.
func RemovePermissions(dir string, permissions fs.FileMode) (err error) {
	resolved, info, err := follow(dir, nil)
	if err != nil || info == nil || !info.IsDir() {
		return err
	}
	root, err := openFolder(resolved)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process has removed the file
		}
		if err != nil {
			return err
		}
		return removePermissions(root, name, info, permissions)
	})
}
