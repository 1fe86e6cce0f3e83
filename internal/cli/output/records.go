package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/audit"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/telemetry"
)

// Records configures the audit record, the metrics and the trace of a run.
type Records struct {
	// Audit is the value of --audit-log. "" means no audit record.
	Audit string
	// Spool is the folder for prepared audit records, and Host the name of this machine.
	Spool, Host string
	// ID identifies the run in the audit log. New sets it.
	ID string
	// Prepared reports that a prepared audit record of this run is on disk. The Writer sets it.
	Prepared bool
	Actor    audit.Actor
	// Requested are the approved tags that the command line names.
	Requested []string
	// Metrics is the file for the textfile collector of Prometheus. "" means no metrics.
	Metrics string
	// Trace is nil if no collector is configured.
	Trace *telemetry.Trace `json:"-"`
}

// openRecords opens the audit log.
func (o *Writer) openRecords(ctx context.Context) error {
	if o.Records.Audit == "" {
		return nil
	}
	log, recovered, err := o.Records.open(ctx, o.Streams, "")
	if err != nil {
		return err
	}
	o.audit, o.Records.ID = log, uuid.NewString()
	if recovered > 0 {
		o.warn(fmt.Sprintf("the audit log got the records of %d earlier runs, which could not deliver them", recovered))
	}
	return nil
}

// resumeRecord opens the audit log in the parent, to deliver the record of a run whose process
// died.
func (o *Writer) resumeRecord(ctx context.Context) (err error) {
	if o.Records.Audit != "" {
		o.audit, _, err = o.Records.open(context.WithoutCancel(ctx), o.Streams, o.Records.ID)
	}
	return err
}

// open opens the audit log. It returns a usage error, unless the cause may be temporary: a full
// disk, or a syslog server that does not respond.
func (r Records) open(ctx context.Context, s Streams, resume string) (*audit.Log, int, error) {
	log, recovered, err := audit.Open(ctx, r.Audit, audit.Options{Out: s.Out, Spool: r.Spool, Host: r.Host, PID: os.Getpid(), Now: time.Now, Resume: resume, Prepared: r.Prepared})
	var later *audit.WriteError
	switch {
	case err == nil:
		return log, recovered, nil
	case errors.As(err, &later):
		return nil, 0, err
	}
	return nil, 0, exit.Usage(fmt.Errorf("--audit-log: %w", err))
}

// event returns the audit record for the report r and the exit code.
func (o *Writer) event(r report.Report, code int) audit.Event {
	return audit.NewEvent(r, audit.Process{ID: o.Records.ID, ExitCode: code, Actor: o.Records.Actor, Requested: o.Records.Requested})
}

// diedCode is the exit code in the audit record of a run whose process died before it had one.
const diedCode = -1

// prepareRecord saves an audit record on disk, to be delivered if this process dies.
func (o *Writer) prepareRecord(ctx context.Context) error {
	if o.audit == nil {
		return nil
	}
	r := o.Report
	r.Finished = time.Now().UTC()
	r.Error = &report.Error{Class: report.ClassOther, Message: "the process died while it wrote the tags, so any of the requested tags may be written"}
	err := o.audit.Prepare(ctx, o.event(r, diedCode))
	if err == nil {
		o.Records.Prepared = true
		o.Tell()
	}
	return err
}

// writeRecord delivers the audit record, even if the run was interrupted.
func (o *Writer) writeRecord(ctx context.Context, result exit.Verdict) error {
	if o.audit == nil {
		return nil
	}
	// Even if the record cannot be saved on disk, try to deliver it.
	kept := o.audit.Final(o.finalEvent(result.Code))
	if kept == nil {
		o.Records.Prepared = true
		o.tellFinal(result.Code)
	}
	if err := o.audit.Deliver(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(err, kept)
	}
	return o.audit.Close()
}

// correctRecord updates the saved record after its delivery failed, because the failure changes the
// exit code of the run.
func (o *Writer) correctRecord(result exit.Verdict) {
	err := o.audit.Final(o.finalEvent(result.Code))
	if err = errors.Join(err, o.audit.Close()); err != nil {
		o.warn("the kept audit record is not current: " + err.Error())
	}
}

// finalEvent returns the audit record of the completed run with its exit code.
func (o *Writer) finalEvent(code int) audit.Event {
	e := o.event(o.Report, code)
	if prepared, ok := o.audit.Resumed(); ok { // it knows the decision, which this process does not
		prepared.Time, prepared.Data.ExitCode = e.Time, code
		prepared.Data.DurationSeconds, prepared.Data.Error, prepared.Data.Why = e.Data.DurationSeconds, e.Data.Error, e.Data.Why
		return prepared
	}
	return e
}

// exportTelemetry writes the metrics and ends the trace. Errors are only printed as warnings:
// telemetry must not change the result of a run.
func (o *Writer) exportTelemetry(ctx context.Context, code int) {
	if file := o.Records.Metrics; file != "" {
		var buf bytes.Buffer
		err := telemetry.Metrics(&buf, o.Report, code)
		if err == nil {
			err = disk.WriteBytes(file, 0o644, buf.Bytes())
		}
		if err != nil {
			o.warn("the metrics are not written: " + err.Error())
		}
	}
	if trace := o.Records.Trace; trace != nil {
		if err := trace.End(ctx, o.Report, code); err != nil {
			o.warn("the trace is not exported completely: " + err.Error())
		}
	}
}

// warn writes a warning to standard error, without secrets.
func (o *Writer) warn(text string) {
	if text = exit.Redact(text); o.Structured {
		observe.LogWarning(o.Streams.Err, text)
		return
	}
	fmt.Fprintf(o.Streams.Err, "imagegate: warning: %s\n", report.Sanitize(text))
}

// traced is a progress display that also records each step in the trace.
type traced struct {
	gate.Progress
	trace *telemetry.Trace
}

func (t traced) Start(ctx context.Context, step gate.Step) (context.Context, func(error)) {
	ctx, end := t.trace.Start(ctx, step)
	ctx, done := t.Progress.Start(ctx, step)
	return ctx, func(err error) {
		done(err)
		end(err)
	}
}

func (t traced) Bytes(step gate.Step, blob string, done, total int64) {
	t.trace.Bytes(step, blob, done, total)
	t.Progress.Bytes(step, blob, done, total)
}
