package disk

import "syscall"

// hasAccessList reports whether a file has an access control list (ACL), which can grant
// permissions to other users. It returns true if this cannot be determined.
func hasAccessList(path string) bool {
	_, err := syscall.Getxattr(path, "system.posix_acl_access", nil)
	return err != syscall.ENODATA && err != syscall.EOPNOTSUPP //nolint:errorlint // Getxattr returns a plain Errno
}
