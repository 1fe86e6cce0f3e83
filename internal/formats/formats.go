// Package formats writes a report in the formats of other systems.
//
// [All] lists the formats. Each format has a function in its own file. The function takes the
// counts, the verdict and the list of problems from package report, so that all formats agree.
// Every format lists a problem that an exception or a VEX statement covers, with that status.
//
// The SBOM formats are in All too, but they are not made from a report: see [SBOM].
//
// Text from the image is hostile. A format never writes it where the reading system could interpret
// it as markup, a link, a formula or a command.
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
	// MediaType and Extension belong to a file in this format, such as "application/json" and
	// ".json".
	MediaType, Extension string
	// Needs is the content that a report must have for this format.
	Needs Need
	// Possible returns an error if the format cannot express a report for a reason that Needs does
	// not cover. Default: the format can express every report.
	Possible func(report.Report) error
	// Write writes the report. It is nil for an SBOM.
	Write func(io.Writer, report.Report, Options) error
	// AfterError replaces Write for standard output if the run failed. A format sets AfterError to
	// leave out the error, which is already on standard error. The function may write nothing.
	// Default: Write.
	AfterError func(io.Writer, report.Report, Options) error
	// Document returns the SBOM document for one platform. It is nil for a format that is made from
	// a report, because a report has no SBOM.
	Document func(SBOM) []byte
}

// Options configure the formats that people read. The zero value selects the defaults.
type Options struct {
	Text report.TextOptions
	// MarkdownBytes is the maximum size of a report in Markdown. Default: DefaultMarkdownBytes.
	MarkdownBytes int
}

// Need is the content that a report must have to be written in a format. The zero value is the
// strictest requirement.
type Need uint8

const (
	// NeedsDecision requires a decision by this run, because readers of the format would take an
	// empty list for a pass.
	NeedsDecision Need = iota
	// NeedsDecisionOrError requires a decision by this run or an error. The format can state a
	// failure, but not that an earlier decision still holds and the image was not evaluated again.
	NeedsDecisionOrError
	// NeedsNothing accepts every report, because the format itself states that the decision is
	// missing.
	NeedsNothing
)

// All lists the formats, in the order of the help. The first format is the default.
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

// plain adapts the Write function of a format that has no options.
func plain(write func(io.Writer, report.Report) error) func(io.Writer, report.Report, Options) error {
	return func(w io.Writer, r report.Report, _ Options) error { return write(w, r) }
}

// Check returns an error if the format cannot express r, because r lacks required content or for
// another reason of the format. The error states the reason.
func (f Format) Check(r report.Report) error {
	switch decided := r.Decision != nil; {
	case f.Needs == NeedsDecision && !decided, f.Needs == NeedsDecisionOrError && !decided && r.Error == nil:
		return errors.New("the run made no decision")
	case f.Possible != nil:
		return f.Possible(r)
	}
	return nil
}

// ByName returns the format in [All] with this name, and whether it exists.
func ByName(name string) (Format, bool) {
	i := slices.IndexFunc(All, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, false
	}
	return All[i], true
}

// Names returns the names of all formats, in the order of [All].
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
