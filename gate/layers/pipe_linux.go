package layers

import "syscall"

// widen enlarges the 64 KiB buffer of a pipe, so that the two programs wait less for each other.
// Failure is harmless; see pipe(7).
func widen(pipe any) {
	f, ok := pipe.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	const setPipeSize = 1031 // F_SETPIPE_SZ
	_ = conn.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, 1<<20)
	})
}
