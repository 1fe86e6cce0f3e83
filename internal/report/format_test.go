package report

import (
	"io"
	"testing"
)

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
