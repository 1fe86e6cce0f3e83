package report

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares output with a file in testdata.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func load(t *testing.T, file string) Report {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t *testing.T, format func(io.Writer, Report) error, r Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := format(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// names are the reports in testdata.
var names = []string{"denied", "promoted", "undecided", "unfinished", "hostile"}

func TestGolden(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			r := load(t, name+".json")
			golden(t, name+".json", []byte(render(t, JSON, r)))
			golden(t, name+".txt", []byte(render(t, Text, r)))
			golden(t, name+".summary", []byte(Summary(r)+"\n"))
		})
	}
	t.Run("narrow", func(t *testing.T) {
		golden(t, "denied-80.txt", []byte(render(t, TextOptions{Width: 80}.Text, load(t, "denied.json"))))
	})
	t.Run("color", func(t *testing.T) {
		golden(t, "denied-color.txt", []byte(render(t, TextOptions{Color: true}.Text, load(t, "denied.json"))))
	})
}

// checkSafe fails if text could act on a terminal or a CI system. Line breaks are allowed.
func checkSafe(t *testing.T, text string) {
	t.Helper()
	for at, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("unprintable %U at byte %d", r, at)
		}
	}
	if !utf8.ValidString(text) {
		t.Error("invalid UTF-8")
	}
	if strings.Contains(text, "##") {
		t.Error(`a "##" command`)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "::") {
			t.Errorf("a %q command", line)
		}
	}
}

func TestHostileTextIsSanitized(t *testing.T) {
	r := load(t, "hostile.json")
	for _, width := range []int{0, 60, 80, 200} {
		checkSafe(t, render(t, TextOptions{Width: width}.Text, r))
	}
	checkSafe(t, render(t, JSON, r))
	checkSafe(t, Summary(r))
	if strings.Contains(Summary(r), "\n") {
		t.Error("the summary has several lines")
	}
}

// TestEveryStringOfAReportIsSanitized replaces every string of a report by hostile text in turn, so
// that new fields are covered.
func TestEveryStringOfAReportIsSanitized(t *testing.T) {
	const hostile = "a\x1b[31m\r\n::error::b ##[error]\u202e\u009b\xff ::c"
	r := full()
	n := 0
	r.Tool.Components = map[string]string{hostile: hostile}
	walkStrings(&r, func(s reflect.Value) {
		old := s.String()
		s.SetString(hostile)
		n++
		var out bytes.Buffer
		if err := Text(&out, r); err != nil {
			t.Error(err)
		}
		if err := (TextOptions{}).attachmentsText(&out, r); err != nil {
			t.Error(err)
		}
		checkSafe(t, out.String())
		checkSafe(t, Summary(r))
		out.Reset()
		// An invalid state or schema is an error, and then nothing may be written.
		if err := JSON(&out, r); err != nil && out.Len() > 0 {
			t.Errorf("%v, after %q", err, out.String())
		}
		checkSafe(t, out.String())
		s.SetString(old)
	})
	if n < 80 {
		t.Errorf("only %d strings were tried", n)
	}
}

// TestLayoutSanitizes checks that the layout of the text report sanitizes all text, even if a
// caller forgets to.
func TestLayoutSanitizes(t *testing.T) {
	const hostile = "::error::a\x1b[31m\r\n::error::b ##[error]\u202e\xff"
	var out bytes.Buffer
	l := newLayout(&out, 60, false)
	l.section(hostile)
	l.item(2, hostile)
	l.table(0, []row{{cells: []cell{{text: hostile}, {text: hostile}}, notes: []string{hostile}}})
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	checkSafe(t, out.String())
	if got := strings.Count(out.String(), "::error"); got == 0 {
		t.Error("the text is missing")
	}
}

