package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// formats are what --output accepts.
var formats = map[string]func(io.Writer, report.Report) error{
	"text": report.Text,
	"json": report.JSON,
}

// target is one --output.
type target struct {
	format string
	file   string // empty means standard output
}

// output collects the report of one command and writes it at the end, whatever
// the end was.
type output struct {
	report   report.Report
	targets  []target
	streams  Streams
	progress gate.Progress
	stop     func()
}

// newOutput validates --output and --log-format and starts the progress
// display. The caller must call finish.
func newOutput(c *cli.Context, s Streams, command string, image fmt.Stringer) (*output, error) {
	targets, err := parseTargets(c.StringSlice("output"))
	if err != nil {
		return nil, err
	}
	o := &output{targets: targets, streams: s}
	t := tool()
	o.report.Tool = report.Tool{Name: t.Name, Version: t.Version, Components: t.Components}
	o.report.Command = command
	o.report.Input.Image.Reference = image.String()
	o.report.Started = time.Now().UTC()
	if o.progress, o.stop, err = newProgress(s.Err, c.String("log-format"), c.Bool("quiet")); err != nil {
		return nil, err
	}
	return o, nil
}

func parseTargets(flags []string) ([]target, error) {
	if len(flags) == 0 {
		flags = []string{"text"}
	}
	var out []target
	seen := map[string]bool{}
	for _, f := range flags {
		format, file, toFile := strings.Cut(f, "=")
		_, ok := formats[format]
		switch {
		case !ok:
			return nil, usagef("--output %q: the formats are text and json", f)
		case toFile && file == "":
			return nil, usagef("--output %q: no file follows the equals sign", f)
		}
		place := file
		if toFile {
			if abs, err := filepath.Abs(file); err == nil {
				place = abs
			}
		}
		if seen[place] {
			return nil, usagef("--output %q: two reports cannot go to the same place", f)
		}
		seen[place] = true
		if toFile {
			if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
				return nil, usagef("--output %q: there is no folder %q", f, filepath.Dir(file))
			}
		}
		out = append(out, target{format, file})
	}
	return out, nil
}

func userAgent() string { return tool().Name + "/" + tool().Version }

func (o *output) policies(set policy.Set) {
	var names []string
	var files []report.PolicyFile
	for _, p := range set {
		names = append(names, p.File)
		if len(p.Files) == 0 {
			files = append(files, report.PolicyFile{Name: p.File, Digest: p.Digest})
		}
		for _, f := range p.Files {
			files = append(files, report.PolicyFile{Name: f.Name, Digest: f.Digest})
		}
	}
	o.report.Policy = report.Policy{File: strings.Join(names, " + "), Digest: set.Digest()}
	if len(files) > 1 {
		o.report.Policy.Files = files
	}
}

func (o *output) result(r *gate.Result) {
	o.report.Input = r.Input
	o.report.Decision = &r.Decision
	if o.report.Judged = o.report.At; o.report.At.IsZero() {
		o.report.Judged = r.Finished.UTC()
	}
	o.report.Transfer = report.Transfer{BytesRead: r.Fetched.Bytes, Fetches: r.Fetched.Fetches, Recalled: r.Recalled}
	o.report.MovedTo = r.Moved
}

func (o *output) promoted(records []*promote.Record) {
	for _, r := range records {
		state := report.Promoted
		if r.Repeated {
			state = report.AlreadyPromoted
		}
		o.report.Destinations = append(o.report.Destinations, destination(r, state))
		o.overridden(r.Override)
	}
}

// repeated is the result where everything had been done before.
func (o *output) repeated(records []*promote.Record) {
	o.proven(records[0])
	o.promoted(records)
}

func (o *output) verified(r *promote.Record) {
	o.proven(r)
	o.report.Destinations = append(o.report.Destinations, destination(r, report.Verified))
	o.overridden(r.Override)
}

// signed is the result where a signature was asked for and no decision.
func (o *output) signed(r *promote.Record) {
	o.report.Input.Image.Digest = r.Digest
	o.report.Destinations = append(o.report.Destinations, destination(r, report.SignatureVerified))
}

