package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/imagegate/imagegate/internal/suggest"
)

// ErrDenied means that the policy denied the image and that the denial was already printed. It is
// an error value so that the returned error alone determines the exit code.
var ErrDenied = errors.New("denied by policy")

// Hinted is an error with its own hint. Hint returns what the user can do, or "".
type Hinted interface {
	error
	Hint() string
}

// advised is an error with a fixed hint.
type advised struct {
	error
	hint string
}

func (e *advised) Unwrap() error { return e.error }
func (e *advised) Hint() string  { return e.hint }

// WithHint adds a hint to an error.
func WithHint(err error, hint string) error { return &advised{err, hint} }

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks an error as an invalid command line or configuration.
func Usage(err error) error { return usageError{err} }

// Usagef formats an error about an invalid command line or configuration.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

type trustError struct{ error }

func (e trustError) Unwrap() error { return e.error }

// Trust marks an error as a key or an identity that cannot be used.
func Trust(err error) error { return trustError{err} }

type databaseError struct{ error }

func (e *databaseError) Unwrap() error { return e.error }

// Database marks an error as a failed update or import of the vulnerability database.
func Database(err error) error { return &databaseError{err} }

// Fault is a fault in imagegate or one of its libraries: a panic, or a crashed child process. It is
// never a verdict about the image.
type Fault struct {
	Reason string
	Trace  string // printed after the error, shortened
}

// Error returns the reason, marked as an internal error that the user did not cause.
func (e *Fault) Error() string { return "internal error in imagegate: " + e.Reason }

// Panic turns a recovered panic value into a [Fault] with the current stack trace.
func Panic(p any) error {
	return &Fault{Reason: fmt.Sprint(p), Trace: string(debug.Stack())}
}

// Stopped is the error of a command that was interrupted.
type Stopped struct {
	Err error
	// Undone describes the work that the command did not do. It is empty if that is unknown.
	Undone string
}

// Error is the error that the interruption caused.
func (e *Stopped) Error() string { return e.Err.Error() }

// Unwrap returns the error that the interruption caused.
func (e *Stopped) Unwrap() error { return e.Err }

// Inputs collects the errors of all missing or invalid inputs of a command, so that one run reports
// them together.
type Inputs []error

// Add appends an error that is not nil.
func (e *Inputs) Add(err error) {
	if err != nil {
		*e = append(*e, err)
	}
}

// Error returns one line for each collected error.
func (e Inputs) Error() string { return errors.Join(e...).Error() }

// Unwrap returns the collected errors.
func (e Inputs) Unwrap() []error { return e }

// FileError is the error of a file that the user named and that imagegate cannot read.
type FileError struct {
	What string // such as "policy"
	Path string
	Err  error
}

// Error names the kind of file and the cause.
func (e *FileError) Error() string { return fmt.Sprintf("reading the %s: %v", e.What, e.Err) }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Hint suggests the existing file that the user probably meant, or the command that creates such a
// file.
func (e *FileError) Hint() string {
	near, missing := missingFile(e.Path, e.Err), errors.Is(e.Err, fs.ErrNotExist)
	switch {
	case near != "":
		return "did you mean " + near + "?"
	case missing && e.What == "policy":
		return PolicyHint
	case missing && e.What == "key":
		return KeyHint
	case errors.Is(e.Err, syscall.EISDIR) && e.What == "policy":
		return "use --policy once for each file"
	}
	return ""
}

// These hints tell the user how to create a missing input.
const (
	PolicyHint = `run "imagegate policy init", which writes policy.yaml`
	KeyHint    = `run "imagegate key generate", which writes cosign.key and cosign.pub`
)

// missingFile returns the name of an existing file that the user probably meant by path, or "".
func missingFile(path string, err error) string {
	if !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	const most = 1000
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return ""
	}
	defer dir.Close()
	names, err := dir.Readdirnames(most)
	if err != nil {
		return ""
	}
	base := filepath.Base(path)
	slices.Sort(names)
	near := suggest.Nearest(base, names)
	// Try .yml for .yaml and the reverse: they differ by more letters than a typing mistake.
	for _, ext := range []string{".yaml", ".yml"} {
		if other := strings.TrimSuffix(base, filepath.Ext(base)) + ext; other != base && slices.Contains(names, other) {
			near = other
		}
	}
	if near == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(path), near)
}
