package report

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/diff"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/explain"
)

// explainExample returns an explanation with every outcome, on two platforms.
func explainExample() ExplainResult {
	day := func(n int) time.Time { return time.Date(2026, 6, n, 0, 0, 0, 0, time.UTC) }
	finding := &evidence.Finding{ID: "CVE-2024-0001", Severity: evidence.SeverityHigh, Package: evidence.Package{Name: "lodash", Version: "4.17.20", Type: "npm"},
		FixState: evidence.FixAvailable, Fixes: []evidence.Fix{{Version: "4.17.21", Available: day(1)}}, Published: day(2), KEV: &evidence.KEV{Added: day(3)}}
	violation := policy.Violation{Kind: policy.KindVulnerability, Rule: "high", Position: policy.Position{File: "policy.yaml", Line: 3, Column: 5},
		Platform: "linux/amd64", Message: "CVE-2024-0001 in lodash 4.17.20: severity high, fixed in 4.17.21", Finding: finding}
	other := violation
	other.Platform = "linux/arm64"
	graced, excepted, taken := violation, violation, violation
	graced.Blocks, graced.Inherited = day(20), true
	graced.Expired = []policy.Exception{{Position: policy.Position{File: "policy.yaml", Line: 30}, Owner: "web", Reason: "late", Expires: day(4)}}
	explanations := []explain.Explanation{
		{Outcome: explain.Blocked, Violation: violation,
			Rules: []policy.MatchingRule{{Rule: "high", Position: violation.Position, Grace: 14 * 24 * time.Hour},
				{Rule: "rest", Position: policy.Position{File: "team.yaml", Line: 4}, Effect: policy.Warn, Scope: "registry.example/*"}},
			Remedies: []string{"upgrade lodash to 4.17.21", "it does not pass without a change"}},
		{Outcome: explain.Blocked, Violation: other},
		{Outcome: explain.Warned, Violation: graced},
		{Outcome: explain.Excepted, Violation: excepted, Exception: &policy.Exception{Position: policy.Position{File: "policy.yaml", Line: 20}, Owner: "web", Reason: "not reachable", Expires: day(25)}},
		{Outcome: explain.NotAffected, Violation: taken, Statement: &evidence.VEXStatement{Status: evidence.VEXNotAffected, Justification: "component_not_present", Document: "vex.json", Author: "vendor"}},
		{Outcome: explain.Allowed, Violation: policy.Violation{Platform: "linux/amd64", Finding: finding}},
		{Outcome: explain.Blocked, Violation: policy.Violation{Kind: policy.KindPackage, Rule: "no telnet", Position: policy.Position{File: "policy.yaml", Line: 9},
			Platform: "linux/amd64", Message: "telnetd 1 is denied by the policy"}},
	}
	return ExplainResult{Query: "CVE-2024-0001", Image: evidence.Image{Reference: "registry.example/app:1", Digest: "sha256:1"}, EvaluatedAt: day(15),
		Policy: Policy{File: "policy.yaml", Digest: "sha256:2"}, Explanations: explanations}
}

func TestExplainText(t *testing.T) {
	var out bytes.Buffer
	if err := explainText(&out, explainExample()); err != nil {
		t.Fatal(err)
	}
	golden(t, "explain.txt.golden", out.Bytes())
}

func TestExplainJSONIsLossless(t *testing.T) {
	var out bytes.Buffer
	if err := explainJSON(&out, explainExample()); err != nil {
		t.Fatal(err)
	}
	var back ExplainResult
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	want := explainExample()
	want.Schema = Schema
	if diff := cmp.Diff(want, back); diff != "" {
		t.Error(diff)
	}
}

