package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/audit"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/internal/supervise"
	"github.com/imagegate/imagegate/policy"
)

// Streams are the standard streams of a process.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Child connects this process to its parent. It is nil in a process without a parent.
	Child *supervise.Child
}

// Options configure the output of one command, as the command line selects it.
type Options struct {
	Streams Streams
	// Command is the name of the command, and Image the reference as the user wrote it.
	Command, Image string
	Tool           report.Tool
	// Targets are the reports to write.
	Targets []Target
	// Inputs are the local files and folders that the command reads. No output may replace them.
	Inputs []string
	// Text configures the text report. Color is the value of --color.
	Text  report.TextOptions
	Color string
	// Structured selects structured logs: each line on standard error is one JSON object.
	Structured bool
	// Progress displays the progress of the run. Stop ends the display.
	Progress gate.Progress
	Stop     func()
	// TempDir is the folder that must be cleaned up after a crash. "" means none.
	TempDir string
	Records Records
}

// Writer collects the report of one command. Finish writes it, even after an error or a panic.
type Writer struct {
	// Report is the report of the run. The command fills it in.
	Report report.Report
	// Options are the options given to New. New replaces Progress with one that also records the
	// trace.
	Options

	sboms   []formats.SBOM // nil until the image is cataloged
	tagging bool           // set before the first tag is written
	killed  bool           // the process that did the work is gone, and its state is unknown
	failed  []error        // the errors of Targets, after the first attempt
	audit   *audit.Log     // nil unless an audit log is configured
}

// New returns a Writer after checking that every report and record can be written. A later error
// would come after the tag is written. The caller must defer Finish.
func New(ctx context.Context, opts Options) (*Writer, error) {
	if err := opts.check(); err != nil {
		opts.Stop()
		return nil, err
	}
	o := &Writer{Options: opts}
	o.Report.Tool, o.Report.Command, o.Report.Started = opts.Tool, opts.Command, time.Now().UTC()
	o.Report.Input.Image.Reference = opts.Image
	if err := o.openRecords(ctx); err != nil {
		// Finish removes or replaces the reports and metrics of an earlier run, which could be
		// taken for the result of this one.
		o.Finish(ctx, &err)
		return nil, err
	}
	if opts.Records.Trace != nil {
		o.Progress = traced{opts.Progress, opts.Records.Trace}
	}
	o.Progress = watched{o.Progress, opts.Streams.Child}
	o.Tell()
	return o, nil
}

// check returns a usage error if a report or record cannot be written, or if two of them would use
// the same file.
func (o Options) check() error {
	type place struct{ flag, path string }
	var places []place
	for _, t := range o.Targets {
		if err := t.CheckDocument(o.Command); err != nil {
			return err
		}
		if err := t.Check(); err != nil {
			return exit.Usage(fmt.Errorf("--output: cannot write the report to %q: %w", t.File, err))
		}
		if t.File != "" && !t.once() {
			places = append(places, place{"--output", t.File})
		}
		if format, _ := formats.ByName(t.Format); t.File == "" && o.Records.Audit == "-" && format.Name != "text" {
			return exit.Usagef("--audit-log - and --output %s cannot both use standard output: use --output %s=FILE", t.Format, t.Format)
		}
	}
	if file := o.Records.Metrics; file != "" {
		if err := (Target{File: file}).Check(); err != nil {
			return exit.Usage(fmt.Errorf("--metrics-file: cannot write %q: %w", file, err))
		}
		places = append(places, place{"--metrics-file", file})
	}
	if audit.IsFile(o.Records.Audit) {
		places = append(places, place{"--audit-log", o.Records.Audit})
	}
	for i, a := range places {
		if err := checkInputs(a.flag, a.path, o.Inputs); err != nil {
			return err
		}
		for _, b := range places[:i] {
			if samePlace(a.path, b.path) {
				return exit.Usagef("%s and %s name the same file %q", b.flag, a.flag, a.path)
			}
		}
	}
	return nil
}

// checkInputs returns a usage error if writing a file would change an input of the command.
func checkInputs(flag, file string, inputs []string) error {
	for _, input := range inputs {
		if input != "" && (samePlace(file, input) || isInside(file, input)) {
			return exit.Usagef("%s %q would change %q, which this command reads", flag, file, input)
		}
	}
	return nil
}

// isInside reports whether a file is inside a folder.
func isInside(file, folder string) bool {
	at, _, err := disk.Resolve(file)
	in, info, inErr := disk.Resolve(folder)
	if err != nil || inErr != nil || info == nil || !info.IsDir() {
		return false
	}
	rel, err := filepath.Rel(in, at)
	return err == nil && filepath.IsLocal(rel)
}

// samePlace reports whether two paths name the same file, also through links or if the file does not
// exist yet.
func samePlace(a, b string) bool {
	at, aInfo, aErr := disk.Resolve(a)
	bt, bInfo, bErr := disk.Resolve(b)
	switch {
	case aErr != nil || bErr != nil:
		return filepath.Clean(a) == filepath.Clean(b)
	case aInfo != nil && bInfo != nil:
		return os.SameFile(aInfo, bInfo) && aInfo.Mode().IsRegular()
	}
	return at == bt
}

// Policies adds the names and digests of the policies to the report.
func (o *Writer) Policies(set policy.Set) {
	o.Report.Policy = run.Policy(set)
	o.Tell()
}

