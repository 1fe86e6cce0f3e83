package output

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/supervise"
	"github.com/imagegate/imagegate/policy/evidence"
)

// crashState is what a child sends to its parent, so that the parent can write the reports if the
// child crashes.
type crashState struct {
	Report  report.Report
	Targets []Target
	TempDir string
	Records Records
	// Structured is Options.Structured.
	Structured bool
	// Code is the exit code of a run that has ended. The written reports and the audit record have
	// the same code. It is nil before the end.
	Code *int
}

// Tell sends the current report to the parent, which writes it if this process crashes. The copy
// has no decision and no findings, because a crashed run has no verdict.
func (o *Writer) Tell() {
	r := o.Report
	r.Input = evidence.Input{Image: r.Input.Image}
	r.Decision, r.Override, r.Attachments = nil, nil, nil
	state := crashState{Report: r, Targets: o.Targets, TempDir: o.TempDir, Records: o.Records, Structured: o.Structured}
	_ = o.Streams.Child.State(state) // if this fails, a crash report only has less detail
}

// tellFinal tells the parent the exit code of the run, and that an audit record must still be
// delivered. After a crash, the parent then keeps the written reports.
func (o *Writer) tellFinal(code int) {
	_ = o.Streams.Child.State(crashState{TempDir: o.TempDir, Records: o.Records, Structured: o.Structured, Code: &code})
}

// tellWritten tells the parent the exit code of the run, and that all reports and records are
// written.
func (o *Writer) tellWritten(code int) {
	_ = o.Streams.Child.State(crashState{TempDir: o.TempDir, Code: &code})
}

// Crashed writes the reports for a child process that crashed, and returns the exit code. It is the
// code of a denial only if the run had ended with a denial before the crash.
func Crashed(s Streams, r supervise.Result) int {
	ctx := context.Background()
	var err error = &exit.Fault{Reason: reasonOf(r), Trace: r.Trace}
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
	if state.Code != nil {
		return ended(ctx, s, state)
	}
	if len(state.Targets) == 0 {
		return exit.Finish(ctx, s.Err, err)
	}
	o := &Writer{Report: state.Report, killed: true,
		Options: Options{Streams: s, Stop: func() {}, Targets: state.Targets, Records: state.Records, Structured: state.Structured}}
	return exit.Finish(ctx, s.Err, o.end(ctx, errors.Join(err, o.resumeRecord(ctx))))
}

// ended returns the exit code of a run that had ended before its process died. If the audit record
// was not delivered yet, opening the audit log delivers it.
func ended(ctx context.Context, s Streams, state crashState) int {
	o := &Writer{Options: Options{Streams: s, Records: state.Records, Structured: state.Structured}}
	err := o.resumeRecord(ctx)
	if err == nil && o.audit != nil {
		err = o.audit.Close()
	}
	if err != nil {
		o.warn("the next run delivers the audit record: " + err.Error())
	}
	return *state.Code
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

// watched is a progress display that also tells the parent process which step is running.
type watched struct {
	gate.Progress
	child *supervise.Child
}

func (w watched) Start(ctx context.Context, step gate.Step) (context.Context, func(error)) {
	w.child.Phase(string(step.Stage) + " " + step.Subject)
	return w.Progress.Start(ctx, step)
}
