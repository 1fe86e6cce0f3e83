package formats

import (
	"bytes"
	"strings"
	"testing"
)

// TestMarkdownKeepsItsBudget checks that a large report fits into a pull request comment, lists
// blocking results first, and says how many results are missing.
func TestMarkdownKeepsItsBudget(t *testing.T) {
	r := manyFindings()
	for _, limit := range []int{0, 2000} {
		var out bytes.Buffer
		if err := Markdown(&out, r, Options{MarkdownBytes: limit}); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		most := limit
		if limit == 0 {
			most = DefaultMarkdownBytes
		}
		if len(text) > most || len(text) < most*3/4 {
			t.Errorf("%d bytes for a limit of %d", len(text), most)
		}
		if !strings.Contains(text, "imagegate: DENIED\n") || !strings.Contains(text, "10000 blocking, 10000 warnings, 10000 excepted") ||
			!strings.Contains(text, "of 30000 results are not listed here") || strings.Contains(text, "Warnings (") {
			t.Errorf("limit %d: %.600s ... %s", limit, text, text[len(text)-300:])
		}
	}
	if err := Markdown(&bytes.Buffer{}, r, Options{MarkdownBytes: 400}); err == nil {
		t.Error("a limit below the verdict is accepted")
	}
}

func TestMarkdownGolden(t *testing.T) {
	var out bytes.Buffer
	if err := Markdown(&out, outcomes(t)["denied root"], Options{}); err != nil {
		t.Fatal(err)
	}
	want := "<!-- imagegate -->\nimagegate: DENIED\n-----------------\n\n2 problems: 1 vulnerability in 1 package and 1 other; 1 has a fix\n\n| | |\n|---|---|\n| Image | `registry.example:5000/team/app:1.4` |\n"
	if got := out.String(); !strings.HasPrefix(got, want) || !strings.Contains(got, "| critical | [`CVE-2024-0001`](https://advisories.example/CVE-2024-0001) | `openssl 3.0.11` | `3.0.15` | `rule no critical (policy.yaml:6)` |  |\n") {
		t.Error(got)
	}
}
