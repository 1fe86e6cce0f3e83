package disk

import "syscall"

// hasAccessList reports whether a file has an access control list (ACL), which can grant
// permissions to other users. If that is unknown, it returns true.
func hasAccessList(path string) bool {
	_, err := syscall.Getxattr(path, "system.posix_acl_access", nil)
	return err != syscall.ENODATA && err != syscall.EOPNOTSUPP //nolint:errorlint // Getxattr returns a plain Errno
}
