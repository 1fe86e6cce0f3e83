//go:build unix

package layers

import "io/fs"

// onlyOwner reports whether users other than the owner have no permissions for a folder.
func onlyOwner(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
