package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/internal/suggest"
	"github.com/imagegate/imagegate/policy"
)

// target is the destination of one report, from one --output flag.
type target struct {
	format string
	file   string // empty means standard output
}

// output collects the report of one command. It writes the report at the end, even after an error
// or a panic.
type output struct {
	report   report.Report
	targets  []target
	streams  Streams
	progress gate.Progress
	stop     func()
	tempDir  string         // folder that must be cleaned up after a crash
	sboms    []formats.SBOM // nil until the image is cataloged
	tagging  bool           // set before the first tag is written
	color    string         // the value of --color
	killed   bool           // the process that did the work is gone, and its state is unknown
	text     report.TextOptions
	// structured: standard error has one JSON object a line.
	structured bool
}

// newOutput validates --output, --evidence-dir and --log-format and starts the progress display. It
// refuses files and folders that cannot be written. That must be known early, because the report is
// written after the tag. The caller must defer finish.
func newOutput(c *cli.Context, s Streams, command string, image fmt.Stringer) (*output, error) {
	targets, err := parseTargets(c.StringSlice("output"), formats.Names())
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if err := t.checkDocument(command); err != nil {
			return nil, err
		}
		if err := t.check(); err != nil {
			return nil, exit.Usage(fmt.Errorf("--output: cannot write the report to %q: %w", t.file, err))
		}
	}
	if dir := c.String("evidence-dir"); dir != "" {
		// A later check would be too late: the image would be promoted already.
		if err := checkEvidenceDir(c, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, exit.Usage(fmt.Errorf("--evidence-dir: %w", err))
		}
		if err := checkNewFolder(dir); err != nil {
			return nil, exit.Usage(fmt.Errorf("--evidence-dir: cannot write into %q: %w", dir, err))
		}
	}
	o := &output{targets: targets, streams: s, color: c.String(colorFlag.Name), structured: c.String(logFlag.Name) == "json",
		text: report.TextOptions{Details: c.Bool(detailsFlag.Name), CommandLine: commandLine(c, command, targets)}}
	t := tool()
	o.report.Tool = report.Tool{Name: t.Name, Version: t.Version, Components: t.Components}
	o.report.Command = command
	o.report.Input.Image.Reference = image.String()
	o.report.Started = time.Now().UTC()
	if o.progress, o.stop, err = newProgress(c, s); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return f == tempFlag }) {
		if o.tempDir, err = tempDir(c); err != nil {
			return nil, err
		}
	}
	o.progress = watched{o.progress, s.child}
	o.tell()
	return o, nil
}

// parseTargets parses the values of --output. names are the report formats of the command, the
// default format first.
func parseTargets(flags, names []string) ([]target, error) {
	if len(flags) == 0 {
		flags = names[:1]
	}
	var out []target
	seen := map[string]bool{}
	for _, f := range flags {
		format, file, toFile := strings.Cut(f, "=")
		switch {
		case !slices.Contains(names, format):
			return nil, exit.Usage(&formatError{f, names})
		case toFile && file == "":
			return nil, exit.Usagef("--output %q: the file name after the equals sign is missing", f)
		}
		place := file
		if toFile {
			if abs, err := filepath.Abs(file); err == nil {
				place = abs
			}
		}
		if seen[place] {
			return nil, exit.Usagef("--output %q: another report is already written to the same place", f)
		}
		seen[place] = true
		if toFile {
			if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
				return nil, exit.Usagef("--output %q: folder %q does not exist", f, filepath.Dir(file))
			}
		}
		out = append(out, target{format, file})
	}
	return out, nil
}

// formatError is an unknown format of a report.
type formatError struct {
	value string // of --output
	names []string
}

func (e *formatError) Error() string {
	return fmt.Sprintf("--output %q: the format must be %s", e.value, report.List(e.names))
}

// Hint names the format that was meant. Many programs take only the name of a file.
func (e *formatError) Hint() string {
	format, file, _ := strings.Cut(e.value, "=")
	if near := suggest.Nearest(format, e.names); near != "" {
		return "did you mean " + strings.Replace(e.value, format, near, 1) + "?"
	}
	ext := strings.TrimPrefix(filepath.Ext(format), ".")
	switch {
	case file == "" && slices.Contains(e.names, ext):
		return fmt.Sprintf("to write a file, use --output %s=%s", ext, format)
	case file == "" && ext != "":
		return fmt.Sprintf("to write a file, use --output FORMAT=%s", format)
	}
	return ""
}

func userAgent() string { return tool().Name + "/" + tool().Version }

func (o *output) policies(set policy.Set) {
	o.report.Policy = run.Policy(set)
	o.tell()
}

// redactCautions removes secrets from the warnings of the report, because they may quote external
// text.
func (o *output) redactCautions() {
	for i, c := range o.report.Cautions {
		o.report.Cautions[i] = exit.Redact(c)
	}
}

// finish ends the command and writes the reports. *err is the result of the command. finish must be
// deferred directly, because it recovers a panic: so a panic leaves a report, too.
func (o *output) finish(ctx context.Context, err *error) {
	if p := recover(); p != nil {
		*err = exit.Panic(p)
	}
	*err = o.end(ctx, *err)
	o.lastLines()
}