// explained adds everything that is stored beside the image.
func (o *output) explained(e *promote.Explanation) {
	o.report.Input.Image.Digest = e.Digest
	o.report.Attached = []report.Attached{}
	for _, a := range e.Attached {
		o.report.Attached = append(o.report.Attached, report.Attached{
			Beside: a.Beside, Platform: a.Platform, Form: a.Form.String(), PredicateType: a.PredicateType,
			Signature: a.Signature, Digest: a.Digest,
			Signer:    report.AttachedSigner{Key: a.Signer.Key, Subject: a.Signer.Subject, Issuer: a.Signer.Issuer},
			Witnessed: a.Signer.At, WitnessProven: a.Trusted && a.Signer.Key == "" && !a.Signer.At.IsZero(),
			Result: a.Result, Decided: a.Decided, Trusted: a.Trusted, Reason: a.Reason})
	}
}

// proven fills in what a signed decision says where nothing was judged anew.
func (o *output) proven(r *promote.Record) {
	o.report.Input.Image.Digest = r.Digest
	o.report.Input.Database = r.Decision.Basis.Database
	if o.report.Policy.Digest == "" {
		o.report.Policy = report.Policy{File: r.Decision.PolicyName, Digest: "sha256:" + r.Decision.Policy["sha256"]}
	}
	for _, p := range r.Decision.Basis.Platforms {
		o.report.Input.Platforms = append(o.report.Input.Platforms, policy.Platform{Platform: p.Platform, Digest: p.Digest})
	}
}

func destination(r *promote.Record, state report.State) report.Destination {
	platforms := map[string]string{}
	for _, p := range r.Decision.Basis.Platforms {
		platforms[p.Digest] = p.Platform
	}
	d := report.Destination{Reference: r.Reference(), Repository: r.Repository, Tag: r.Tag, Digest: r.Digest, State: state,
		Signer: r.Signer, Statements: []report.Statement{}, Decided: r.Decision.Time,
		Blobs: r.Copied.Blobs, BlobsCopied: r.Copied.Sent, BytesCopied: r.Copied.Bytes}
	for _, s := range r.Statements {
		one := report.Statement{PredicateType: s.PredicateType, Subjects: []string{s.Subject}, Digest: s.Digest}
		if s.PredicateType != promote.DecisionType {
			one.Platform = platforms[s.Subject]
		}
		d.Statements = append(d.Statements, one)
	}
	for _, c := range r.Decision.Basis.Carried {
		d.Carried = append(d.Carried, report.Carried{PredicateType: c.PredicateType, Subject: c.Subject, Digest: c.Digest, Format: c.Format, Signer: c.Signer.String()})
	}
	for _, l := range r.Decision.Basis.Left {
		d.Left = append(d.Left, report.Carried{PredicateType: l.PredicateType, Subject: l.Subject, Digest: l.Digest, Format: l.Format, Reason: l.Reason})
	}
	return d
}

// caution notes what no rule says and nobody may overlook.
func (o *output) caution(format string, args ...any) {
	o.report.Cautions = append(o.report.Cautions, fmt.Sprintf(format, args...))
}

// finish ends the display, prints the cautions and writes every report. What the command returned
// stays the result; a report that cannot be written is an error of its own, as
// the pipeline that reads it would otherwise take an old one for new.
func (o *output) finish(ctx context.Context, err error) error {
	o.stop()
	o.report.Finished = time.Now().UTC()
	for _, c := range o.report.Cautions {
		fmt.Fprintln(o.streams.Err, "imagegate: warning: "+report.Sanitize(c))
	}
	if code := classify(ctx, err); code != exitOK && code != exitDenied {
		o.report.Error = &report.Error{Class: classes[code], Message: err.Error()}
	}
	var failed []error
	for _, t := range o.targets {
		format := formats[t.format]
		if o.report.Error != nil && t == (target{format: "text"}) {
			if o.report.Attached == nil {
				continue // standard error says it, in fewer words
			}
			format = report.Attachments
		}
		if werr := o.write(t, format); werr != nil {
			failed = append(failed, fmt.Errorf("writing the report: %w", werr))
		}
	}
	if len(failed) == 0 {
		return err
	}
	return errors.Join(append(failed, err)...)
}

func (o *output) write(t target, format func(io.Writer, report.Report) error) error {
	var buf bytes.Buffer
	if err := format(&buf, o.report); err != nil {
		return err
	}
	return t.put(o.streams, buf.Bytes())
}

// put writes what a format has made to where it goes.
func (t target) put(s Streams, data []byte) error {
	if t.file == "" {
		_, err := s.Out.Write(data)
		return err
	}
	return disk.WriteBytes(t.file, 0o644, data)
}
