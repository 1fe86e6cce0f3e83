package report

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// layout writes lines of text. It sanitizes every line, so that no caller can forget to. Write
// errors stay in the bufio.Writer until flush.
type layout struct {
	out   *bufio.Writer
	width int
	color bool
}

// style is the parameter of an ANSI style sequence.
type style string

const (
	plain  style = ""
	bold   style = "1"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func newLayout(w io.Writer, width int, color bool) *layout {
	return &layout{out: bufio.NewWriter(w), width: width, color: color}
}

func (l *layout) flush() error { return l.out.Flush() }

func (l *layout) blank() { l.raw("\n") }

func (l *layout) raw(s string) { _, _ = l.out.WriteString(s) }

// put writes text, which must be sanitized, in a style.
func (l *layout) put(s style, text string) {
	if !l.color || s == plain {
		l.raw(text)
		return
	}
	l.raw("\x1b[" + string(s) + "m" + text + "\x1b[0m")
}

// section starts a block with a title.
func (l *layout) section(title string) {
	l.blank()
	l.paragraph(bold, "", "", title)
}

// paragraph writes text wrapped between words. first precedes the first line, and rest precedes the
// others. Words are never broken, so that identifiers and paths can be copied.
func (l *layout) paragraph(s style, first, rest, text string) {
	prefix := first
	line := ""
	flush := func() {
		l.raw(prefix)
		l.put(s, line)
		l.blank()
		prefix, line = rest, ""
	}
	for word := range strings.FieldsSeq(sanitize(text, 0)) {
		used := utf8.RuneCountInString(prefix) + utf8.RuneCountInString(line)
		if line != "" && used+1+utf8.RuneCountInString(word) > l.width {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
}

// item writes an indented paragraph with a hanging indent.
func (l *layout) item(indent int, text string) {
	first := strings.Repeat(" ", indent)
	l.paragraph(plain, first, first+"  ", text)
}

// whole writes an indented line that is not wrapped, so that it can be copied.
func (l *layout) whole(indent int, text string) {
	l.raw(strings.Repeat(" ", indent) + sanitize(text, 0) + "\n")
}

// notes writes each note as an item and skips empty ones.
func (l *layout) notes(indent int, notes ...string) {
	for _, n := range notes {
		if n != "" {
			l.item(indent, n)
		}
	}
}

// cell is a field of a row. row is a line of a table, with notes below it.
type cell struct {
	text  string
	style style
}

type row struct {
	cells []cell
	notes []string
}

// table writes rows in aligned columns and omits columns that are empty in all rows. If a row is
// wider than the page, the last cell of every row moves to a line of its own.
func (l *layout) table(indent int, rows []row) {
	const gap = 2
	var widths []int
	for _, r := range rows {
		for i, c := range r.cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			r.cells[i].text = sanitize(c.text, 0)
			widths[i] = max(widths[i], utf8.RuneCountInString(r.cells[i].text))
		}
	}
	total := indent
	for _, w := range widths {
		if w > 0 {
			total += w + gap
		}
	}
	tooWide := total-gap > l.width
	margin := strings.Repeat(" ", indent)
	for _, r := range rows {
		cells, moved := r.cells, ""
		if last := len(cells) - 1; tooWide && last > 0 {
			cells, moved = cells[:last], cells[last].text
		}
		l.raw(margin)
		pad := 0
		for i, c := range cells {
			if widths[i] == 0 {
				continue
			}
			if c.text != "" {
				l.raw(strings.Repeat(" ", pad))
				l.put(c.style, c.text)
				pad = 0
			}
			pad += widths[i] - utf8.RuneCountInString(c.text) + gap
		}
		l.blank()
		l.notes(indent+2, moved)
		l.notes(indent+2, r.notes...)
	}
}
