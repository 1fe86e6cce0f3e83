package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Text writes the report for people, with the default TextOptions.
func Text(w io.Writer, r Report) error { return TextOptions{}.Text(w, r) }

// TextOptions control the layout of the text report.
type TextOptions struct {
	// Color highlights the verdict and severities with ANSI sequences.
	Color bool
	// Width is the maximum line length in characters, as far as words and tables allow it. 0 means
	// 100. Values below 60 mean 60.
	Width int
}

// Text writes the report for people, in this order: the image, database and policy; the verdict;
// everything that blocks, with remedies; everything that does not block; the promoted tags.
// Violations are never cut. Other long lists are cut, and say how many items are missing.
func (o TextOptions) Text(w io.Writer, r Report) error {
	t := text{layout: o.layout(w), Report: r, known: r.Input.Baseline.Lookup(), remedies: newRemedier(r)}
	t.header()
	t.verdict()
	t.override()
	if r.Decision != nil {
		t.violations()
		t.warnings()
		t.exceptions()
		t.notAffected()
		t.provenanceMatches()
		t.allowed()
	}
	t.gaps()
	t.destinations()
	t.attached()
	t.transfer()
	if err := t.flush(); err != nil {
		return fmt.Errorf("writing the text report: %w", err)
	}
	return nil
}

// layout applies the default and the minimum width.
func (o TextOptions) layout(w io.Writer) *layout {
	width := o.Width
	if width == 0 {
		width = defaultWidth
	}
	return newLayout(w, max(width, 60), o.Color)
}

const defaultWidth = 100

// Maximum lengths of lists that do not block.
const (
	maxWarnings = 10
	maxAllowed  = 5
	maxGaps     = 3
	maxPaths    = 3

	maxOverridden = 100
)

// text writes one report.
type text struct {
	*layout
	Report
	// known reports whether the approved image has the finding too.
	known    func(platform string, f *evidence.Finding) bool
	remedies *remedier
}

// field writes one line of the report's header.
func (t text) field(name, value string) {
	const column = 12
	first := name + strings.Repeat(" ", max(column-len(name), 1))
	t.paragraph(plain, first, strings.Repeat(" ", column), value)
}
