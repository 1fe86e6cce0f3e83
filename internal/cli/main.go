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

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/supervise"
)

const (
	// maxStack is the size at which a stack counts as overflown. The runtime's own
	// limit of 1 GB would use up the memory of a small runner first.
	maxStack = 256 << 20
	// orphanGrace is how long a child may clean up after its parent is gone.
	orphanGrace = 10 * time.Second
	// maxNoise bounds how many lines of other programs are handed on.
	maxNoise = 200
)

// Main runs the program and returns its exit code. A command that reads what others
// made runs in a child process, so that a crash is no denial: the Go runtime ends a
// process that it cannot go on with by the code of a denial.
func Main(args []string, s Streams) int {
	// Where there is no parent, a crash ends by a signal, not by a code. It must
	// leave no dump of the memory, which may hold a key.
	debug.SetTraceback("crash")
	forbidDumps()
	child, err := attach()
	if err != nil {
		return finish(context.Background(), s.Err, err)
	}
	if child == nil && isSupervised(args, os.Getpid()) {
		return runChild(args, s)
	}
	TuneMemory()
	debug.SetMaxStack(maxStack)
	if child == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		// The first signal asks for a clean end, the second one does not ask.
		context.AfterFunc(ctx, stop)
		return Run(ctx, args, s)
	}
	debug.SetTraceback("single")
	catchBrokenPipes()
	// The parent counts signals. One that a terminal sends to both asks once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	child.Watch(cancel, func() {
		cancel()
		time.AfterFunc(orphanGrace, func() { os.Exit(exitInterrupted) })
	})
	s.Err, s.child = child.Err, child
	code := Run(ctx, args, s)
	child.Finish(code)
	return code
}

// attach connects this process to its parent; nil if it has none.
func attach() (*supervise.Child, error) {
	handles, ok := os.LookupEnv(supervise.Variable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(supervise.Variable); err != nil {
		return nil, err
	}
	return supervise.Attach(handles)
}

// supervised are the commands without a folder for temporary files that read what others made.
var supervised = []string{"verify", "explain", "report diff", "db update", "db import"}

// isSupervised reports whether the command runs in a child process. Those do that read what others
// made. Starting a process twice would be most of the time that other commands take. As the first
// process of a container every command does: the system drops the signal by which the Go runtime
// ends such a process, and the runtime then exits with the code of a denial.
func isSupervised(args []string, pid int) bool {
	if pid == 1 {
		return true
	}
	commands := newApp(Streams{}).Commands
	var c *cli.Command
	var path []string
	for i := 1; i < len(args); i++ {
		next := find(commands, args[i])
		if next == nil {
			break
		}
		c, commands, path = next, next.Subcommands, append(path, next.Name)
	}
	if c == nil || slices.ContainsFunc(args, func(a string) bool { return a == "--help" || a == "-h" }) {
		return false
	}
	return slices.Contains(c.Flags, cli.Flag(tempFlag)) || slices.Contains(supervised, strings.Join(path, " "))
}

// catchBrokenPipes makes a write to a closed pipe an error like any other. By default it would kill
// a process that has a verdict to return. The signal is caught, not ignored: the programs that this
// process starts would inherit that.
func catchBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// runChild runs the command in a child process.
func runChild(args []string, s Streams) int {
	ctx := context.Background()
	catchBrokenPipes()
	path, err := os.Executable()
	if err != nil {
		return finish(ctx, s.Err, fmt.Errorf("starting the child process: %w", err))
	}
	in, out, errs, err := files(s)
	if err != nil {
		return finish(ctx, s.Err, err)
	}
	signals := make(chan os.Signal, 8)
	// SIGQUIT by default makes the Go runtime exit with the code of a denial.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	restore := keepTerminal(in)
	lines := 0
	result, err := supervise.Run(supervise.Command{Path: path, Args: args, Env: os.Environ(),
		In: in, Out: out, Err: errs, Signals: signals, Noise: func(line string) {
			if lines++; lines <= maxNoise {
				fmt.Fprintln(s.Err, report.Sanitize(redact(line)))
			}
		}})
	if err != nil {
		return finish(ctx, s.Err, fmt.Errorf("starting the child process: %w", err))
	}
	if result.Completed {
		return result.Code
	}
	restore()
	return crashed(s, result)
}

// files are the streams as a child inherits them.
func files(s Streams) (in, out, errs *os.File, err error) {
	in, isIn := s.In.(*os.File)
	out, isOut := s.Out.(*os.File)
	errs, isErr := s.Err.(*os.File)
	if !isIn || !isOut || !isErr {
		return nil, nil, nil, errors.New("the standard streams are not files")
	}
	return in, out, errs, nil
}

// keepTerminal returns a function that puts the terminal back as it was. A child
// that crashed while it asked for a password leaves it without echo.
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
