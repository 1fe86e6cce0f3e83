//go:build !unix

package layers

import "io/fs"

// onlyOwner always returns true. On this system, access control lists protect folders, not mode
// bits.
func onlyOwner(fs.FileInfo) bool { return true }
