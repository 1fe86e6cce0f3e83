package github

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/hostile"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const digest = "sha256:eb388174bf160eb071e33a39f9a723d7f3acb85322b0a83acf8aed80a51b4a08"

// run returns the report of a run with these blocking violations, and an exit code that agrees.
func run(violations ...policy.Violation) Step {
	r := report.Report{Command: "check", Started: now, Finished: now, Decision: &policy.Decision{Passed: len(violations) == 0, Violations: violations}}
	r.Input.Image = evidence.Image{Reference: "staging.example/app:1", Repository: "staging.example/app", Digest: digest}
	r.Input.Database.Built = now.Add(-time.Hour)
	r.Policy.File = "policy.yaml"
	s := Step{Report: r, Workspace: "/work/space", Dir: "/work/space"}
	if len(violations) > 0 {
		s.ExitCode = denied
	}
	return s
}

func vulnerability(rule string, line int, id string) policy.Violation {
	return policy.Violation{Kind: policy.KindVulnerability, Rule: rule, Position: policy.Position{File: "policy.yaml", Line: line, Column: 3},
		Message: id, Finding: &evidence.Finding{ID: id, Package: evidence.Package{Name: "openssl", Version: "3.0.1", Type: "deb"}}}
}

func promoted(s Step, repositories ...string) Step {
	s.Report.Command = "promote"
	for _, name := range repositories {
		s.Report.Destinations = append(s.Report.Destinations, report.Destination{Repository: name, Tag: "1", Digest: digest, State: report.Promoted})
	}
	return s
}

func outputsOf(s Step) map[string]string {
	values := map[string]string{}
	for _, o := range s.Outputs() {
		values[o.Name] = o.Value
	}
	return values
}

func TestOutputsOfAPromotion(t *testing.T) {
	s := promoted(run(), "approved.example:5000/app", "[::1]:5000/app")
	s.Files = []Output{{"json", "/temp/report.json"}, {"sarif", ""}}
	want := map[string]string{"decision": "passed", "exit-code": "0", "digest": digest,
		"approved": "approved.example:5000/app@" + digest + "\n[::1]:5000/app@" + digest,
		"blocking": "0", "warnings": "0", "excepted": "0", "not-affected": "0", "database-built": "2026-11-30T11:00:00Z",
		"json": "/temp/report.json", "sarif": ""}
	got := outputsOf(s)
	if !strings.HasPrefix(got["summary"], "passed staging.example/app:1") {
		t.Errorf("summary: %q", got["summary"])
	}
	delete(got, "summary")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.Annotations() != "" {
		t.Errorf("a pass has annotations: %q", s.Annotations())
	}
}

// TestOnlyAnAgreedPassIsAPass checks every pair of exit code and report. Only a pass in both is a
// pass, and only a denial in both has the exit code 2.
func TestOnlyAnAgreedPassIsAPass(t *testing.T) {
	failed := run()
	failed.Report.Error = &report.Error{Class: report.ClassRegistry, Message: "it is down"}
	overridden := promoted(run(vulnerability("a", 1, "CVE-2026-1")), "approved.example/app")
	overridden.Report.Override = &policy.GrantedOverride{}
	reports := map[Decision]Step{Passed: run(), Denied: run(vulnerability("a", 1, "CVE-2026-1")), Error: failed, Overridden: overridden}
	for states, s := range reports {
		for _, code := range []int{0, 1, 2, 3, 4, 5, 6, 130} {
			s.ExitCode, s.Files = code, []Output{{"sarif", "old.sarif"}}
			want, wantCode := Error, code
			switch {
			case code == 0 && (states == Passed || states == Overridden), code == 2 && states == Denied:
				want = states
			case code == 0, code == 2:
				wantCode = 1
			}
			if got := s.Decision(); got != want || s.Code() != wantCode || s.Agrees() != (code == wantCode) {
				t.Errorf("report %s, exit code %d: %s, %d", states, code, got, s.Code())
			}
			out := outputsOf(s)
			if out["decision"] != string(want) || out["exit-code"] != fmt.Sprint(wantCode) || want == Error && out["approved"] != "" || (out["sarif"] == "") != (want == Error) {
				t.Errorf("report %s, exit code %d: %v", states, code, out)
			}
		}
	}
}

// TestNoDigestOfAnUnverifiedImage checks that a deployment cannot use the digest of a failed verify.
func TestNoDigestOfAnUnverifiedImage(t *testing.T) {
	s := promoted(run(), "approved.example/app")
	s.Report.Command, s.Report.Decision, s.Report.Destinations[0].State = "verify", nil, report.Verified
	if got := outputsOf(s); got["decision"] != "passed" || got["digest"] != digest || got["blocking"] != "" {
		t.Errorf("verified: %v", got)
	}
	s.ExitCode = 6
	if got := outputsOf(s); got["decision"] != "error" || got["digest"] != "" || got["approved"] != "" {
		t.Errorf("not verified: %v", got)
	}
}

