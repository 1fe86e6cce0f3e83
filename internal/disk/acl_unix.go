//go:build unix && !linux

package disk

import "runtime"

// hasAccessList reports whether the mode may state the rights of users other than the owner and the
// group. On macOS it never does.
func hasAccessList(string) bool { return runtime.GOOS != "darwin" && runtime.GOOS != "ios" }
