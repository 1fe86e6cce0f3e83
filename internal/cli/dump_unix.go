//go:build !windows

package cli

import "syscall"

// forbidDumps disables core dumps of this process and its children.
func forbidDumps() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
