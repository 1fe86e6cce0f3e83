package layout

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestEverythingIsSanitized checks that a writer sanitizes all text, even if a caller forgets to.
func TestEverythingIsSanitized(t *testing.T) {
	const hostile = "::error::a\x1b[31m\r\n::error::b ##[error]\u202e\xff"
	var out bytes.Buffer
	l := New(&out, 60, false)
	l.Section(hostile)
	l.Heading(Bold, hostile, hostile)
	l.Item(2, hostile)
	l.Whole(2, hostile)
	l.Table(0, []Row{{Cells: []Cell{{Text: hostile}, {Text: hostile}}, Notes: []string{hostile}}})
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	checkSafe(t, out.String())
	if got := strings.Count(out.String(), "::error"); got == 0 {
		t.Error("the text is missing")
	}
}

// checkSafe fails if text could act on a terminal or a CI system. Line breaks are allowed.
func checkSafe(t *testing.T, text string) {
	t.Helper()
	for at, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("unprintable %U at byte %d", r, at)
		}
	}
	if !utf8.ValidString(text) {
		t.Error("invalid UTF-8")
	}
	if strings.Contains(text, "##") {
		t.Error(`a "##" command`)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "::") {
			t.Errorf("a %q command", line)
		}
	}
}

// TestTableFits checks that a row that fits is aligned, and that a longer row is wrapped only
// between cells.
func TestTableFits(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, 40, false)
	l.Table(2, []Row{
		{Cells: []Cell{{Text: "a"}, {}, {Text: "1 -> 2"}, {Text: "high"}}},
		{Cells: []Cell{{Text: "libssl3"}, {}, {Text: "3.0.11 -> 3.0.17"}, {Text: "critical"}}, Notes: []string{"", "on arm64"}},
		{Cells: []Cell{{Text: "a-long-name-of-a-package"}, {}, {Text: "1 -> 2"}, {Text: "low"}}},
		{Cells: []Cell{{Text: "a-long-name-of-a-package"}, {}, {Text: "1.0.0 -> 2.0.0 or 3"}, {Text: "low"}}},
		{Cells: []Cell{{Text: "one text of several words that is longer than the page"}}},
	})
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = `  a  1 -> 2  high
  libssl3  3.0.11 -> 3.0.17  critical
    on arm64
  a-long-name-of-a-package  1 -> 2  low
  a-long-name-of-a-package
      1.0.0 -> 2.0.0 or 3  low
  one text of several words that is
      longer than the page
`
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
