package help

import (
	"io"
	"strings"
	"unicode/utf8"
)

// DefaultWidth is the width of help in columns if the output is not a terminal.
const DefaultWidth = 80

const (
	minWidth = 40
	maxWidth = 110
	// maxHeading is the maximum width of the left column, which has the flags. A longer flag has
	// its description on the next line.
	maxHeading = 28
)

// TextOptions configure [Page.Text].
type TextOptions struct {
	// Width is the width of the terminal in columns. 0 means [DefaultWidth].
	Width int
	// Details adds Page.Details, the rest of the description.
	Details bool
	// Prefix is the prefix of imagegate's environment variables.
	Prefix string
}

// Text writes the page for a terminal. No line is longer than the width, except for examples and
// single words.
func (p Page) Text(w io.Writer, o TextOptions) error {
	t := &text{width: bounded(o.Width)}
	t.paragraph("", strings.ToUpper(p.Summary[:1])+p.Summary[1:]+".")
	t.blank()
	t.hanging("Usage: ", p.Usage)
	if p.Brief != "" {
		t.blank()
		t.description(p.Brief)
	}
	if o.Details && p.Details != "" {
		t.blank()
		t.description(p.Details)
	}
	t.examples(p.Examples)
	for _, g := range p.Commands {
		t.title(g.Title)
		t.rows(g.Rows)
	}
	for _, g := range p.Flags {
		t.title(g.Title)
		var rows []Row
		for _, f := range g.Flags {
			rows = append(rows, Row{f.Heading(), f.Text})
		}
		t.rows(rows)
	}
	p.footer(t, o)
	_, err := io.WriteString(w, t.String())
	return err
}

// bounded returns width limited to a useful range, or DefaultWidth for 0.
func bounded(width int) int {
	if width == 0 {
		return DefaultWidth
	}
	return min(max(width, minWidth), maxWidth)
}

// footer writes the lines about environment variables, exit codes and further help.
func (p Page) footer(t *text, o TextOptions) {
	t.blank()
	if p.IsProgram {
		t.description(ExitCodes)
		t.blank()
		t.paragraph("", `Help: "imagegate COMMAND --help" is short, "imagegate help COMMAND" complete. "imagegate help environment" lists the environment variables.`)
		return
	}
	if v := p.Variables(o.Prefix); v != "" {
		t.hanging("Variables: ", v)
	}
	if len(p.Commands) == 0 {
		t.hanging("Exit codes: ", exitCodesLine)
	}
	if !o.Details && (p.Details != "" || len(p.Commands) > 0) {
		command := strings.TrimPrefix(p.Name, "imagegate ")
		if len(p.Commands) > 0 {
			command += " COMMAND"
		}
		t.hanging("More: ", "imagegate help "+command)
	}
}

// text is a buffer for wrapped text.
type text struct {
	strings.Builder
	width int
}

func (t *text) blank() { t.WriteString("\n") }

func (t *text) title(s string) { t.WriteString("\n" + s + ":\n") }

// paragraph writes wrapped text with an indentation.
func (t *text) paragraph(indent, s string) {
	for _, line := range wrap(s, t.width-utf8.RuneCountInString(indent)) {
		t.WriteString(indent + line + "\n")
	}
}

// hanging writes a label, and wrapped text to the right of the label.
func (t *text) hanging(label, s string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(label))
	for i, line := range wrap(s, t.width-len(indent)) {
		if i > 0 {
			label = indent
		}
		t.WriteString(label + line + "\n")
	}
}

// description writes paragraphs. Lines that begin with two spaces keep their form.
func (t *text) description(s string) {
	var pending []string
	flush := func() {
		if len(pending) > 0 {
			t.paragraph("", strings.Join(pending, " "))
		}
		pending = nil
	}
	for line := range strings.SplitSeq(s, "\n") {
		switch {
		case strings.HasPrefix(line, "  "), line == "":
			flush()
			t.WriteString(line + "\n")
		default:
			pending = append(pending, line)
			if strings.HasSuffix(line, ":") { // the line introduces a list
				flush()
			}
		}
	}
	flush()
}

func (t *text) examples(examples []Example) {
	if len(examples) == 0 {
		return
	}
	t.title("Examples")
	for _, e := range examples {
		t.paragraph("  # ", e.Comment)
		for i, line := range e.Lines {
			if i > 0 && strings.HasSuffix(e.Lines[i-1], `\`) {
				line = "  " + line
			}
			t.WriteString("  " + line + "\n")
		}
	}
}

// rows writes names and descriptions in two columns.
func (t *text) rows(rows []Row) {
	column := 0
	for _, r := range rows {
		if n := utf8.RuneCountInString(r.Name); n <= maxHeading {
			column = max(column, n)
		}
	}
	indent := strings.Repeat(" ", column+4)
	for _, r := range rows {
		heading := "  " + r.Name
		n := column + 4 - utf8.RuneCountInString(heading)
		if n < 2 {
			t.WriteString(heading + "\n")
			heading = indent
		} else {
			heading += strings.Repeat(" ", n)
		}
		for i, line := range wrap(r.Text, t.width-len(indent)) {
			if i > 0 {
				heading = indent
			}
			t.WriteString(heading + line + "\n")
		}
	}
}

// wrap splits text into lines of at most width columns. It breaks at spaces only.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
