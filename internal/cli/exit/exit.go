// Package exit turns the error of a command into what the user sees: the exit code, the message, a
// hint, and whether the command can be retried.
//
// [Finish] is called once, at the end of the process. The exit code depends only on the type of the
// error. Other packages return errors of their own types. Package cli marks the errors that it
// finds itself with [Usage], [Trust], [Database] or [ErrDenied]. An error that implements [Hinted]
// supplies its own hint.
package exit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/audit"
	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// These are the exit codes of imagegate. Package help describes them.
const (
	OK           = 0
	Failure      = 1 // no decision
	Denial       = 2
	UsageCode    = 3
	RegistryCode = 4
	DatabaseCode = 5
	TrustCode    = 6
	Interrupted  = 130
)

// Verdict is the exit code of an error, and whether the command can be retried.
type Verdict struct {
	Code int
	// Retryable means that the same command may succeed later without a change.
	Retryable bool
}

// Classify maps an error to its exit code, and to whether the command can be retried. If ctx was
// canceled, most errors count as an interruption.
func Classify(ctx context.Context, err error) Verdict {
	var (
		usage      usageError
		trusted    trustError
		parse      *policy.ParseError
		input      *gate.InputError
		records    *vulndb.RecordsError
		unusable   *vulndb.UnusableError
		failure    *registry.Error
		sealing    *promote.SigningError
		verifying  *promote.VerifyError
		unreadable *attestations.UnreadableError
		untrusted  *disk.UntrustedError
		unwritten  *run.UnwrittenError
		unaudited  *audit.WriteError
		update     *databaseError
		crash      *Fault
		newer      *attach.NewerError // retryable: another run makes a newer decision
	)
	var settled *settledError
	switch {
	case errors.As(err, &settled):
		return settled.verdict
	case err == nil:
		return Verdict{Code: OK}
	case errors.Is(err, ErrDenied):
		return Verdict{Code: Denial}
	case ctx.Err() != nil:
		return Verdict{Interrupted, true}
	case errors.As(err, &crash):
		return Verdict{Code: Failure}
	case errors.As(err, &unwritten), errors.As(err, &unaudited):
		return Verdict{Failure, true}
	case errors.As(err, &usage), errors.As(err, &parse), errors.As(err, &input), errors.As(err, &records), errors.As(err, &untrusted), isConfiguration(err):
		return Verdict{Code: UsageCode}
	case errors.As(err, &update):
		return Verdict{DatabaseCode, registry.IsTransient(err)}
	case errors.As(err, &unusable):
		return Verdict{Code: DatabaseCode}
	case errors.As(err, &trusted), errors.As(err, &sealing), errors.As(err, &verifying), errors.As(err, &unreadable):
		return Verdict{TrustCode, registry.IsTransient(err) || errors.As(err, &newer)}
	case errors.As(err, &failure):
		_, answered := registry.StatusOf(err)
		return Verdict{RegistryCode, registry.IsTransient(err) || !answered && registry.IsCutOff(err)}
	}
	return Verdict{Failure, registry.IsTransient(err)}
}

// settledError is an error whose verdict is recorded, so that a later signal does not change it.
type settledError struct {
	verdict    Verdict
	err        error
	structured bool
}

func (e *settledError) Error() string { return e.err.Error() }

func (e *settledError) Unwrap() error { return e.err }

// Settle returns err with a verdict that [Classify] returns from now on. It returns a plain denial and
// nil unchanged, because their verdict never changes. With structured, [Finish] writes JSON.
func Settle(v Verdict, err error, structured bool) error {
	if err == nil || err == ErrDenied { //nolint:errorlint // Finish prints nothing for a denial by itself
		return err
	}
	return &settledError{v, err, structured}
}

// ReportError returns err as the error field of a JSON report, with secrets removed.
func ReportError(v Verdict, err error) *report.Error {
	class := classes[v.Code]
	var unwritten *run.UnwrittenError
	var unaudited *audit.WriteError
	if errors.As(err, &unwritten) || errors.As(err, &unaudited) {
		class = report.ClassOutput
	}
	var partial *promote.PartialError
	return &report.Error{Class: class, Message: Redact(err.Error()), Retryable: v.Retryable, Partial: errors.As(err, &partial)}
}

// classes maps exit codes to the error classes of the report.
var classes = map[int]report.Class{
	Failure: report.ClassOther, UsageCode: report.ClassUsage, RegistryCode: report.ClassRegistry,
	DatabaseCode: report.ClassDatabase, TrustCode: report.ClassTrust, Interrupted: report.ClassInterrupted,
}

// isConfiguration reports whether credentials could not be read because of a local configuration
// error.
func isConfiguration(err error) bool {
	var config *credentials.ConfigError
	return errors.As(err, &config)
}

// Finish prints the error with its hints and returns the exit code. Except after a denial, the last
// line states whether the command can be retried. With structured logs, all of this is one JSON object
// on a line.
func Finish(ctx context.Context, w io.Writer, err error) int {
	v := Classify(ctx, err)
	if err == nil || err == ErrDenied { //nolint:errorlint // by itself, a denial has been reported
		return v.Code
	}
	message := Redact(err.Error())
	if v.Code == Interrupted {
		message = interrupted(err)
	}
	var crash *Fault
	var trace []string
	if errors.As(err, &crash) {
		trace = traceLines(crash.Trace)
	}
	var settled *settledError
	if errors.As(err, &settled) && settled.structured {
		observe.LogFailure(w, observe.Failure{Text: message, Hints: hints(err), Trace: trace, Retryable: v.Retryable, ExitCode: v.Code})
		return v.Code
	}
	for i, line := range strings.Split(strings.TrimSpace(message), "\n") {
		prefix := "imagegate: "
		if i > 0 {
			prefix = "           "
		}
		fmt.Fprintln(w, prefix+report.Sanitize(line))
	}
	for _, line := range trace {
		fmt.Fprintln(w, "           "+line)
	}
	for _, h := range hints(err) {
		fmt.Fprintln(w, "hint: "+report.Sanitize(h))
	}
	if v.Code != Denial {
		fmt.Fprintln(w, "retryable: "+yesNo(v.Retryable))
	}
	return v.Code
}

// interrupted returns the message about an interrupted command, with the work that it did not do.
func interrupted(err error) string {
	var stopped *Stopped
	if errors.As(err, &stopped) && stopped.Undone != "" {
		return "interrupted; " + stopped.Undone + "; run it again"
	}
	return "interrupted; run it again"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// maxTraceLines is the number of stack trace lines that are printed after a crash.
const maxTraceLines = 20

// traceLines returns the first lines of a stack trace, redacted and sanitized for printing.
func traceLines(trace string) []string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimSpace(trace), "\n") {
		if len(out) == maxTraceLines {
			return append(out, "...")
		}
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, report.Sanitize(Redact(line)))
		}
	}
	return out
}
