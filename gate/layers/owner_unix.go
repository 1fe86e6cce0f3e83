//go:build unix

package layers

import "io/fs"

// onlyOwner reports whether no other user can read or change a folder.
func onlyOwner(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
