//go:build unix

package layers

import "io/fs"

// onlyOwner reports whether only its owner can use a folder: other users have no permissions.
func onlyOwner(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
