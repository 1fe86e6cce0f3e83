//go:build !unix

package layers

import "io/fs"

// onlyOwner always returns true, because access lists protect folders on this system, not mode
// bits.
func onlyOwner(fs.FileInfo) bool { return true }
