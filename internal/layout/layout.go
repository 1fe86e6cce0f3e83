// Package layout writes text for terminals and logs: wrapped lines, aligned tables and a few
// colors.
//
// It sanitizes all text, so that no text from an image can act on a terminal or a CI system.
// [Sanitize] does the same for other writers.
package layout

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// Writer writes lines of text. It sanitizes every line, so that no caller can forget to do so.
// Flush returns the first write error.
type Writer struct {
	out   *bufio.Writer
	width int
	color bool
	gap   bool // an empty line must be written before the next text
}

// Style is the parameter of an ANSI escape sequence that sets colors or bold text.
type Style string

const (
	Plain  Style = ""
	Bold   Style = "1"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
)

// New returns a writer of lines with at most width characters. Single words, and lines that users
// copy, can be longer. The caller must call Flush at the end.
func New(w io.Writer, width int, color bool) *Writer {
	return &Writer{out: bufio.NewWriter(w), width: width, color: color}
}

// Flush writes the buffered text, and returns the first write error.
func (l *Writer) Flush() error { return l.out.Flush() }

// end ends the current line.
func (l *Writer) end() { l.raw("\n") }

// Space requests an empty line before the next text. Several requests in a row give only one empty
// line.
func (l *Writer) Space() { l.gap = true }

func (l *Writer) raw(s string) {
	if l.gap && s != "" {
		l.gap = false
		_, _ = l.out.WriteString("\n")
	}
	_, _ = l.out.WriteString(s)
}

// put writes text, which must be sanitized, in a style.
func (l *Writer) put(s Style, text string) {
	if !l.color || s == Plain || text == "" {
		l.raw(text)
		return
	}
	l.raw("\x1b[" + string(s) + "m" + text + "\x1b[0m")
}

// Section starts a block with a title.
func (l *Writer) Section(title string) {
	l.Space()
	l.Paragraph(Bold, "", 2, title)
}

// Heading starts a block with name in style s, followed by text on the same line.
func (l *Writer) Heading(s Style, name, text string) {
	l.Space()
	name = Limit(name, 0)
	l.put(s, name)
	l.raw("  ")
	l.words(Plain, Limit(text, 0), utf8.RuneCountInString(name)+2, 2)
	l.end()
}

// Paragraph writes text wrapped between words. It writes first before the first line. Wrapped lines
// are indented to the column rest. Words are never broken, so that identifiers and paths can be
// copied.
func (l *Writer) Paragraph(s Style, first string, rest int, text string) {
	l.raw(first)
	l.words(s, Limit(text, 0), utf8.RuneCountInString(first), rest)
	l.end()
}

// Item writes an indented paragraph with a hanging indent.
func (l *Writer) Item(indent int, text string) {
	l.Paragraph(Plain, strings.Repeat(" ", indent), indent+2, text)
}

// Whole writes text on one indented line without wrapping, so that users can copy it.
func (l *Writer) Whole(indent int, text string) {
	l.raw(strings.Repeat(" ", indent) + Limit(text, 0) + "\n")
}

// Notes writes each note as an item and skips empty notes.
func (l *Writer) Notes(indent int, notes ...string) {
	for _, n := range notes {
		if n != "" {
			l.Item(indent, n)
		}
	}
}

// Cell is a field of a row.
type Cell struct {
	Text  string
	Style Style
}

// Row is a line of a table, with notes below it.
type Row struct {
	Cells []Cell
	Notes []string
}

// Table writes rows in aligned columns and omits columns that are empty in all rows. A cell that
// does not fit on its line moves to the next line, together with the cells after it.
func (l *Writer) Table(indent int, rows []Row) {
	var widths []int
	for _, r := range rows {
		for i, c := range r.Cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			r.Cells[i].Text = Limit(c.Text, 0)
			// A column has at most half of the line, so that a few long cells leave room for the
			// next column.
			widths[i] = max(widths[i], min(utf8.RuneCountInString(r.Cells[i].Text), l.width/2))
		}
	}
	for _, r := range rows {
		l.row(indent, widths, r.Cells)
		l.Notes(indent+2, r.Notes...)
	}
}

// row writes one row of a table, on several lines if its cells do not fit on one. If a row fits on
// one line only without aligned columns, it is written without alignment.
func (l *Writer) row(indent int, widths []int, cells []Cell) {
	const gap = 2
	aligned, bare := indent-gap, indent-gap
	for i, c := range cells {
		n := utf8.RuneCountInString(c.Text)
		if aligned += max(widths[i], n) + gap; n == 0 && widths[i] == 0 {
			aligned -= gap
		}
		if n > 0 {
			bare += n + gap
		}
	}
	isAligned := aligned <= l.width || bare > l.width
	at, pad, first := indent, 0, true
	l.raw(strings.Repeat(" ", indent))
	for i, c := range cells {
		n := utf8.RuneCountInString(c.Text)
		if n == 0 {
			if widths[i] > 0 && isAligned {
				pad += widths[i] + gap
			}
			continue
		}
		if !first && at+pad+n > l.width {
			l.end()
			at, pad = indent+4, 0
			l.raw(strings.Repeat(" ", at))
		}
		l.raw(strings.Repeat(" ", pad))
		at = l.words(c.Style, c.Text, at+pad, indent+4)
		pad, first = gap, false
		if isAligned {
			pad += max(widths[i]-n, 0)
		}
	}
	l.end()
}

// words writes sanitized text, starting in column at, and wraps it between words. Wrapped lines
// begin in the column rest. words returns the column after the text.
func (l *Writer) words(s Style, text string, at, rest int) int {
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
