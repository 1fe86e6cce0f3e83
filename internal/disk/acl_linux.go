package disk

import "syscall"

// hasAccessList reports whether users other than the owner and the group have rights of their own.
// Where that cannot be found out they may have.
func hasAccessList(path string) bool {
	_, err := syscall.Getxattr(path, "system.posix_acl_access", nil)
	return err != syscall.ENODATA && err != syscall.EOPNOTSUPP //nolint:errorlint // a bare number
}
