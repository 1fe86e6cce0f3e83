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
	gap   bool // an empty line is due before the next text
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

// end ends a line.
func (l *layout) end() { l.raw("\n") }

// space requests one empty line before the next text. Several requests are one.
func (l *layout) space() { l.gap = true }

func (l *layout) raw(s string) {
	if l.gap && s != "" {
		l.gap = false
		_, _ = l.out.WriteString("\n")
	}
	_, _ = l.out.WriteString(s)
}

// put writes text, which must be sanitized, in a style.
func (l *layout) put(s style, text string) {
	if !l.color || s == plain || text == "" {
		l.raw(text)
		return
	}
	l.raw("\x1b[" + string(s) + "m" + text + "\x1b[0m")
}

// section starts a block with a title.
func (l *layout) section(title string) {
	l.space()
	l.paragraph(bold, "", 2, title)
}

// heading starts a block with a styled word or two, and the rest of the line.
func (l *layout) heading(s style, name, text string) {
	l.space()
	name = sanitize(name, 0)
	l.put(s, name)
	l.raw("  ")
	l.words(plain, sanitize(text, 0), utf8.RuneCountInString(name)+2, 2)
	l.end()
}

// paragraph writes text wrapped between words. first precedes the first line. The others begin in the
// column rest. Words are never broken, so that identifiers and paths can be copied.
func (l *layout) paragraph(s style, first string, rest int, text string) {
	l.raw(first)
	l.words(s, sanitize(text, 0), utf8.RuneCountInString(first), rest)
	l.end()
}

// item writes an indented paragraph with a hanging indent.
func (l *layout) item(indent int, text string) {
	l.paragraph(plain, strings.Repeat(" ", indent), indent+2, text)
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

// table writes rows in aligned columns and omits columns that are empty in all rows. A cell that
// does not fit on its line moves to the next one, and the columns behind it follow.
func (l *layout) table(indent int, rows []row) {
	var widths []int
	for _, r := range rows {
		for i, c := range r.cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			r.cells[i].text = sanitize(c.text, 0)
			// A few long cells must not push the next column off every line.
			widths[i] = max(widths[i], min(utf8.RuneCountInString(r.cells[i].text), l.width*2/5))
		}
	}
	for _, r := range rows {
		l.row(indent, widths, r.cells)
		l.notes(indent+2, r.notes...)
	}
}

// row writes one line of a table, or more if the cells do not fit.
func (l *layout) row(indent int, widths []int, cells []cell) {
	const gap = 2
	at, pad, first := indent, 0, true
	l.raw(strings.Repeat(" ", indent))
	for i, c := range cells {
		n := utf8.RuneCountInString(c.text)
		if n == 0 {
			if widths[i] > 0 {
				pad += widths[i] + gap
			}
			continue
		}
		if !first && at+pad+n > l.width {
			l.end()
			at, pad, first = indent+4, 0, true
			l.raw(strings.Repeat(" ", at))
		}
		l.raw(strings.Repeat(" ", pad))
		at = l.words(c.style, c.text, at+pad, indent+4)
		pad, first = max(widths[i]-n, 0)+gap, false
	}
	l.end()
}

// words writes sanitized text from column at on, and wraps it between words. It returns the column
// behind the text. Wrapped lines begin in the column rest.
func (l *layout) words(s style, text string, at, rest int) int {
	line := ""
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case line == "":
			line = word
		case at+1+n > l.width:
			l.put(s, line)
			l.raw("\n" + strings.Repeat(" ", rest))
			line, at = word, rest
		default:
			line, at = line+" "+word, at+1
		}
		at += n
	}
	l.put(s, line)
	return at
}
