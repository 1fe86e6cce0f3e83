package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/supervise"
)

const (
	// maxStack is the maximum stack size in bytes. Go's default of 1 GB exceeds the memory of a
	// small runner, which would run out before the stack overflow is detected.
	maxStack = 256 << 20
	// orphanGrace is the time that a child process has to clean up after its parent died.
	orphanGrace = 10 * time.Second
	// maxNoise limits the lines that the parent prints from other programs and from the Go runtime
	// of the child.
	maxNoise = 200
)

// Main runs imagegate and returns its exit code. A command that reads external input runs in a
// child process: after a crash, the Go runtime exits with 2, which is the exit code of a denial.
func Main(args []string, s Streams) int {
	// Without a parent process, a crash must end the process with a signal, not with an exit code.
	// A core dump must not be written, because the memory may contain a key.
	debug.SetTraceback("crash")
	supervise.ForbidDumps()
	child, err := connectToParent()
	if err != nil {
		return exit.Finish(context.Background(), s.Err, err)
	}
	if child == nil && isSupervised(args, os.Getpid()) {
		return runChild(args, s)
	}
	supervise.TuneMemory(os.Getenv)
	debug.SetMaxStack(maxStack)
	if child == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		// The first signal requests a clean exit. The second signal kills the process.
		context.AfterFunc(ctx, stop)
		return Run(ctx, args, s)
	}
	debug.SetTraceback("single")
	catchBrokenPipes()
	// In the child, a signal only requests a stop. The parent counts signals, so an interrupt from
	// the terminal, which reaches both processes, counts as one request.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	child.Watch(cancel, func() {
		cancel()
		time.AfterFunc(orphanGrace, func() { os.Exit(exit.Interrupted) })
	})
	s.Err, s.Child = child.Err, child
	code := Run(ctx, args, s)
	child.Finish(code)
	return code
}

// connectToParent connects this process to its parent. It returns nil if this process was not
// started as a child.
func connectToParent() (*supervise.Child, error) {
	handles, ok := os.LookupEnv(supervise.Variable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(supervise.Variable); err != nil {
		return nil, err
	}
	return supervise.Attach(handles)
}

// supervised lists the commands that read external input and have no --temp-dir flag. Every command
// with --temp-dir reads external input and needs no entry here.
var supervised = []string{"verify", "explain", "report diff", "db update", "db import"}

// isSupervised reports whether the command runs in a child process. All commands that read external
// input do. Other commands do not, because starting a second process would take most of their time.
// As PID 1 of a container, every command runs in a child: if PID 1 itself crashed, the kernel would
// not deliver the fatal signal that the Go runtime sends to its own process, and the runtime would
// exit with the code of a denial.
func isSupervised(args []string, pid int) bool {
	if pid == 1 {
		return true
	}
	path, _ := flags.Walk(newApp(Streams{}).Commands, args[min(1, len(args)):])
	if len(path) == 0 || slices.ContainsFunc(args, func(a string) bool { return a == "--help" || a == "-h" }) {
		return false
	}
	var names []string
	for _, c := range path {
		names = append(names, c.Name)
	}
	return slices.Contains(path[len(path)-1].Flags, cli.Flag(tempFlag)) || slices.Contains(supervised, strings.Join(names, " "))
}

// catchBrokenPipes makes a write to a closed pipe an ordinary error. By default, SIGPIPE would kill
// the process before it returns the exit code of the verdict. SIGPIPE is caught and not ignored,
// because child processes inherit an ignored signal.
func catchBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// runChild runs the command in a child process and returns its exit code.
func runChild(args []string, s Streams) int {
	ctx := context.Background()
	catchBrokenPipes()
	path, err := os.Executable()
	if err != nil {
		return exit.Finish(ctx, s.Err, fmt.Errorf("starting the child process: %w", err))
	}
	in, out, errs, err := files(s)
	if err != nil {
		return exit.Finish(ctx, s.Err, err)
	}
	signals := make(chan os.Signal, 8)
	// SIGQUIT is caught because its default action makes the Go runtime exit with 2, the code of a
	// denial.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	restore := keepTerminal(in)
	lines := 0
	result, err := supervise.Run(supervise.Command{Path: path, Args: args, Env: os.Environ(),
		In: in, Out: out, Err: errs, Signals: signals, Noise: func(line string) {
			if lines++; lines <= maxNoise {
				fmt.Fprintln(s.Err, report.Sanitize(exit.Redact(line)))
			}
		}})
	if err != nil {
		return exit.Finish(ctx, s.Err, fmt.Errorf("starting the child process: %w", err))
	}
	if result.Completed {
		return result.Code
	}
	restore()
	return output.Crashed(s, result)
}

// files returns the standard streams as files, which a child process can inherit.
func files(s Streams) (in, out, errs *os.File, err error) {
	in, isIn := s.In.(*os.File)
	out, isOut := s.Out.(*os.File)
	errs, isErr := s.Err.(*os.File)
	if !isIn || !isOut || !isErr {
		return nil, nil, nil, errors.New("the standard streams are not files")
	}
	return in, out, errs, nil
}

// keepTerminal returns a function that restores the current state of the terminal. Otherwise, a
// child that crashes during a password prompt would leave the terminal without echo.
func keepTerminal(in *os.File) (restore func()) {
	fd := int(in.Fd())
	if !term.IsTerminal(fd) {
		return func() {}
	}
	state, err := term.GetState(fd)
	if err != nil {
		return func() {}
	}
	return func() { _ = term.Restore(fd, state) }
}
