package strict

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// This file maps a character of a YAML scalar to its position in the file. yaml.v3 reports only
// where a scalar begins, not how it was folded or indented.

// Locator returns a function that converts a line (from 1) and a column (from 0) of text to the
// position in the document. text is the value of the scalar n, with or without the surrounding
// white space. If the characters of text cannot be found in the file, the position is always the
// start of the scalar.
func (d *Decoder) Locator(n *yaml.Node, text string) func(line, column int) Position {
	places, ok := scalarPlaces(strings.Split(string(d.source), "\n"), n, text)
	return func(line, column int) Position {
		if !ok {
			return d.Position(n)
		}
		at := 0
		split := strings.SplitAfterN(text, "\n", line)
		for _, earlier := range split[:len(split)-1] {
			at += utf8.RuneCountInString(earlier)
		}
		at = min(at+column, len(places)-1)
		return Position{File: d.File, Line: places[at].line + 1, Column: places[at].column + 1}
	}
}

// place is a line and a column of a file, both counted from 0.
type place struct{ line, column int }

// scalarPlaces returns the place of each character of text, and one more place after the last
// character. Every scalar style keeps the order of the characters that are not white space, so
// scalarPlaces searches the file for one after the other. White space gets the place where the
// search for the next character begins.
func scalarPlaces(lines []string, n *yaml.Node, text string) ([]place, bool) {
	at := place{n.Line - 1, n.Column - 1}
	switch n.Style {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		at = place{n.Line, 0} // the value begins after the line with the | or >
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		at.column++
	}
	s := &scalarReader{lines: lines, style: n.Style}
	s.goTo(at)
	var places []place
	for _, want := range text {
		if unicode.IsSpace(want) {
			places = append(places, s.place)
			continue
		}
		at, got, ok := s.next()
		for ok && unicode.IsSpace(got) {
			at, got, ok = s.next()
		}
		if !ok || got != want {
			return nil, false
		}
		places = append(places, at)
	}
	return append(places, s.place), true
}

// scalarReader reads the characters of a scalar from the lines of a file.
type scalarReader struct {
	lines []string
	style yaml.Style
	place
	text []rune // the current line
}

func (s *scalarReader) goTo(at place) {
	s.place, s.text = at, nil
	if at.line < len(s.lines) {
		s.text = []rune(s.lines[at.line])
	}
}

// next returns the next character of the scalar's value and its place. The end of a line is
// returned as white space. ok is false at the end of the file.
func (s *scalarReader) next() (at place, r rune, ok bool) {
	at = s.place
	if s.line >= len(s.lines) {
		return at, 0, false
	}
	if s.column >= len(s.text) {
		s.goTo(place{s.line + 1, 0})
		return at, '\n', true
	}
	r, rest := s.text[s.column], s.text[s.column+1:]
	s.column++
	switch {
	case s.style == yaml.SingleQuotedStyle && r == '\'':
		s.column++ // two single quotes stand for one
	case s.style == yaml.DoubleQuotedStyle && r == '\\':
		if len(rest) == 0 {
			return at, '\n', true // the next line continues this line
		}
		s.column++
		return s.escape(at, rest)
	}
	return at, r, true
}

// escape returns the character that an escape sequence stands for
// (https://yaml.org/spec/1.2.2/#57-escaped-characters). after begins with the character after the
// backslash, which is already consumed.
func (s *scalarReader) escape(at place, after []rune) (place, rune, bool) {
	digits := 0
	switch after[0] {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case 'n', 't', '\t', 'r', ' ', 'v', 'f', 'N', 'L', 'P', '_':
		return at, ' ', true
	case '0':
		return at, 0, true
	case 'a':
		return at, '\a', true
	case 'b':
		return at, '\b', true
	case 'e':
		return at, 0x1b, true
	default:
		return at, after[0], true
	}
	if len(after) <= digits {
		return at, 0, false
	}
	code, err := strconv.ParseUint(string(after[1:1+digits]), 16, 32)
	s.column += digits
	return at, rune(code), err == nil
}
