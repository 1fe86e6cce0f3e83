//go:build !linux

package audit

import "os"

// allocate does nothing: imagegate reserves disk space only on Linux.
func allocate(*os.File, int64) error { return nil }