func TestMissingDecisionIsNotAPass(t *testing.T) {
	passed := &policy.Decision{Passed: true}
	violated := &policy.Decision{Passed: true, Violations: []policy.Violation{{Kind: policy.KindSBOM, Rule: "r", Message: "m"}}}
	failure := &Error{Class: ClassTrust, Message: "m"}
	for _, tt := range []struct {
		name string
		r    Report
		want Outcome
		text string
	}{
		{"zero report", Report{}, Undecided, "COULD NOT DECIDE"},
		{"error only", Report{Error: failure}, Undecided, "COULD NOT DECIDE"},
		{"destinations only", Report{Destinations: []Destination{{State: Promoted}}}, Undecided, "COULD NOT DECIDE"},
		{"signature only", Report{Destinations: []Destination{{State: SignatureVerified}}}, SignatureOnly, "SIGNED: "},
		{"signature and error", Report{Destinations: []Destination{{State: SignatureVerified}}, Error: failure}, Undecided, "COULD NOT DECIDE"},
		{"signature and destination", Report{Destinations: []Destination{{State: SignatureVerified}, {State: Verified}}}, Undecided, "COULD NOT DECIDE"},
		{"zero decision", Report{Decision: new(policy.Decision)}, Denied, "DENIED: 0 violations"},
		{"zero decision and error", Report{Decision: new(policy.Decision), Error: failure}, Denied, "DENIED: 0 violations"},
		{"pass with a violation", Report{Decision: violated}, Denied, "DENIED: 1 violation\n"},
		{"pass and error", Report{Decision: passed, Error: failure}, Unfinished, "PASSED, BUT NOT FINISHED"},
		{"pass", Report{Decision: passed}, Passed, "PASSED: no violations\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.r.Outcome(); got != tt.want {
				t.Errorf("outcome %d, want %d", got, tt.want)
			}
			text := render(t, Text, tt.r)
			if !strings.Contains(text, "\n"+tt.text) {
				t.Errorf("no line begins with %q in:\n%s", tt.text, text)
			}
			if strings.Contains(text, "\nPASSED:") != (tt.want == Passed) {
				t.Errorf("the verdict is wrong in:\n%s", text)
			}
			if strings.HasPrefix(Summary(tt.r), "passed (") != (tt.want == Passed) {
				t.Errorf("summary %q", Summary(tt.r))
			}
		})
	}
}

// finding returns the i-th of many findings.
func finding(i int) *evidence.Finding {
	return &evidence.Finding{ID: fmt.Sprintf("CVE-2026-%05d", i), Severity: evidence.SeverityHigh, FixState: evidence.FixAvailable,
		Package: evidence.Package{Name: "p", Version: "1", Type: "npm"}, Fixes: []evidence.Fix{{Version: "2"}}}
}

func TestViolationsAreNotCut(t *testing.T) {
	const n = 500
	d := &policy.Decision{}
	for i := range n {
		d.Violations = append(d.Violations,
			policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: finding(i)},
			policy.Violation{Kind: policy.KindSBOM, Rule: "b", Message: fmt.Sprintf("message-%05d", i)},
			policy.Violation{Kind: "of the future", Rule: "c", Message: fmt.Sprintf("future-%05d", i)},
			// A violation of kind vulnerability without a finding.
			policy.Violation{Kind: policy.KindVulnerability, Rule: "d", Message: fmt.Sprintf("bare-%05d", i)})
		unfixed := finding(n + i)
		unfixed.FixState = evidence.FixWont
		d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "e", Finding: unfixed})
	}
	text := render(t, Text, Report{Decision: d})
	for i := range n {
		for _, want := range []string{fmt.Sprintf("CVE-2026-%05d", i), fmt.Sprintf("CVE-2026-%05d", n+i),
			fmt.Sprintf("message-%05d", i), fmt.Sprintf("future-%05d", i), fmt.Sprintf("bare-%05d", i)} {
			if strings.Count(text, want) != 1 {
				t.Errorf("%s is listed %d times", want, strings.Count(text, want))
			}
		}
	}
}

func TestShortenedListsCountTheRest(t *testing.T) {
	d := &policy.Decision{Passed: true}
	for i := range 30 {
		d.Warnings = append(d.Warnings,
			policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: finding(i)},
			policy.Violation{Kind: policy.KindException, Rule: "b", Message: fmt.Sprintf("message-%05d", i)})
		d.Allowed = append(d.Allowed, policy.Allowed{Finding: *finding(1000 + i)})
	}
	r := Report{Decision: d}
	r.Input.Platforms = []evidence.Platform{{Platform: "linux/amd64"}}
	for i := range 9 {
		r.Input.Platforms[0].Unknowns = append(r.Input.Platforms[0].Unknowns,
			evidence.Unknown{Location: evidence.Location{Path: fmt.Sprintf("/%d", i)}, Reason: "unreadable"})
	}
	text := render(t, Text, r)
	for want, n := range map[string]int{"and 20 more:": 2, "and 25 more:": 1, "and 6 more:": 1, "message-": 10, "CVE-2026-": 15} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q occurs %d times, want %d, in:\n%s", want, got, n, text)
		}
	}
}

