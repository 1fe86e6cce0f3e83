//go:build !unix

package layers

import "io/fs"

// onlyOwner always returns true: on this system, access lists decide.
func onlyOwner(fs.FileInfo) bool { return true }