// diffExample returns the comparison of two reports that differ in everything that a comparison can
// show.
func diffExample(t *testing.T) DiffResult {
	t.Helper()
	finding := func(id string) evidence.Finding {
		return evidence.Finding{ID: id, Severity: evidence.SeverityHigh, FixState: evidence.FixNone, Package: evidence.Package{Name: "lodash", Version: "4", Type: "npm"}}
	}
	decided := func(file, digest string, at time.Time, ids ...string) Report {
		r := Report{EvaluatedAt: at, Policy: Policy{File: file, Digest: digest}, Decision: &policy.Decision{Passed: len(ids) == 0}}
		r.Input.Image = evidence.Image{Reference: "registry.example/app:1", Digest: "sha256:1"}
		for _, id := range ids {
			for _, platform := range []string{"linux/amd64", "linux/arm64"} {
				f := finding(id)
				r.Decision.Violations = append(r.Decision.Violations, policy.Violation{Rule: "high", Platform: platform, Finding: &f})
			}
		}
		return r
	}
	c, err := Diff(decided("a.yaml", "sha256:a", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), "CVE-1"),
		decided("b.yaml", "sha256:b", time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC), "CVE-2", "CVE-3"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDiffText(t *testing.T) {
	var out bytes.Buffer
	if err := diffText(&out, diffExample(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "diff.txt.golden", out.Bytes())
}

func TestDiffJSONIsLossless(t *testing.T) {
	var out bytes.Buffer
	if err := diffJSON(&out, diffExample(t)); err != nil {
		t.Fatal(err)
	}
	var back DiffResult
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(diffExample(t), back); diff != "" {
		t.Error(diff)
	}
}

// TestReportWithoutDecisionIsAnError checks that Diff refuses a report without a decision or
// without an evaluation time. The error comes from Snapshot, which the explanation of a report uses
// too.
func TestReportWithoutDecisionIsAnError(t *testing.T) {
	decided := Report{EvaluatedAt: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), Decision: &policy.Decision{}}
	if _, err := Diff(decided, decided); err != nil {
		t.Error(err)
	}
	undated := decided
	undated.EvaluatedAt = time.Time{}
	for _, r := range []Report{{}, undated} {
		if _, err := Diff(r, decided); err == nil || !strings.HasPrefix(err.Error(), "earlier report: ") {
			t.Error(err)
		}
		if _, err := Diff(decided, r); err == nil || !strings.HasPrefix(err.Error(), "later report: ") {
			t.Error(err)
		}
	}
}

// TestResultsAreSanitized puts hostile text into every string of an explanation and of a
// comparison, and checks that their text output is sanitized.
func TestResultsAreSanitized(t *testing.T) {
	const hostile = "\x1b[2J\u202e]]>\n::error::x ##vso"
	corrupt := func(v any) {
		corruptStrings(reflect.ValueOf(v).Elem(), hostile)
	}
	a, c := explainExample(), diffExample(t)
	corrupt(&a)
	corrupt(&c)
	for name, write := range map[string]func(io.Writer) error{
		"answer":          func(w io.Writer) error { return explainText(w, a) },
		"answer JSON":     func(w io.Writer) error { return explainJSON(w, a) },
		"comparison":      func(w io.Writer) error { return diffText(w, c) },
		"comparison JSON": func(w io.Writer) error { return diffJSON(w, c) },
	} {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := out.String()
		for _, bad := range []string{"\x1b", "\u202e", "\n::error", " ::error", "##"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q:\n%s", name, bad, text)
			}
		}
		if !strings.Contains(text, "[2J") {
			t.Errorf("%s has lost the text", name)
		}
	}
}

// corruptStrings appends text to every string in v, except strings that have a fixed set of values.
func corruptStrings(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if !slices.Contains([]reflect.Type{reflect.TypeFor[evidence.FixState](), reflect.TypeFor[diff.ChangeKind](), reflect.TypeFor[explain.Outcome]()}, v.Type()) {
			v.SetString(v.String() + text)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			corruptStrings(v.Elem(), text)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			corruptStrings(v.Field(i), text)
		}
	case reflect.Slice:
		for i := range v.Len() {
			corruptStrings(v.Index(i), text)
		}
	}
}