func TestSameFindingOnSeveralPlatformsIsListedOnce(t *testing.T) {
	platforms := []string{"linux/amd64", "linux/arm64", "linux/s390x"}
	d := &policy.Decision{}
	r := Report{Decision: d}
	for i, p := range platforms {
		r.Input.Platforms = append(r.Input.Platforms, evidence.Platform{Platform: p})
		f := finding(1)
		f.Package.PURL = "pkg:deb/p@1?arch=" + p
		f.Package.Found = []evidence.Location{{Path: "/lib/" + p}}
		d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Platform: p, Finding: f})
		if i < 2 {
			d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Platform: p, Finding: finding(2)})
		}
	}
	text := render(t, Text, r)
	for want, n := range map[string]int{
		"CVE-2026-00001": 1, "CVE-2026-00002": 1, "DENIED: 5 violations, 2 of them distinct": 1,
		"on linux/amd64, linux/arm64, linux/s390x\n": 1, "on linux/amd64, linux/arm64\n": 1,
		"/lib/linux/amd64, /lib/linux/arm64, /lib/linux/s390x": 1,
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q occurs %d times, want %d, in:\n%s", want, got, n, text)
		}
	}
}

func TestFindingsThatDifferAreNotMerged(t *testing.T) {
	for name, change := range map[string]func(*policy.Violation){
		"rule":     func(v *policy.Violation) { v.Rule = "b" },
		"line":     func(v *policy.Violation) { v.Position.Line = 9 },
		"id":       func(v *policy.Violation) { v.Finding.ID = "CVE-2026-1" },
		"severity": func(v *policy.Violation) { v.Finding.Severity = evidence.SeverityLow },
		"version":  func(v *policy.Violation) { v.Finding.Package.Version = "3" },
		"type":     func(v *policy.Violation) { v.Finding.Package.Type = "deb" },
		"fix":      func(v *policy.Violation) { v.Finding.Fixes = []evidence.Fix{{Version: "7"}} },
		"KEV":      func(v *policy.Violation) { v.Finding.KEV = new(evidence.KEV) },
	} {
		a := policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: finding(1)}
		b := policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: finding(1)}
		if got := len(merge([]policy.Violation{a, b})); got != 1 {
			t.Fatalf("equal violations make %d issues", got)
		}
		change(&b)
		if got := len(merge([]policy.Violation{a, b})); got != 2 {
			t.Errorf("with another %s: %d issues, want 2", name, got)
		}
	}
}

func TestUpgradeTargetIsNotGuessed(t *testing.T) {
	for _, tt := range []struct {
		fixes [][]string
		want  string
	}{
		{[][]string{{"1.2.4"}}, "1.2.4"},
		{[][]string{{"1.2.4", "2.0.1"}}, "1.2.4 or 2.0.1"},
		{[][]string{{"1.2.4", "2.0.1"}, {"1.2.4", "2.0.1"}}, "1.2.4 or 2.0.1"},
		{[][]string{{"1.2.9"}, {"1.2.10"}, {"1.2.4"}}, "1.2.10"},
		{[][]string{{"v0.9.0"}, {"v0.17.0"}}, "v0.17.0"},
		{[][]string{{"1.2"}, {"1.2.0.1"}}, "1.2.0.1"},
		{[][]string{{"3.0.15-1~deb12u1"}, {"3.0.14-1"}}, ""},
		{[][]string{{"1:1.2"}, {"1.3"}}, ""},
		{[][]string{{"1.2.4"}, {"1.2.4", "2.0.1"}}, ""},
		{[][]string{{"2.0.0-rc1"}, {"1.9.0"}}, ""},
		{[][]string{{"99999999999999999999999"}, {"1"}}, ""},
	} {
		var issues []Item
		for _, versions := range tt.fixes {
			f := &evidence.Finding{FixState: evidence.FixAvailable}
			for _, v := range versions {
				f.Fixes = append(f.Fixes, evidence.Fix{Version: v})
			}
			issues = append(issues, Item{Violation: policy.Violation{Finding: f}})
		}
		if got := target(issues); got != tt.want {
			t.Errorf("target(%v) = %q, want %q", tt.fixes, got, tt.want)
		}
	}
}

