// Package formats writes a report in the formats of other systems.
//
// [All] is the table of formats. Each row has a function in a file of its own, which takes its counts,
// its verdict and its list of problems from package report, so that all formats agree. A problem
// that an exception or a VEX statement covers is listed as such in every format, not left out.
//
// The SBOMs are formats too, although a report does not have them: see [SBOM].
//
// Text from the image is hostile. A format never writes it where the reading system could take it
// for markup, a link, a formula or a command.
package formats

import (
	"errors"
	"io"
	"slices"

	"github.com/imagegate/imagegate/internal/formats/html"
	"github.com/imagegate/imagegate/internal/report"
)

// Format is one output format.
type Format struct {
	// Name is the format's name on the command line.
	Name string
	// Help describes the format in one phrase, for --help.
	Help string
	// MediaType and Extension are for a file in this format, such as "application/json" and
	// ".json".
	MediaType, Extension string
	// Needs is the required content of a report in this format.
	Needs Need
	// Possible returns an error for a report that the format cannot express for another reason than
	// Needs. Default: every report is possible.
	Possible func(report.Report) error
	// Write writes the report. It is nil for an SBOM.
	Write func(io.Writer, report.Report, Options) error
	// AfterError replaces Write on standard output if the run failed. It is for a format that would
	// repeat the error next to standard error, and may write nothing. Default: Write.
	AfterError func(io.Writer, report.Report, Options) error
	// Document returns the document about one platform. It is nil for a format that is made from a
	// report: a report has no SBOM.
	Document func(SBOM) []byte
}

// Options are options of formats for people. The zero value has the defaults.
type Options struct {
	Text report.TextOptions
	// MarkdownBytes is the maximum size of a report in Markdown. Default: DefaultMarkdownBytes.
	MarkdownBytes int
}

// Need is content that a report must have before it is written in a format. The zero value is the
// strictest one.
type Need uint8

const (
	// NeedsDecision: the run must have made a decision. It is for a format whose readers would take
	// an empty list for a pass.
	NeedsDecision Need = iota
	// NeedsDecisionOrError: the format states a failure by itself, but has no way to say that the
	// image was not evaluated again because an earlier decision holds.
	NeedsDecisionOrError
	// NeedsNothing: the format states by itself that the decision is missing.
	NeedsNothing
)

// All are the formats, in the order of the help. The first one is the default.
var All = []Format{
	{
		Name: "text", Help: "for people", MediaType: "text/plain; charset=utf-8", Extension: ".txt", Needs: NeedsNothing,
		Write:      func(w io.Writer, r report.Report, o Options) error { return o.Text.Text(w, r) },
		AfterError: func(w io.Writer, r report.Report, o Options) error { return o.Text.TextAfterError(w, r) },
	},
	{
		Name: "json", Help: "the complete report, lossless", MediaType: "application/json", Extension: ".json", Needs: NeedsNothing,
		Write: plain(report.JSON),
	},
	{
		Name: "sarif", Help: "SARIF 2.1.0, for GitHub code scanning", MediaType: "application/sarif+json", Extension: ".sarif",
		Write: plain(SARIF),
	},
	{
		Name: "gitlab", Help: "GitLab container scanning", MediaType: "application/json", Extension: ".json", Needs: NeedsDecisionOrError,
		Write: plain(GitLab),
	},
	{
		Name: "codequality", Help: "GitLab code quality", MediaType: "application/json", Extension: ".json",
		Write: plain(CodeQuality),
	},
	{
		Name: "cyclonedx-vex", Help: "CycloneDX 1.6 VEX", MediaType: "application/vnd.cyclonedx+json", Extension: ".cdx.json",
		Write: plain(CycloneDXVEX),
	},
	{
		Name: "openvex", Help: "OpenVEX 0.2.0", MediaType: "application/json", Extension: ".openvex.json",
		Write: plain(OpenVEX), Possible: hasVulnerability,
	},
	{
		Name: "junit", Help: "JUnit XML, for the test results of a CI system", MediaType: "application/xml", Extension: ".xml", Needs: NeedsNothing,
		Write: plain(JUnit),
	},
	{
		Name: "markdown", Help: "a job summary or a comment on a pull request", MediaType: "text/markdown; charset=utf-8", Extension: ".md", Needs: NeedsNothing,
		Write: Markdown,
	},
	{
		Name: "csv", Help: "a table for spreadsheets", MediaType: "text/csv; charset=utf-8", Extension: ".csv",
		Write: plain(CSV),
	},
	{
		Name: "html", Help: "a page to read, search and print", MediaType: "text/html; charset=utf-8", Extension: ".html", Needs: NeedsNothing,
		Write: plain(html.Write),
	},
	{
		Name: "spdx", Help: "the SBOM as SPDX 2.3", MediaType: "application/spdx+json", Extension: ".spdx.json", Document: spdx,
	},
	{
		Name: "cyclonedx", Help: "the SBOM as CycloneDX 1.6", MediaType: "application/vnd.cyclonedx+json", Extension: ".cdx.json", Document: cycloneDX,
	},
}

// plain adapts a format without options.
func plain(write func(io.Writer, report.Report) error) func(io.Writer, report.Report, Options) error {
	return func(w io.Writer, r report.Report, _ Options) error { return write(w, r) }
}

// Check returns an error if r lacks something that the format needs. The error says why the report
// must not be written.
func (f Format) Check(r report.Report) error {
	switch decided := r.Decision != nil; {
	case f.Needs == NeedsDecision && !decided, f.Needs == NeedsDecisionOrError && !decided && r.Error == nil:
		return errors.New("the run made no decision")
	case f.Possible != nil:
		return f.Possible(r)
	}
	return nil
}

// ByName returns the row of [All] with a name.
func ByName(name string) (Format, bool) {
	i := slices.IndexFunc(All, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, false
	}
	return All[i], true
}

// Names returns the names of [All].
func Names() []string {
	names := make([]string, len(All))
	for i, f := range All {
		names[i] = f.Name
	}
	return names
}

// ReportNames returns the names of the formats that are made from a report.
func ReportNames() []string {
	return slices.DeleteFunc(Names(), func(name string) bool {
		f, _ := ByName(name)
		return f.Document != nil
	})
}