// redactCautions removes secrets from the warnings of the report, because they may quote external
// text.
func (o *Writer) redactCautions() {
	for i, c := range o.Report.Cautions {
		o.Report.Cautions[i] = exit.Redact(c)
	}
}

// Finish ends the command and writes the reports and records. *err is the result of the command.
// Finish must be deferred directly, because it calls recover: after a panic, it still writes the
// reports.
func (o *Writer) Finish(ctx context.Context, err *error) {
	if p := recover(); p != nil {
		*err = exit.Panic(p)
	}
	*err = o.end(ctx, *err)
	o.lastLines()
}

// end stops the progress display, prints the warnings and writes every report and record. It returns
// the error of the command. A report that cannot be written is an error, too, because a pipeline could
// otherwise read an older report as the new one.
func (o *Writer) end(ctx context.Context, err error) error {
	o.Stop()
	o.redactCautions()
	o.Report.Finished = time.Now().UTC()
	if ctx.Err() != nil && err != nil && !errors.Is(err, exit.ErrDenied) {
		err = &exit.Stopped{Err: err, Undone: o.stopped()}
	}
	for _, c := range o.Report.Cautions {
		o.warn(c)
	}
	if v := exit.Classify(ctx, err); v.Code != exit.OK && v.Code != exit.Denial {
		o.Report.Error = exit.ReportError(v, err)
	}
	if lost := o.writeReports(); lost != nil {
		err = o.unwritten(ctx, err, lost)
	}
	if lost := o.writeRecord(ctx, exit.Classify(ctx, err)); lost != nil {
		err = o.unwritten(ctx, err, lost)
		o.correctRecord(exit.Classify(ctx, err))
	}
	// From here on, a signal no longer changes the result: the records already have it.
	result := exit.Classify(ctx, err)
	o.tellWritten(result.Code)
	o.exportTelemetry(ctx, result.Code)
	return exit.Settle(result, err, o.Structured)
}

// writeReports writes every report and returns the joined errors.
func (o *Writer) writeReports() error {
	o.failed = make([]error, len(o.Targets))
	for i, t := range o.Targets {
		if err := o.writeTarget(t); err != nil {
			o.failed[i] = fmt.Errorf("writing the report: %w", err)
		}
	}
	return errors.Join(o.failed...)
}

// unwritten returns the error of the command after a report or the audit record could not be
// written. If the command had succeeded, unwritten writes the other reports again with this error.
func (o *Writer) unwritten(ctx context.Context, err, lost error) error {
	if err != nil {
		return errors.Join(lost, err)
	}
	unwritten := &run.UnwrittenError{Promoted: o.isPromoted(), Err: lost}
	o.Report.Error = exit.ReportError(exit.Classify(ctx, unwritten), unwritten)
	for i, t := range o.Targets {
		if o.failed[i] == nil && !t.once() {
			if werr := o.writeTarget(t); werr != nil {
				unwritten.Err = errors.Join(unwritten.Err, werr)
			}
		}
	}
	return unwritten
}

// stopped returns what an interrupted command has not done. Once the tags are being written, it
// does not claim that nothing was promoted: the registry may have received the request.
func (o *Writer) stopped() string {
	switch {
	case o.Report.Command != "promote" || o.killed:
		return ""
	case o.tagging || o.isPromoted():
		return "tags may have been written, each on a complete, verified image"
	}
	return "nothing was promoted"
}

func (o *Writer) isPromoted() bool {
	return slices.ContainsFunc(o.Report.Destinations, func(d report.Destination) bool {
		return d.State == report.Promoted || d.State == report.AlreadyPromoted
	})
}

// writeTarget writes one report. If the format cannot express the result, no report is written.
// writeTarget then removes the file of an earlier run, which could be mistaken for a new report.
func (o *Writer) writeTarget(t Target) error {
	format, _ := formats.ByName(t.Format)
	if format.Document != nil {
		return o.writeDocuments(t, format)
	}
	if err := format.Check(o.Report); err != nil {
		o.warn(fmt.Sprintf("the %s report is not written: %v", t.Format, err))
		return t.Remove()
	}
	write := format.Write
	if o.Report.Error != nil && t.File == "" && format.AfterError != nil {
		write = format.AfterError
	}
	options := o.Text
	if t.File == "" {
		options = o.textOptions(o.Streams.Out)
	}
	var buf bytes.Buffer
	if err := write(&buf, o.Report, formats.Options{Text: options}); err != nil {
		return err
	}
	return t.Put(o.Streams.Out, buf.Bytes())
}

// BeforeTag writes the reports to files and prepares the audit record before the first tag is
// written. A full disk is then detected before anything is approved. A killed process leaves
// neither an outdated report nor a tag without an audit record.
func (o *Writer) BeforeTag(ctx context.Context) error {
	err := o.rehearse()
	if err == nil {
		err = o.prepareRecord(ctx)
	}
	o.tagging = err == nil
	return err
}

// rehearse writes the reports to files, marked as the reports of a run that has not finished.
func (o *Writer) rehearse() error {
	o.redactCautions()
	finished := *o
	finished.Streams.Err = io.Discard // the report at the end warns again
	finished.Report.Finished = time.Now().UTC()
	finished.Report.Error = &report.Error{Class: report.ClassOther, Retryable: true,
		Message: "the run has not ended, and no tag has been written yet"}
	for _, t := range o.Targets {
		if t.once() {
			continue
		}
		if err := finished.writeTarget(t); err != nil {
			return fmt.Errorf("writing the report before the first tag: %w", err)
		}
	}
	return nil
}
