// Package disk is the home of two questions about local files: who else could change a file, and
// how a file is replaced in one step.
//
// The path through it: [Trusted] and [TrustedParents] check a folder before its content is used,
// [WriteFile] replaces a file, and [Prepare] does so in two steps, for a caller that needs to know
// early that a file can be written.
//
// The rule is the same throughout: this user and root are trusted, every other user is not. The
// owner and the mode of a file state it on Unix. Elsewhere the system's access lists do, and the
// package checks nothing.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Problem is why a file or folder cannot be trusted.
type Problem string

// The problems.
const (
	// Writable: users other than the owner can write to it.
	Writable Problem = "writable by other users"
	// Foreign: its owner is neither this user nor root.
	Foreign Problem = "owned by another user"
	// Readable: it holds a secret, and other users can read it.
	Readable Problem = "readable by other users"
)

// UntrustedError says that another user could change a file or folder.
type UntrustedError struct {
	// Path is the file or folder to use.
	Path string
	// At is the file, folder or link with the problem: Path itself, or one on the way to it.
	At      string
	Problem Problem
	// Detail is the mode or the owner of At.
	Detail string
}

// Error names the path, where the problem is, and the problem.
func (e *UntrustedError) Error() string {
	if e.At == e.Path {
		return fmt.Sprintf("%q cannot be trusted: it is %s (%s)", e.Path, e.Problem, e.Detail)
	}
	return fmt.Sprintf("%q cannot be trusted: %q is %s (%s)", e.Path, e.At, e.Problem, e.Detail)
}

// Trusted checks that the owner of a file or folder is this user or root, and that nobody else
// can write to it. It does not look at the folders above: see [TrustedParents]. A symbolic link is
// followed if this user or root made it. The error is an [*UntrustedError], or says why the path
// cannot be read; a path that does not exist is an error that wraps fs.ErrNotExist.
func Trusted(path string) error { return trusted(path, false) }

// Secret checks a file as [Trusted] does, and that no other user can read it.
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

// Unplanted checks an open file that may belong to any user, such as a configuration that is
// mounted into a container: not everyone can write to it, and if everyone can write to its folder,
// its owner is this user or root. The error is an [*UntrustedError], or says why the file cannot be
// read.
func Unplanted(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return checkUnplanted(f.Name(), info)
}

// TrustedShared is like [Trusted], and also accepts a folder with the sticky bit, such as /tmp:
// other users can add files to it and cannot touch the files of this user.
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

// TrustedParents checks every folder on the way to path: with write access to one of them, another
// user could put something else under that name. Folders with the sticky bit are accepted, and
// folders that do not exist are skipped.
func TrustedParents(path string) error {
	_, _, err := follow(path, func(dir string, info fs.FileInfo) error { return check(path, dir, info, true) })
	return err
}

// TakeBack removes rights, such as 0o020 for the group's right to write, from a folder and everything
// in it that this user owns. It is for a volume of Kubernetes with an fsGroup: each time the volume is
// mounted, the kubelet lets the group read and write every file. Files of other users, files that
// every user can write to, and links stay as they are. A folder that does not exist is accepted.
func TakeBack(dir string, rights fs.FileMode) (err error) {
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
			return nil // another process removed it
		}
		if err != nil {
			return err
		}
		return takeBack(root, name, info, rights)
	})
}
