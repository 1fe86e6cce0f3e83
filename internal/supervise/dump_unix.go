//go:build !windows

package supervise

import "syscall"

// ForbidDumps disables core dumps of this process and its children, because a dump may contain a
// key.
func ForbidDumps() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