func TestAnnotations(t *testing.T) {
	in := vulnerability("in, a: folder", 7, "CVE-2026-1")
	in.Position.File = "/work/space/conf/a,b:c%.yaml"
	outside := vulnerability("outside", 7, "CVE-2026-1")
	outside.Position.File = "../policy.yaml"
	builtin := policy.Violation{Kind: policy.KindDatabase, Rule: "database.maxAge", Message: "it is 100% too old"}
	s := run(vulnerability("critical", 12, "CVE-2026-1"), in, vulnerability("critical", 12, "CVE-2026-2"), outside, builtin)
	want := `::error file=policy.yaml,line=12,title=imagegate%3A critical::2 problems: CVE-2026-1 in openssl 3.0.1; CVE-2026-2 in openssl 3.0.1
::error file=conf/a%2Cb%3Ac%25.yaml,line=7,title=imagegate%3A in%2C a%3A folder::1 problem: CVE-2026-1 in openssl 3.0.1
::error title=imagegate%3A outside::1 problem: CVE-2026-1 in openssl 3.0.1
::error file=policy.yaml,title=imagegate%3A database.maxAge::1 problem: it is 100%25 too old
`
	if diff := cmp.Diff(want, s.Annotations()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAnnotationsFitTheLimit checks that no rule is missing when there are more rules than GitHub shows.
func TestAnnotationsFitTheLimit(t *testing.T) {
	for _, n := range []int{1, 9, 10, 11, 40} {
		var all []policy.Violation
		for i := range n {
			for j := range 8 {
				all = append(all, vulnerability(fmt.Sprintf("rule %d", i), i+1, fmt.Sprintf("CVE-2026-%d", j)))
			}
		}
		got := run(all...).Annotations()
		if lines := strings.Count(got, "\n"); lines != min(n, maxAnnotations) || strings.Count(got, "::error ") != lines {
			t.Errorf("%d rules: %d annotations", n, lines)
		}
		if n == 11 && !strings.Contains(got, "::error title=imagegate%3A 2 more rules::rule 9; rule 10\n") {
			t.Errorf("the last rules are missing:\n%s", got)
		}
		if !strings.Contains(got, "; and 3 more\n") {
			t.Errorf("%d rules: not all problems are counted:\n%s", n, got)
		}
	}
}

func TestDenialWithoutViolationsHasAnAnnotation(t *testing.T) {
	s := run()
	s.Report.Decision.Passed, s.ExitCode = false, denied
	if got := s.Annotations(); !strings.HasPrefix(got, "::error title=imagegate%3A denied::no violation is listed") {
		t.Errorf("%q", got)
	}
}

// TestFailureSaysWhy checks the summary, the annotation and the outputs of a run that wrote no report.
func TestFailureSaysWhy(t *testing.T) {
	log := "reading layers\r\nimagegate: warning: a warning\nimagegate: no policy given: use --policy FILE\r\n           no `key` given\nhint: run \"imagegate policy init\"\nretryable: yes\n"
	s := Step{Report: Failed("promote", "staging.example/app:1", 3, []byte(log)), ExitCode: 3}
	if diff := cmp.Diff(&report.Error{Class: report.ClassUsage, Retryable: true,
		Message: "no policy given: use --policy FILE\nno `key` given\nhint: run \"imagegate policy init\""}, s.Report.Error); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err := s.Summary(MaxSummary)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"imagegate: FAILED\n", "usage error: no policy given: use --policy FILE", "`staging.example/app:1`", "- `no 'key' given`\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the summary has no %q:\n%s", want, text)
		}
	}
	if got := s.Annotations(); !strings.HasPrefix(got, "::error title=imagegate%3A no decision::no decision was made") {
		t.Errorf("%q", got)
	}
	if got := Failed("check", "", 137, nil); got.Error.Class != report.ClassOther || !strings.Contains(got.Error.Message, "137") {
		t.Errorf("without a log: %+v", got.Error)
	}
}

func TestDisagreementIsInTheSummary(t *testing.T) {
	s := run()
	s.ExitCode = 2
	text, err := s.Summary(MaxSummary)
	if err != nil || !strings.Contains(string(text), "the report says PASSED, but the exit code is 2") {
		t.Errorf("%v\n%s", err, text)
	}
	if !strings.Contains(s.Annotations(), "the report says PASSED, but the exit code is 2") {
		t.Errorf("%q", s.Annotations())
	}
}

