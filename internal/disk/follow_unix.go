//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// maxLinks is the maximum number of symbolic links that are followed for one path, as in the
// kernel.
const maxLinks = 40

// check returns an error if another user owns the file at, or can write to it. path is the path for
// the error. If sticky is set, a folder with the sticky bit may be writable for other users.
func check(path, at string, info fs.FileInfo, sticky bool) error {
	if !isTrustedOwner(info) {
		return &UntrustedError{Path: path, At: at, Problem: OwnedByOther, Detail: fmt.Sprintf("user %d", owner(info))}
	}
	if othersWrite(at, info) && !(sticky && info.IsDir() && info.Mode()&fs.ModeSticky != 0) {
		return &UntrustedError{Path: path, At: at, Problem: WritableByOthers, Detail: "mode " + info.Mode().String()}
	}
	return nil
}

// othersWrite reports whether other users can write to a file. A group whose ID equals the user's
// ID has no other members by convention: many systems give each user such a private group, with a
// umask of 002. If the file has an access control list, the group bits also apply to other users.
func othersWrite(at string, info fs.FileInfo) bool {
	perm := info.Mode().Perm()
	if perm&0o020 == 0 {
		return perm&0o002 != 0
	}
	me := os.Geteuid()
	private := os.Getegid() == me && group(info) == me
	return perm&0o002 != 0 || !private || hasAccessList(at)
}

func checkSecret(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 != 0 {
		return &UntrustedError{Path: path, At: path, Problem: ReadableByOthers, Detail: "mode " + info.Mode().String()}
	}
	return nil
}

// removePermissions removes permissions from one file or folder. It skips files of other users,
// files that all users can write to, and links.
func removePermissions(root *os.Root, name string, info fs.FileInfo, permissions fs.FileMode) error {
	perm := info.Mode().Perm()
	if info.Mode()&fs.ModeSymlink != 0 || !IsOwn(info) || perm&0o002 != 0 || perm&permissions == 0 {
		return nil
	}
	return root.Chmod(name, info.Mode()&^permissions)
}

func checkContent(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 {
		return &UntrustedError{Path: path, At: path, Problem: WritableByOthers, Detail: "mode " + info.Mode().String()}
	}
	if isTrustedOwner(info) {
		return nil
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(resolved)} {
		folder, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if folder.Mode().Perm()&0o002 != 0 {
			return &UntrustedError{Path: path, At: path, Problem: OwnedByOther, Detail: fmt.Sprintf("user %d; everyone can write to its folder", owner(info))}
		}
	}
	return nil
}

// isTrustedOwner reports whether this user or root owns a file.
func isTrustedOwner(info fs.FileInfo) bool {
	uid := owner(info)
	return uid == 0 || uid == os.Geteuid()
}

// IsOwn reports whether this user owns a file. It returns false for a file that root owns, unless
// this user is root.
func IsOwn(info fs.FileInfo) bool { return owner(info) == os.Geteuid() }

// OwnedLike checks that this user, root or the owner of like owns the file at path. The error is an
// [*UntrustedError].
func OwnedLike(path string, info, like fs.FileInfo) error {
	if isTrustedOwner(info) || owner(info) == owner(like) {
		return nil
	}
	return &UntrustedError{Path: path, At: path, Problem: OwnedByOther, Detail: fmt.Sprintf("user %d", owner(info))}
}

// owner returns the user ID of a file's owner, or -1 if the file system does not state it.
func owner(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Uid)
}

// group returns the group ID of a file, or -1 if the file system does not state it.
func group(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Gid)
}

// descriptors matches the folders that contain links to open files, such as /proc/self/fd. The
// kernel resolves such a link to the open file itself, and the target text of the link is not
// always a path.
var descriptors = regexp.MustCompile(`^/(?:dev|proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?)/fd$`)

func isDescriptor(path string) bool { return descriptors.MatchString(filepath.Dir(path)) }

// follow resolves the symbolic links in a path and refuses links of other users. If each is not
// nil, follow calls each for every folder on the path. It returns the resolved path and its file
// info, which is nil if the path does not exist.
//
// The kernel also refuses links of other users in sticky folders (fs.protected_symlinks), but only
// for links that it resolves itself, and only if the setting is on.
func follow(path string, each func(dir string, info fs.FileInfo) error) (string, fs.FileInfo, error) {
	// Do not use filepath.Abs: it removes "link/..", but the kernel follows the link first.
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return "", nil, err
		}
		path = dir + "/" + path
	}
	at, rest := "/", strings.Split(path, "/")
	links := 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		if each != nil {
			folder, err := os.Lstat(at)
			if err == nil {
				err = each(at, folder)
			}
			if err != nil {
				return "", nil, err
			}
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return filepath.Join(append([]string{next}, rest...)...), nil, nil // The path does not exist, so it contains no further links.
		}
		if err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if descriptors.MatchString(at) && len(rest) == 0 {
			info, err = os.Stat(next)
			return next, info, err
		}
		if links++; links > maxLinks {
			return "", nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
		target, err := readLink(path, next, info)
		if err != nil {
			return "", nil, err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	info, err := os.Lstat(at)
	return at, info, err
}

// readLink returns the target of a link. It refuses a link of another user.
func readLink(path, link string, info fs.FileInfo) (string, error) {
	if !isTrustedOwner(info) {
		return "", &UntrustedError{Path: path, At: link, Problem: OwnedByOther, Detail: fmt.Sprintf("a symbolic link of user %d", owner(info))}
	}
	target, err := os.Readlink(link)
	if err != nil {
		return "", err
	}
	// Check the link again, because another user may have replaced it after the first check.
	again, err := os.Lstat(link)
	if err != nil {
		return "", err
	}
	if !os.SameFile(info, again) || !isTrustedOwner(again) {
		return "", &UntrustedError{Path: path, At: link, Problem: WritableByOthers, Detail: "the link changed while it was read"}
	}
	return target, nil
}

// replaceable reports whether this user may replace a file in a folder. In a folder with the sticky
// bit, only root and the owners of the file and the folder may replace a file.
func replaceable(dir, file fs.FileInfo) bool {
	me := os.Geteuid()
	return dir.Mode()&fs.ModeSticky == 0 || me == 0 || owner(dir) == me || owner(file) == me
}
