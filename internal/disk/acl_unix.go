//go:build unix && !linux

package disk

import "runtime"

// hasAccessList reports whether the mode may include permissions from an access control list. On
// macOS it never does.
func hasAccessList(string) bool { return runtime.GOOS != "darwin" && runtime.GOOS != "ios" }
