package catalog

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
)

// TestPatternsMatchLikeDoublestar compares random patterns and paths. A path that a pattern matches must
// be reported. A path that no pattern matches may be reported only because of its last element.
func TestPatternsMatchLikeDoublestar(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the test must be repeatable
	pieces := []string{"**", "*", "a", "b", "ab", "a*", "*.b", "?", "{a,b}", "[ab]", "a?b*", "x{a,}", `\*`}
	names := []string{"a", "b", "ab", "a.b", "axb", "x", "xa", "*", "abc"}
	matches := 0
	for range 20000 {
		var pattern, at []string
		for range 1 + r.IntN(4) {
			pattern = append(pattern, pieces[r.IntN(len(pieces))])
		}
		for range 1 + r.IntN(4) {
			at = append(at, names[r.IntN(len(names))])
		}
		glob, p := strings.Join(pattern, "/"), strings.Join(at, "/")
		want, err := doublestar.Match(glob, p)
		if err != nil {
			t.Fatal(err)
		}
		got := newPatterns(map[string]bool{glob: true}).match("/" + p)
		if want {
			matches++
		}
		if want && !got {
			t.Fatalf("%q matches %q, which is not reported", glob, p)
		}
		if got && !want && pattern[len(pattern)-1] != at[len(at)-1] {
			t.Fatalf("%q does not match %q, which is reported", glob, p)
		}
	}
	if matches < 1000 {
		t.Errorf("only %d matches, so that little is compared", matches)
	}
}
