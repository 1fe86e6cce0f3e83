package layers

import "syscall"

// widen enlarges the buffer of a pipe to an external program from 64 KiB to 1 MiB, so that the
// program and this process wait less for each other. Errors are ignored: the pipe then keeps its
// smaller buffer. See pipe(7).
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
	const setPipeSize = 1031 // the fcntl command F_SETPIPE_SZ
	_ = conn.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, 1<<20)
	})
}