// end stops the progress display, prints the warnings and writes every report. It returns the
// error of the command. A report that cannot be written is an error, too, because a pipeline could
// otherwise read an older report as the new one.
func (o *output) end(ctx context.Context, err error) error {
	o.stop()
	o.redactCautions()
	o.report.Finished = time.Now().UTC()
	if ctx.Err() != nil && err != nil && !errors.Is(err, exit.ErrDenied) {
		err = &exit.Stopped{Err: err, Undone: o.stopped()}
	}
	for _, c := range o.report.Cautions {
		fmt.Fprintln(o.streams.Err, "imagegate: warning: "+report.Sanitize(c))
	}
	if v := exit.Classify(ctx, err); v.Code != exit.OK && v.Code != exit.Denial {
		o.report.Error = exit.ReportError(v, err)
	}
	failed := make([]error, len(o.targets))
	for i, t := range o.targets {
		if werr := o.writeTarget(t); werr != nil {
			failed[i] = fmt.Errorf("writing the report: %w", werr)
		}
	}
	o.tellWritten()
	lost := errors.Join(failed...)
	switch {
	case lost == nil:
		return err
	case err != nil:
		return errors.Join(lost, err)
	}
	unwritten := &run.UnwrittenError{Promoted: o.isPromoted(), Err: lost}
	o.report.Error = exit.ReportError(exit.Classify(ctx, unwritten), unwritten)
	// The writable reports say that another report is missing.
	for i, t := range o.targets {
		if failed[i] == nil && !t.once() {
			if werr := o.writeTarget(t); werr != nil {
				unwritten.Err = errors.Join(unwritten.Err, werr)
			}
		}
	}
	return unwritten
}

// stopped returns what an interrupted command left undone. Once the first tag is being written, it
// makes no claim: the registry may have received the request.
func (o *output) stopped() string {
	switch {
	case o.report.Command != "promote" || o.killed:
		return ""
	case o.tagging || o.isPromoted():
		return "tags may have been written, each on a complete, verified image"
	}
	return "nothing was promoted"
}

func (o *output) isPromoted() bool {
	return slices.ContainsFunc(o.report.Destinations, func(d report.Destination) bool {
		return d.State == report.Promoted || d.State == report.AlreadyPromoted
	})
}

// writeTarget writes one report. If the format cannot express the result, no report is written.
// writeTarget then removes the file of an earlier run, which could be mistaken for a new report.
func (o *output) writeTarget(t target) error {
	format, _ := formats.ByName(t.format)
	if format.Document != nil {
		return o.writeDocuments(t, format)
	}
	if err := format.Check(o.report); err != nil {
		fmt.Fprintf(o.streams.Err, "imagegate: warning: the %s report is not written: %v\n", t.format, err)
		return t.remove()
	}
	write := format.Write
	if o.report.Error != nil && t.file == "" && format.AfterError != nil {
		write = format.AfterError
	}
	options := o.text
	if t.file == "" {
		options = o.textOptions(o.streams.Out)
	}
	var buf bytes.Buffer
	if err := write(&buf, o.report, formats.Options{Text: options}); err != nil {
		return err
	}
	return t.put(o.streams, buf.Bytes())
}

// rehearse writes the reports to files before the first tag is written. So a full disk is detected
// before anything is approved, and a killed process does not leave an older report behind.
func (o *output) rehearse() error {
	o.redactCautions()
	finished := *o
	finished.streams.Err = io.Discard // the report at the end warns again
	finished.report.Finished = time.Now().UTC()
	finished.report.Error = &report.Error{Class: report.ClassOther, Retryable: true,
		Message: "the run has not ended, and no tag has been written yet"}
	for _, t := range o.targets {
		if t.once() {
			continue
		}
		if err := finished.writeTarget(t); err != nil {
			return fmt.Errorf("writing the report before the first tag: %w", err)
		}
	}
	return nil
}

// once reports whether the report can be written only once, because a second report would be
// appended: to standard output, a device, a pipe or an open file descriptor.
func (t target) once() bool { return t.file == "" || disk.IsAppended(t.file) }

// put writes formatted output to the target.
func (t target) put(s Streams, data []byte) error {
	switch {
	case t.file == "" && len(data) == 0:
		return nil // without data, a closed standard output is not an error
	case t.file == "":
		_, err := s.Out.Write(data)
		return err
	}
	return disk.WriteBytes(t.file, 0o644, data)
}

// remove removes an earlier report from the target, unless reports are appended to it.
func (t target) remove() error {
	if t.once() {
		return nil
	}
	if err := os.Remove(t.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an earlier report: %w", err)
	}
	return nil
}

// check returns an error if the file cannot be written. It does not change the file.
func (t target) check() error {
	if t.file == "" {
		return nil
	}
	switch info, err := os.Stat(t.file); {
	case err == nil && info.IsDir():
		return errors.New("the path is a folder")
	case err == nil && !info.Mode().IsRegular():
		return nil // a device or a pipe is not opened, because that may wait for a reader
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return checkWritable(t.file)
}

// checkWritable returns an error if path cannot be written. It creates and removes a temporary
// file.
func checkWritable(path string) error {
	f, err := disk.Prepare(path, 0o644)
	if err != nil {
		return err
	}
	return f.Discard()
}

// checkNewFolder returns an error if dir cannot be created or written to. It removes everything
// that it creates.
func checkNewFolder(dir string) error {
	var made []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		made = append(made, at)
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = checkWritable(filepath.Join(dir, "evidence"))
	}
	for _, at := range made { // innermost first
		_ = os.Remove(at)
	}
	return err
}
