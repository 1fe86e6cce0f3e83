package report

import (
	"io"
	"testing"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

func TestFormatNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats {
		if f.Name == "" || f.Help == "" || f.MediaType == "" || f.Extension == "" || f.Write == nil || seen[f.Name] {
			t.Errorf("incomplete or repeated row %q", f.Name)
		}
		seen[f.Name] = true
		if found, ok := FormatByName(f.Name); !ok || found.Name != f.Name {
			t.Errorf("%q is not found", f.Name)
		}
	}
	if _, ok := FormatByName("xml"); ok {
		t.Error("an unknown format is found")
	}
}

// TestZeroFormatNeedsADecision checks that the zero value of Format needs a decision. A new entry
// of Formats is strict unless its field Needs says otherwise.
func TestZeroFormatNeedsADecision(t *testing.T) {
	sbom := Format{Needs: NeedsPlatforms}
	var failed, decided Report
	decided.Decision = new(policy.Decision)
	decided.Input.Platforms = make([]evidence.Platform, 1)
	if (Format{}).Check(failed) == nil || sbom.Check(failed) == nil {
		t.Error("a report without a decision can be written")
	}
	if err := (Format{}).Check(decided); err != nil {
		t.Error(err)
	}
	if err := sbom.Check(decided); err != nil {
		t.Error(err)
	}
	for _, f := range Formats {
		if err := f.Check(failed); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestList(t *testing.T) {
	for want, names := range map[string][]string{"": nil, "a": {"a"}, "a or b": {"a", "b"}, "a, b or c": {"a", "b", "c"}} {
		if got := List(names); got != want {
			t.Errorf("List(%q) = %q, want %q", names, got, want)
		}
	}
}

func TestResultFormatsHaveTheSameNames(t *testing.T) {
	if a, b := List(ResultNames(ExplainFormats)), List(ResultNames(DiffFormats)); a != b {
		t.Errorf("%s, and %s", a, b)
	}
	for _, f := range ExplainFormats {
		if err := f.Write(io.Discard, explainExample()); err != nil {
			t.Error(err)
		}
	}
}
