package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
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

// Main runs the program and returns its exit code. A command that reads images
// runs in a child process, so that a crash is no denial: the Go runtime ends a
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
	if child == nil && isSupervised(args) {
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

// isSupervised reports whether the command reads what others made: it has a folder
// for temporary files. Starting a process twice would be most of the time that other
// commands take.
func isSupervised(args []string) bool {
	commands := newApp(Streams{}).Commands
	var c *cli.Command
	for i := 1; i < len(args); i++ {
		next := find(commands, args[i])
		if next == nil {
			break
		}
		c, commands = next, next.Subcommands
	}
	if c == nil || slices.ContainsFunc(args, func(a string) bool { return a == "--help" || a == "-h" }) {
		return false
	}
	return slices.Contains(c.Flags, cli.Flag(tempFlag))
}

// runChild runs the command in a child process.
func runChild(args []string, s Streams) int {
	ctx := context.Background()
	path, err := os.Executable()
	if err != nil {
		return finish(ctx, s.Err, fmt.Errorf("starting the child process: %w", err))
	}
	in, out, errs, err := files(s)
	if err != nil {
		return finish(ctx, s.Err, err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
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
