//go:build !windows

package cli

import "syscall"

// forbidDumps makes the system write no dump of this process's memory, nor of its
// children's.
func forbidDumps() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
