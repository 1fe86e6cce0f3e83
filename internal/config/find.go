package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/imagegate/imagegate/internal/disk"
)

// place is the location of a found configuration file.
type place struct {
	dir  string // folder of the file, absolute and without links
	base string // the same folder, relative to the working folder
	root string // folder that a link must not leave: the repository, or dir
}

func (p *place) path() string { return filepath.Join(p.dir, Name) }

// read reads the configuration file. It follows only links that stay inside root.
func (p *place) read() (_ []byte, err error) {
	root, err := os.OpenRoot(p.root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	name, err := filepath.Rel(p.root, p.path())
	if err != nil {
		return nil, err
	}
	data, err := read(name, root.Stat, root.Open)
	if info, lerr := root.Lstat(name); err != nil && lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("the symbolic link must lead to a regular file in %q: %w", p.root, err)
	}
	return data, err
}

// find looks for the file in dir and in the folders above it. The search ends
//   - with the first file;
//   - with the first folder that has an entry ".git", because the repository ends there;
//   - with the home folder, because folders above it belong to all users;
//   - before a folder of a stranger: neither this user, root nor the owner of dir owns it.
//
// A file of a stranger is ignored with a warning, as in a shared folder such as /tmp. That is safe,
// because every key has a safe default. An error would let a stranger stop all runs below /tmp. The
// owner of dir counts because in many CI jobs another user than root makes the checkout.
func find(dir, home string, warn func(string)) (*place, error) {
	start, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", Name, err)
	}
	if resolved, err := filepath.EvalSymlinks(home); err == nil {
		home = resolved
	}
	owner, err := os.Stat(start)
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", Name, err)
	}
	for at := start; ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err != nil || disk.OwnedLike(at, info, owner) != nil {
			return nil, nil //nolint:nilerr // the folders from here on are not this user's
		}
		file := filepath.Join(at, Name)
		info, err := os.Lstat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("looking for %s: %w", Name, err)
		default:
			if err := disk.OwnedLike(file, info, owner); err != nil {
				warn(fmt.Sprintf("the configuration is ignored: %v. To use it, name it with --config", err))
				return nil, nil
			}
			base, err := filepath.Rel(start, at)
			return &place{dir: at, base: base, root: repository(at, home)}, err
		}
		if isLast(at, home) {
			return nil, nil
		}
	}
}

// isLast reports whether the search ends in this folder.
func isLast(dir, home string) bool {
	_, err := os.Lstat(filepath.Join(dir, ".git"))
	return err == nil || dir == home || dir == filepath.Dir(dir)
}

// repository returns the folder of the repository that contains dir, or dir if none does.
func repository(dir, home string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if isLast(at, home) {
			return dir
		}
	}
}