// TestSummaryFitsTheLimit checks that a long summary is cut and says so, and that one without room for
// the verdict is an error.
func TestSummaryFitsTheLimit(t *testing.T) {
	var all []policy.Violation
	for i := range 20000 {
		v := vulnerability("critical", 12, fmt.Sprintf("CVE-2026-%06d", i))
		all = append(all, v)
	}
	s := run(all...)
	for _, limit := range []int{MaxSummary, 20000, 2000} {
		text, err := s.Summary(limit)
		if err != nil || len(text) > limit || len(text) < limit/2 || !strings.Contains(string(text), "results are not listed here") {
			t.Errorf("limit %d: %d bytes, %v", limit, len(text), err)
		}
	}
	if text, err := s.Summary(100); err == nil {
		t.Errorf("a summary of 100 bytes: %q", text)
	}
}

var commandLine = regexp.MustCompile(`^::error( (file|line|title)=[^:,\n]*(,(file|line|title)=[^:,\n]*)*)?::[^\r\n]*\n$`)

// TestHostileTextIsHarmless writes hostile texts in every field, and checks that they cannot add an
// output, a workflow command, or markup.
func TestHostileTextIsHarmless(t *testing.T) {
	for _, text := range hostile.Texts {
		r := hostile.Report(text, now)
		for _, c := range []struct {
			failed bool
			code   int
		}{{true, 4}, {false, 2}, {true, 0}} {
			s := Step{Report: r, ExitCode: c.code, Workspace: "/work", Dir: filepath.Join("/work", "dir")}
			if !c.failed {
				s.Report.Error = nil
				s.Report.Override = nil
				s.Report.Destinations = nil
			}
			for line := range strings.Lines(s.Annotations()) {
				if !commandLine.MatchString(line) {
					t.Errorf("%q: annotation %q", text, line)
				}
				checkPrintable(t, text, strings.TrimSuffix(line, "\n"))
			}
			checkOutputs(t, text, s)
			checkSummary(t, text, s)
		}
		log := "imagegate: " + text + "\n" + text + "\n           " + text
		checkSummary(t, text, Step{Report: Failed(text, text, 3, []byte(log)), ExitCode: 3})
	}
}

// checkOutputs parses the outputs as GitHub does, and compares them.
func checkOutputs(t *testing.T, text string, s Step) {
	t.Helper()
	outputs := s.Outputs()
	formatted, err := FormatOutputs(outputs, "delimiter-1")
	if err != nil {
		t.Fatal(err)
	}
	var got []Output
	for lines := strings.Split(formatted, "\n"); len(lines) > 1; {
		name, delimiter, ok := strings.Cut(lines[0], "<<")
		if !ok || delimiter != "delimiter-1" {
			t.Fatalf("%q: %q is not the start of an output", text, lines[0])
		}
		end := 1
		for lines[end] != delimiter {
			end++
		}
		got = append(got, Output{name, strings.Join(lines[1:end], "\n")})
		lines = lines[end+1:]
	}
	if diff := cmp.Diff(outputs, got); diff != "" {
		t.Errorf("%q: (-want +got):\n%s", text, diff)
	}
	for _, o := range outputs {
		checkPrintable(t, text, strings.ReplaceAll(o.Value, "\n", ""))
	}
}

var (
	spans  = regexp.MustCompile("`[^`\n]*`")
	links  = regexp.MustCompile("\\[`[^`\n]*`\\]\\(https?://[^ ()<>]+\\)")
	markup = regexp.MustCompile(`[<>\[\]@#*_~\\&=]|https?:|www\.`)
)

func checkSummary(t *testing.T, text string, s Step) {
	t.Helper()
	summary, err := s.Summary(MaxSummary)
	if err != nil {
		t.Fatal(err)
	}
	body, ok := strings.CutPrefix(string(summary), "<!-- imagegate -->\n")
	if !ok {
		t.Errorf("%q: no mark", text)
	}
	for line := range strings.Lines(body) {
		checkPrintable(t, text, strings.TrimSuffix(line, "\n"))
		if found := markup.FindString(spans.ReplaceAllString(links.ReplaceAllString(line, ""), "")); found != "" || strings.Count(line, "`")%2 != 0 {
			t.Errorf("%q: markup %q in %q", text, found, line)
		}
	}
}

func checkPrintable(t *testing.T, text, got string) {
	t.Helper()
	for _, r := range got {
		if !unicode.IsPrint(r) {
			t.Errorf("%q: unprintable %U in %q", text, r, got)
		}
	}
	if !utf8.ValidString(got) {
		t.Errorf("%q: invalid UTF-8 in %q", text, got)
	}
}

func TestDelimiterCannotBeInAValue(t *testing.T) {
	for _, delimiter := range []string{"", "x"} {
		if out, err := FormatOutputs([]Output{{"a", "1\nx\nb=2"}}, delimiter); err == nil {
			t.Errorf("delimiter %q: %q", delimiter, out)
		}
	}
}
