package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/supervise"
	"github.com/imagegate/imagegate/policy/evidence"
)

// maxTraceLines is the number of stack trace lines that are printed after a crash.
const maxTraceLines = 20

// faultError is a fault in imagegate or in a library: a panic, or a child process that crashed. It
// is never a verdict about the image.
type faultError struct {
	reason string
	trace  string // printed after the error, shortened
}

func (e *faultError) Error() string { return "internal error in imagegate: " + e.reason }

// fault turns a recovered panic into an error.
func fault(p any) error {
	return &faultError{reason: fmt.Sprint(p), trace: string(debug.Stack())}
}

// crashState is the state that a child sends to its parent. If the child crashes, the parent writes
// the report from it.
type crashState struct {
	Report  report.Report
	Targets []targetState
	TempDir string
}

type targetState struct{ Format, File string }

// tell sends the current report to the parent, which writes it if this process crashes. The sent
// report has no decision, and therefore no findings.
func (o *output) tell() {
	r := o.report
	r.Input = evidence.Input{Image: r.Input.Image}
	r.Decision, r.Override, r.Attachments = nil, nil, nil
	state := crashState{Report: r, TempDir: o.tempDir}
	for _, t := range o.targets {
		state.Targets = append(state.Targets, targetState{t.format, t.file})
	}
	_ = o.streams.child.State(state) // if this fails, a crash report only has less detail
}

// tellWritten tells the parent that the reports are written, so that it does not overwrite them
// after a crash.
func (o *output) tellWritten() {
	_ = o.streams.child.State(crashState{TempDir: o.tempDir})
}

// crashed writes the reports for a child that did not complete, and returns the exit code. The exit
// code is never the code of a denial.
func crashed(s Streams, r supervise.Result) int {
	ctx := context.Background()
	var err error = &faultError{reason: reasonOf(r), trace: r.Trace}
	if r.Interrupted {
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		ctx, err = stopped, context.Canceled
	}
	var state crashState
	if r.State != nil {
		if jerr := json.Unmarshal(r.State, &state); jerr != nil {
			err = fmt.Errorf("%w (the last state of the process is unreadable: %w)", err, jerr)
		}
	}
	if state.TempDir != "" {
		layers.Sweep(state.TempDir) // removes the child's folder, which is no longer locked
	}
	if len(state.Targets) == 0 {
		return finish(ctx, s.Err, err)
	}
	o := &output{report: state.Report, streams: s, stop: func() {}}
	for _, t := range state.Targets {
		o.targets = append(o.targets, target{t.Format, t.File})
	}
	return finish(ctx, s.Err, o.end(ctx, err))
}

// cataloger matches the name of the syft cataloger in a stack trace.
var cataloger = regexp.MustCompile(`anchore/syft/syft/pkg/cataloger/([a-z0-9]+)`)

// reasonOf describes in one line how the child ended and which step was running.
func reasonOf(r supervise.Result) string {
	reason := "the worker process ended with " + r.Ended
	for line := range strings.SplitSeq(r.Trace, "\n") {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "SIG") {
			reason = "the worker process crashed: " + line
			break
		}
	}
	if r.Trace == "" && strings.HasPrefix(r.Ended, "signal: killed") {
		reason += ", perhaps because memory ran out"
	}
	if m := cataloger.FindStringSubmatch(r.Trace); m != nil {
		reason += ", in syft's " + m[1] + " cataloger"
	}
	if r.Phase != "" {
		reason += ", during: " + r.Phase
	}
	return reason
}

// traceLines returns the first lines of a stack trace, redacted and sanitized for printing.
func traceLines(trace string) []string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimSpace(trace), "\n") {
		if len(out) == maxTraceLines {
			return append(out, "...")
		}
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, report.Sanitize(redact(line)))
		}
	}
	return out
}

// watched is a progress display that also tells the parent process the current step.
type watched struct {
	gate.Progress
	child *supervise.Child
}

func (w watched) Start(ctx context.Context, step gate.Step) (context.Context, func(error)) {
	w.child.Phase(string(step.Stage) + " " + step.Subject)
	return w.Progress.Start(ctx, step)
}
