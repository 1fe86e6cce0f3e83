package suites

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy"
)

func example() []Suite {
	return []Suite{
		{File: "a.yaml", Cases: []Case{{Name: "holds"}, {Name: "does not", Position: policy.Position{File: "a.yaml", Line: 9, Column: 5}, Differences: []string{"the image should pass, but is denied", "violation: x"}}}},
		{File: "b.yaml", Cases: []Case{{Name: "holds too"}}},
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	if err := Text(&out, example()); err != nil {
		t.Fatal(err)
	}
	want := "a.yaml\n  ok    holds\n  FAIL  does not (a.yaml:9)\n        the image should pass, but is denied\n        violation: x\n" +
		"b.yaml\n  ok    holds too\n3 cases, 1 failed\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJUnit(t *testing.T) {
	var out bytes.Buffer
	if err := JUnit(&out, example()); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/suites.xml.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestResultsAreSanitized checks that no text of a suite can act on a terminal or a CI system.
func TestResultsAreSanitized(t *testing.T) {
	const hostile = "\x1b[2J\u202e]]>\n::error::x ##vso"
	s := []Suite{{File: hostile, Cases: []Case{{Name: hostile}, {Name: hostile, Position: policy.Position{File: hostile, Line: 1}, Differences: []string{hostile}}}}}
	for name, write := range map[string]func(io.Writer, []Suite) error{"text": Text, "JUnit": JUnit} {
		var out bytes.Buffer
		if err := write(&out, s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, bad := range []string{"\x1b", "\u202e", "\n::error", " ::error", "##"} {
			if strings.Contains(out.String(), bad) {
				t.Errorf("%s has %q:\n%s", name, bad, &out)
			}
		}
		if !strings.Contains(out.String(), "[2J") {
			t.Errorf("%s has lost the text", name)
		}
		if name == "JUnit" {
			if err := xml.Unmarshal(out.Bytes(), new(struct{})); err != nil {
				t.Error(err)
			}
		}
	}
}