func TestUnknownSeverityIsNotListedAsLow(t *testing.T) {
	d := &policy.Decision{Passed: true}
	for i, s := range []evidence.Severity{evidence.SeverityLow, evidence.SeverityUnknown, evidence.SeverityCritical, evidence.SeverityNegligible} {
		f := finding(i)
		f.Severity = s
		d.Allowed = append(d.Allowed, policy.Allowed{Finding: *f})
	}
	text := render(t, Text, Report{Decision: d})
	if !strings.Contains(text, "(1 unknown, 1 critical, 1 low, 1 negligible)") {
		t.Errorf("counts by severity in:\n%s", text)
	}
	last := -1
	for _, id := range []string{"CVE-2026-00001", "CVE-2026-00002", "CVE-2026-00000", "CVE-2026-00003"} {
		at := strings.Index(text, id)
		if at <= last {
			t.Errorf("%s is out of order in:\n%s", id, text)
		}
		last = at
	}
}

func TestAgesAreCountedFromTheEndOfTheRun(t *testing.T) {
	end := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		then      time.Time
		age, left string
	}{
		{end.Add(-30 * time.Minute), " (30 minutes ago)", ", 30 minutes ago"},
		{end.Add(-time.Hour), " (1 hour ago)", ", 1 hour ago"},
		{end.Add(-24 * time.Hour), " (1 day ago)", ", 1 day ago"},
		{end.Add(24*time.Hour - 1), " (23 hours in the future)", ", in 23 hours"},
		{end.Add(48*time.Hour - 1), " (1 day in the future)", ", in 1 day"},
		{end.Add(38 * 24 * time.Hour), " (38 days in the future)", ", in 38 days"},
	} {
		r := text{Report: Report{Started: end.Add(-time.Hour), Finished: end}}
		if got := r.age(tt.then); got != tt.age {
			t.Errorf("age(%s) = %q, want %q", tt.then, got, tt.age)
		}
		if got := r.timeLeft(tt.then); got != tt.left {
			t.Errorf("left(%s) = %q, want %q", tt.then, got, tt.left)
		}
	}
	if got := (text{}).age(end); got != "" {
		t.Errorf("a report without times has the age %q", got)
	}
}

func TestLinesAreWrapped(t *testing.T) {
	for _, name := range []string{"denied", "promoted", "undecided", "unfinished"} {
		r := load(t, name+".json")
		for line := range strings.Lines(render(t, Text, r)) {
			// A single word and a line to paste are never broken.
			if start := strings.TrimSpace(line); strings.HasPrefix(start, "do: ") || strings.HasPrefix(start, "or: - {") {
				continue
			}
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 && len(strings.Fields(line)) > 1 {
				t.Errorf("%s: %d characters: %s", name, n, line)
			}
			if strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") {
				t.Errorf("%s: space at the end of %q", name, line)
			}
		}
	}
}

func TestFormattingDoesNotChangeTheReport(t *testing.T) {
	for _, name := range names {
		r, same := load(t, name+".json"), load(t, name+".json")
		render(t, Text, r)
		render(t, JSON, r)
		Summary(r)
		if diff := cmp.Diff(same, r); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
	}
}

// fullDisk is a writer that accepts left bytes and then reports a full disk.
type fullDisk struct{ left int }

var errDiskFull = errors.New("disk full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		return d.left, errDiskFull
	}
	d.left -= len(p)
	return len(p), nil
}

func TestWriteErrorIsNotSwallowed(t *testing.T) {
	r := load(t, "denied.json")
	for name, format := range map[string]func(io.Writer, Report) error{"text": Text, "json": JSON} {
		for _, room := range []int{0, 100, 4096} {
			if err := format(&fullDisk{left: room}, r); !errors.Is(err, errDiskFull) {
				t.Errorf("%s with room for %d bytes: error %v", name, room, err)
			}
		}
	}
}

func BenchmarkText(b *testing.B) {
	d := &policy.Decision{}
	for i := range 100_000 {
		f := finding(i)
		f.Package.Name = fmt.Sprintf("p%d", i%1000)
		d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Platform: "linux/amd64", Finding: f})
	}
	for b.Loop() {
		if err := Text(io.Discard, Report{Decision: d}); err != nil {
			b.Fatal(err)
		}
	}
}
