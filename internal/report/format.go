package report

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// Format is one format of the report. A new format is one row in [Formats].
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
	// Write writes the report. A format for machines ignores the options.
	Write func(io.Writer, Report, TextOptions) error
	// AfterError replaces Write on standard output if the run failed. It is for a format that would
	// repeat the error next to standard error, and may write nothing. Default: Write.
	AfterError func(io.Writer, Report, TextOptions) error
}

// Need is content that a report must have before it is written in a format. The zero value is the
// strictest one.
type Need uint8

const (
	// NeedsDecision: the run must have made a decision. It is for a format that has no way to say
	// that a run failed, such as SARIF: a result list without results would read as a pass.
	NeedsDecision Need = iota
	// NeedsPlatforms: the report must have the contents of the image. It is for SBOMs.
	NeedsPlatforms
	// NeedsNothing: the format states by itself that the decision is missing.
	NeedsNothing
)

// Formats are the formats of the report, in the order of the help. The first one is the default.
var Formats = []Format{
	{
		Name: "text", Help: "for people", MediaType: "text/plain; charset=utf-8", Extension: ".txt", Needs: NeedsNothing,
		Write:      func(w io.Writer, r Report, o TextOptions) error { return o.Text(w, r) },
		AfterError: func(w io.Writer, r Report, o TextOptions) error { return o.attachmentsText(w, r) },
	},
	{
		Name: "json", Help: "the complete report, lossless", MediaType: "application/json", Extension: ".json", Needs: NeedsNothing,
		Write: func(w io.Writer, r Report, _ TextOptions) error { return JSON(w, r) },
	},
}

// Check returns an error if r lacks something that the format needs. The error says why the report
// must not be written.
func (f Format) Check(r Report) error {
	switch {
	case f.Needs == NeedsDecision && r.Decision == nil:
		return errors.New("the run made no decision")
	case f.Needs == NeedsPlatforms && len(r.Input.Platforms) == 0:
		return errors.New("the run did not read the contents of the image")
	}
	return nil
}

// FormatByName returns the row of [Formats] with a name.
func FormatByName(name string) (Format, bool) {
	i := slices.IndexFunc(Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, false
	}
	return Formats[i], true
}

// FormatNames returns the names of [Formats].
func FormatNames() []string {
	names := make([]string, len(Formats))
	for i, f := range Formats {
		names[i] = f.Name
	}
	return names
}

// ResultFormat is one format of a result other than a report.
type ResultFormat[T any] struct {
	Name  string
	Write func(io.Writer, T) error
}

// ExplainFormats are the formats of an [ExplainResult]. DiffFormats are the formats of a
// [DiffResult].
var (
	ExplainFormats = []ResultFormat[ExplainResult]{{"text", explainText}, {"json", explainJSON}}
	DiffFormats    = []ResultFormat[DiffResult]{{"text", diffText}, {"json", diffJSON}}
)

// ResultNames returns the names of formats.
func ResultNames[T any](formats []ResultFormat[T]) []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.Name
	}
	return names
}

// List joins names for a sentence: "text, json or sarif".
func List(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
