package layers

import "syscall"

// widen lets a pipe hold more than its 64 KiB, so that the two programs at its
// ends wait less for each other. It is as good without: see pipe(7).
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
