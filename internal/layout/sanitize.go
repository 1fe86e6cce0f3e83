package layout

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxText is the maximum length of one text from outside imagegate, in runes.
	maxText = 2000
	// MaxName is the maximum length of a name, path or version in a line of text, in runes.
	MaxName = 200
	// maxMarks is the maximum number of combining marks on one character. No language needs more
	// than three, and many marks would overlap the lines above.
	maxMarks = 3
)

// Sanitize makes text from an image, a registry or a file safe to print on one line of a terminal
// or a CI log, and limits it to 2,000 characters.
//
// It writes unprintable characters as Go escapes: control characters (including those that begin
// ANSI sequences and line breaks), bidirectional and invisible format characters, spaces other than
// the plain one, and invalid UTF-8. It breaks up CI command markers: "::" at the start of a word
// (GitHub ignores leading space) and "##" anywhere (GitHub's older form, Azure Pipelines and
// TeamCity). Sanitizing twice gives the same result.
//
// It does not escape markup: HTML and Markdown need their own escaping, too.
func Sanitize(s string) string { return Limit(s, maxText) }

// Limit sanitizes a text like Sanitize, and cuts the result after limit runes. 0 means no limit.
func Limit(s string, limit int) string {
	var b strings.Builder
	count, marks := 0, 0
	cut := -1 // where to cut the result if it is too long
	wordStart := true
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if unicode.IsMark(r) {
			marks++
		} else {
			marks = 0
		}
		out := s[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			out = fmt.Sprintf(`\x%02x`, s[i])
		case r == '#' && strings.HasPrefix(s[i+1:], "#"):
			out = `\x23`
		case r == ':' && wordStart && strings.HasPrefix(s[i+1:], ":"):
			out = `\x3a`
		case !unicode.IsPrint(r) || marks > maxMarks:
			out = escapeRune(r)
		}
		if limit > 0 {
			n := utf8.RuneCountInString(out)
			if cut < 0 && count+n > limit-len(ellipsis) {
				cut = b.Len()
			}
			if count += n; count > limit {
				return b.String()[:cut] + ellipsis
			}
		}
		b.WriteString(out)
		wordStart = r == ' '
		i += size
	}
	return b.String()
}

const ellipsis = "..."

// escapeRune returns a rune as an ASCII Go string literal would spell it.
func escapeRune(r rune) string {
	quoted := strconv.QuoteRuneToASCII(r)
	return quoted[1 : len(quoted)-1]
}

// Lines splits a text into lines, sanitizes each line and limits their number.
func Lines(s string) []string {
	const maxLines = 50
	var out []string
	rest := strings.TrimSpace(s)
	for line := range strings.SplitSeq(rest, "\n") {
		if len(out) == maxLines {
			return append(out, ellipsis)
		}
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, Sanitize(line))
		}
	}
	return out
}

// Name sanitizes a name, path or version for use inside a line.
func Name(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(none)"
	}
	return Limit(s, MaxName)
}
