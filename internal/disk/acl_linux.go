package disk

import "syscall"

// hasAccessList reports whether a file has an access control list, which can give other users
// permissions. If this cannot be determined, it returns true.
func hasAccessList(path string) bool {
	_, err := syscall.Getxattr(path, "system.posix_acl_access", nil)
	return err != syscall.ENODATA && err != syscall.EOPNOTSUPP //nolint:errorlint // a bare number
}
