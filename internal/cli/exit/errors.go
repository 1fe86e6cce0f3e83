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

// ErrDenied is a denial that has been reported. It is an error only so that one returned value
// determines the exit code.
var ErrDenied = errors.New("denied by policy")

// Hinted is an error with a hint of its own: what the user can do, or "".
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

// Usagef returns a new error of an invalid command line or configuration.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

type trustError struct{ error }

func (e trustError) Unwrap() error { return e.error }

// Trust marks an error as a key or an identity that cannot be used.
func Trust(err error) error { return trustError{err} }

type databaseError struct{ error }

func (e *databaseError) Unwrap() error { return e.error }

// Database marks an error as a failed update or import of the vulnerability database.
func Database(err error) error { return &databaseError{err} }

// Fault is a fault in this program or a library: a panic, or a child process that died. It is never
// a verdict about the image.
type Fault struct {
	Reason string
	Trace  string // printed after the error, shortened
}

// Error says that the fault is not the user's.
func (e *Fault) Error() string { return "internal error in imagegate: " + e.Reason }

// Panic turns a recovered panic into a fault.
func Panic(p any) error {
	return &Fault{Reason: fmt.Sprint(p), Trace: string(debug.Stack())}
}

// Stopped is the error of a command that was interrupted.
type Stopped struct {
	Err error
	// Undone is the part that the command left undone, or empty if that is unknown.
	Undone string
}

// Error is the error that the interruption caused.
func (e *Stopped) Error() string { return e.Err.Error() }

// Unwrap returns the error that the interruption caused.
func (e *Stopped) Unwrap() error { return e.Err }

// Inputs are all missing or invalid inputs of a command.
type Inputs []error

// Add appends an error that is not nil.
func (e *Inputs) Add(err error) {
	if err != nil {
		*e = append(*e, err)
	}
}

// Error has one line for each input.
func (e Inputs) Error() string { return errors.Join(e...).Error() }

// Unwrap returns the errors of the inputs.
func (e Inputs) Unwrap() []error { return e }

// FileError is a file that the user named and that cannot be read.
type FileError struct {
	What string // such as "policy"
	Path string
	Err  error
}

// Error names the kind of file and the cause.
func (e *FileError) Error() string { return fmt.Sprintf("reading the %s: %v", e.What, e.Err) }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Hint names the file that was probably meant, or the command that writes such a file.
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

// Hints about inputs that the user has to make first.
const (
	PolicyHint = `run "imagegate policy init", which writes policy.yaml`
	KeyHint    = `run "imagegate key generate", which writes cosign.key and cosign.pub`
)

// missingFile returns the name of the file that the user probably meant by path, or "".
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
	// The extensions of YAML differ by more than a mistake.
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
