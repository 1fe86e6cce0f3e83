package observe

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

// TestVerdictIsOneStructuredLine checks the keys and the level of the logged verdict for each
// outcome, and that hostile text cannot break the line.
func TestVerdictIsOneStructuredLine(t *testing.T) {
	for name, tt := range map[string]struct {
		decision       *policy.Decision
		err            *report.Error
		level, outcome string
		why            string
	}{
		"passed": {&policy.Decision{Passed: true}, nil, "INFO", "passed", ""},
		"denied": {&policy.Decision{Violations: []policy.Violation{{Rule: "r", Kind: policy.KindDatabase, Message: "m"}}}, nil, "WARN", "denied", "1 problem"},
		"failed": {nil, &report.Error{Class: report.ClassRegistry, Message: "a\x1b[31m\u202eb"}, "ERROR", "undecided", "no decision was made"},
	} {
		var r report.Report
		r.Decision, r.Error = tt.decision, tt.err
		r.Input.Image.Reference, r.Input.Image.Digest = "staging.example/a:1\n::error::x\u202e", "sha256:1"
		var out bytes.Buffer
		LogVerdict(&out, r)
		var line struct{ Time, Level, Msg, Outcome, Why, Image, Digest string }
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), "\n") != 1 {
			t.Fatalf("%s: %v\n%s", name, err, &out)
		}
		if line.Msg != "verdict" || line.Level != tt.level || line.Outcome != tt.outcome || !strings.Contains(line.Why, tt.why) || line.Why == "" ||
			!strings.HasPrefix(line.Image, "staging.example/a:1") || line.Digest != "sha256:1" || line.Time == "" {
			t.Errorf("%s: %s", name, &out)
		}
		if strings.ContainsAny(line.Image+line.Why, "\x1b\u202e\n") {
			t.Errorf("%s: not sanitized: %q", name, &out)
		}
	}
}

// TestFailureIsOneStructuredLine checks the keys of a logged error, and that hostile text in any of its
// texts cannot break the line.
func TestFailureIsOneStructuredLine(t *testing.T) {
	const hostile = "a\x1b[31m\u202e\nb"
	var out bytes.Buffer
	LogFailure(&out, Failure{Text: hostile, Hints: []string{hostile}, Trace: []string{hostile}, Retryable: true, ExitCode: 4})
	LogWarning(&out, hostile)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 || strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Fatalf("%q", &out)
	}
	var failure struct {
		Level, Msg, Text string
		Hints, Trace     []string
		Retryable        bool
		ExitCode         int
	}
	if err := json.Unmarshal([]byte(lines[0]), &failure); err != nil {
		t.Fatal(err)
	}
	if failure.Level != "ERROR" || failure.Msg != "error" || !strings.Contains(failure.Text, "; b") || len(failure.Hints) != 1 || len(failure.Trace) != 1 ||
		!failure.Retryable || failure.ExitCode != 4 || strings.ContainsAny(failure.Hints[0]+failure.Trace[0], "\x1b\n") {
		t.Errorf("%+v", failure)
	}
	if !strings.Contains(lines[1], `"level":"WARN","msg":"warning","text":"a`) {
		t.Errorf("%s", lines[1])
	}
}
