//go:build !unix

package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// check returns nil for every file: on this system, access control lists decide who may write to a
// file.
func check(_, _ string, _ fs.FileInfo, _ bool) error { return nil }

func checkSecret(string, fs.FileInfo) error { return nil }

func checkContent(string, fs.FileInfo) error { return nil }

func isTrustedOwner(fs.FileInfo) bool { return true }

// IsOwn returns true for every file, because the owner of a file is unknown on this system.
func IsOwn(fs.FileInfo) bool { return true }

// OwnedLike checks the owner of a file. On this system, the owner is unknown, and OwnedLike accepts
// every file.
func OwnedLike(string, fs.FileInfo, fs.FileInfo) error { return nil }

func removePermissions(*os.Root, string, fs.FileInfo, fs.FileMode) error { return nil }

func isDescriptor(string) bool { return false }

func replaceable(_, _ fs.FileInfo) bool { return true }

// follow resolves the symbolic links in a path. It returns the resolved path and its file info,
// which is nil if the path does not exist.
func follow(path string, _ func(dir string, info fs.FileInfo) error) (string, fs.FileInfo, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	if resolved, err := filepath.EvalSymlinks(abs); err == nil {
		abs = resolved
	}
	info, err := os.Stat(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return abs, nil, nil
	}
	return abs, info, err
}
