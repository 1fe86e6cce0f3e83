//go:build linux || darwin || freebsd

package disk

import "syscall"

// freeIn returns the bytes that this user may still write in the file system of an existing folder.
func freeIn(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the types differ between systems
}
