package report

import (
	"io"
	"strings"
)

// ResultFormat is an output format for a result of type T, which is not a report.
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
