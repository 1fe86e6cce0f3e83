package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// TestFirstPolicyIsValid, has nothing in it without effect, and stays short; so
// it is with the exceptions that it shows in a comment.
func TestFirstPolicyIsValid(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	before, exceptions, ok := bytes.Cut(firstPolicy, []byte("# exceptions:"))
	if !ok {
		t.Fatal("it shows no exceptions")
	}
	shown := append(bytes.Clone(before), bytes.ReplaceAll(append([]byte("\n# exceptions:"), exceptions...), []byte("\n# "), []byte("\n"))...)
	for name, data := range map[string][]byte{"as it is": firstPolicy, "with exceptions": shown} {
		p, err := policy.Parse("policy.yaml", data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := p.Validate(now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if problems := p.Lint(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
		if (len(p.Exceptions) > 0) != (name == "with exceptions") {
			t.Errorf("%s: %d exceptions", name, len(p.Exceptions))
		}
	}
	if lines := bytes.Count(firstPolicy, []byte("\n")); lines > 60 {
		t.Errorf("%d lines", lines)
	}
}
