package replay

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/imagegate/imagegate/internal/layout"
)

// width is the maximum length of a line in characters.
const width = 100

// maxChanges is the maximum number of changes in the text. The JSON output has all of them.
const maxChanges = 20

// Text writes the comparison as text: the inputs that differ, the results that differ, and the
// conclusion.
func Text(w io.Writer, r Result) error {
	var text bytes.Buffer
	l := layout.New(&text, width, false)
	if r.Warning != "" {
		l.Section("Warning")
		l.Item(2, r.Warning)
	}
	if len(r.Causes) > 0 {
		l.Section("Different inputs")
		for _, d := range r.Causes {
			l.Item(2, sentence(d))
		}
	}
	if len(r.Differences) > 0 {
		l.Section("Different results")
		for _, d := range r.Differences {
			l.Item(2, sentence(d))
		}
	}
	if len(r.Changes) > 0 {
		l.Section("Changes")
		for i, c := range r.Changes {
			if i == maxChanges {
				l.Item(2, fmt.Sprintf("%d more: --output json has all of them", len(r.Changes)-i))
				break
			}
			text := c.Message
			if c.Platform != "" {
				text = c.Platform + ": " + text
			}
			l.Item(2, text)
		}
	}
	l.Space()
	verdict := strings.ToUpper(r.Decision)
	if r.Same {
		l.Heading(layout.Green, "SAME", fmt.Sprintf("The replay comes out as recorded: %s.", verdict))
	} else {
		l.Heading(layout.Red, "DIFFERENT", fmt.Sprintf("The record says %s, and the replay comes out differently.", verdict))
	}
	if err := l.Flush(); err != nil {
		return err
	}
	_, err := w.Write(bytes.TrimLeft(text.Bytes(), "\n")) // a section begins with an empty line
	return err
}

// sentence describes a difference, with the recorded and the new value.
func sentence(d Difference) string {
	return fmt.Sprintf("%s: recorded %s, now %s", d.What, cmp.Or(d.Recorded, "none"), cmp.Or(d.Now, "none"))
}
