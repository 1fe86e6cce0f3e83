//go:build unix && !linux

package disk

import "runtime"

// hasAccessList reports whether the group bits of a file's mode may come from an access control
// list. On macOS they never do.
func hasAccessList(string) bool { return runtime.GOOS != "darwin" && runtime.GOOS != "ios" }
