package html

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy"
)

// Limits of external texts in the page, in runes.
const (
	maxName  = 300  // names, versions, paths
	maxProse = 1500 // messages, reasons, descriptions
	maxMarks = 3    // combining marks on one character; more would cover the lines above
)

// name returns a name, version or path from outside for the page.
func name(s string) string { return visible(s, maxName) }

// prose returns sentences from outside for the page, with white space collapsed.
func prose(s string) string {
	if len(s) > 16*maxProse { // so that a huge text is not split into words
		return visible(s, maxProse)
	}
	return visible(strings.Join(strings.Fields(s), " "), maxProse)
}

// visible makes external text safe to show: no character is invisible or reorders other text. It
// writes control characters, bidirectional and other format characters, unusual spaces and invalid
// UTF-8 as Go escapes. It cuts the text after limit runes and adds a note with the full length. The
// result still has to be escaped for HTML or JSON.
func visible(s string, limit int) string {
	var b strings.Builder
	marks, count := 0, 0
	for i, r := range s {
		if count++; count > limit {
			fmt.Fprintf(&b, "… [cut: %d bytes in total]", len(s))
			break
		}
		if unicode.IsMark(r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r) || marks > maxMarks:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// digest shortens a digest for tables, as in "sha256:3c654b1a11e8". Any other text is treated as a
// name.
func digest(s string) string {
	const short = len("sha256:") + 12
	if strings.HasPrefix(s, "sha256:") && len(s) > short {
		s = s[:short]
	}
	return name(s)
}

// link returns s if it is an http or https address, and "" otherwise.
func link(s string) string {
	if len(s) > 2000 {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.String()
}

var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9@._/:+~-]{0,511}$`)

// isWord reports whether s has no special meaning in any shell, so that a command may contain it.
func isWord(s string) bool { return word.MatchString(s) }

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
func date(t time.Time) string    { return t.UTC().Format(time.DateOnly) }

// stamp formats an instant for the datetime attribute of HTML.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// place returns the file and the line of a position, or "" if it has none.
func place(p policy.Position) string {
	if p.Line == 0 {
		return name(p.File)
	}
	return name(p.File) + ":" + strconv.Itoa(p.Line)
}

// distance returns how far an instant is from now, in the words of [units.Distance]. It returns ""
// if either time is unknown.
func distance(now, then time.Time) string {
	if now.IsZero() || then.IsZero() {
		return ""
	}
	return units.Distance(now, then)
}

// plural returns a number with a noun: "1 finding", "20,000 findings", "2 matches".
func plural(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "ch"):
		noun += "es"
	case strings.HasSuffix(noun, "y") && !strings.HasSuffix(noun, "ay"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return thousands(n) + " " + noun
}

// thousands formats 31204 as 31,204.
func thousands(n int) string {
	s := strconv.Itoa(max(n, 0))
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
