package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Text writes the report for people, with the default TextOptions.
func Text(w io.Writer, r Report) error { return TextOptions{}.Text(w, r) }

// TextOptions configure the text report.
type TextOptions struct {
	// Color highlights the verdict and severities with ANSI sequences.
	Color bool
	// Width is the maximum line length in characters. 0 means 100, and values below 60 mean 60.
	// Lines to paste and single long words can be longer.
	Width int
	// Details lists everything: each finding with its rule, and everything that does not block. By
	// default, the report only counts what does not block, and shortens long lists.
	Details bool
	// CommandLine has the arguments that the report needs to suggest the next command.
	CommandLine CommandLine
}

// CommandLine has the arguments of the run that the verdict repeats, for example in suggested
// commands. Use the zero value for a report that was read from a file.
type CommandLine struct {
	// Approved are the destinations that the image was to be promoted to.
	Approved []string
	// Report is the file with the JSON report. It is empty if none was written.
	Report string
	// Policies are the policy files, which the suggested promote command repeats.
	Policies []string
	// Platform is the value of --platform: the only platform of the index that was evaluated. It is
	// "" if all were.
	Platform string
	// Verify are the arguments of "imagegate verify" after the reference, one word each. The list
	// is empty if they are unknown.
	Verify []string
}

// Text writes the report for people, in this order: the image, database and policy; everything that
// blocks, with remedies; a summary of everything else; the verdict and what to do next. A shortened
// list says how many items, and which kind of items, it leaves out.
func (o TextOptions) Text(w io.Writer, r Report) error {
	t := o.text(w, r)
	t.header()
	t.override()
	if r.Decision != nil {
		t.problems()
		t.Space()
		t.warnings()
		t.exceptions()
		t.notAffected()
		t.provenanceMatches()
		t.allowed()
	}
	t.gaps()
	t.destinations()
	t.attached()
	t.verdict()
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the text report: %w", err)
	}
	return nil
}

// Verdict writes only the last lines of the text report: the verdict, the reason, what was written,
// and what to do next. It is for a terminal that does not show the report. After a failure, it
// names only the class of the error, because the caller prints the error.
func (o TextOptions) Verdict(w io.Writer, r Report) error {
	if r.Error != nil {
		r.Error = &Error{Class: r.Error.Class}
	}
	t := o.text(w, r)
	t.verdict()
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the verdict: %w", err)
	}
	return nil
}

func (o TextOptions) text(w io.Writer, r Report) text {
	var blocking []Item
	if r.Decision != nil {
		blocking = merge(r.Decision.Violations)
	}
	return text{Writer: o.layout(w), Report: r, details: o.Details, run: o.CommandLine, result: r.Verdict(), blocking: blocking,
		known: r.Input.Baseline.Lookup(), remedies: newAdvisor(r, blocking), layers: newLayers(r.Input.Platforms)}
}

// layout applies the default and the minimum width.
func (o TextOptions) layout(w io.Writer) *layout.Writer {
	width := o.Width
	if width == 0 {
		width = defaultWidth
	}
	return layout.New(w, max(width, 60), o.Color)
}

const defaultWidth = 100

// These constants limit the lists of a report without --details.
const (
	maxBatches   = 8 // types and places of packages, and remedies
	maxSources   = 8 // packages of one type and place
	maxUnfixable = 5
	maxOthers    = 5
	maxSoon      = 3
	maxRules     = 4

	maxOverridden = 100 // also with details
)

// text writes one report.
type text struct {
	*layout.Writer
	Report
	details bool
	run     CommandLine
	result  Verdict
	// blocking has the items that deny the image.
	blocking []Item
	// known reports whether the approved image also has the finding.
	known    func(platform string, f *evidence.Finding) bool
	remedies *remedy.Advisor
	layers   layers
}

// field writes one name and its value, in a column of 12 characters for names.
func (t text) field(name, value string) { t.named(12, name, value) }

// label writes one labeled line of the report. The narrow label column leaves room for a digest in
// a line of 80 characters.
func (t text) label(name, value string) { t.named(9, name, value) }

func (t text) named(column int, name, value string) {
	t.Paragraph(layout.Plain, name+strings.Repeat(" ", max(column-len(name), 1)), column, value)
}
