package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/imagegate/imagegate/internal/layout"
)

// SchemaVersion is the version of the JSON document that WriteJSON writes. Readers must accept
// unknown keys. The version changes if a key is removed or changes its meaning.
const SchemaVersion = 1

// WriteJSON writes {"schemaVersion": 1, "checks": [...]} with one object for each result.
func WriteJSON(w io.Writer, results []Result) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		SchemaVersion int      `json:"schemaVersion"`
		Checks        []Result `json:"checks"`
	}{SchemaVersion, results})
}

// WriteText writes one paragraph for each result, wrapped to width characters. The command is alone
// on a line below it, so that it can be copied.
func WriteText(w io.Writer, width int, results []Result) error {
	column := 0
	for _, r := range results {
		column = max(column, utf8.RuneCountInString(r.Name))
	}
	const status, gap = 6, 2
	l := layout.New(w, width, false)
	for _, r := range results {
		first := fmt.Sprintf("%-*s%-*s%s", status, r.Status, column, r.Name, strings.Repeat(" ", gap))
		l.Paragraph(layout.Plain, first, status+column+gap, r.Message)
		if r.Mend != "" {
			l.Whole(status+column+gap, "run: "+r.Mend)
		}
	}
	return l.Flush()
}
