package report

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares output with the golden file of this name in testdata.
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

// names are the golden reports in testdata.
var names = []string{"denied", "layered", "promoted", "undecided", "unfinished", "hostile"}

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
	t.Run("details", func(t *testing.T) {
		golden(t, "layered-details.txt", []byte(render(t, TextOptions{Details: true, Width: 80}.Text, load(t, "layered.json"))))
	})
	t.Run("color", func(t *testing.T) {
		golden(t, "denied-color.txt", []byte(render(t, TextOptions{Color: true}.Text, load(t, "denied.json"))))
	})
}

// counted matches the numbers of problems in the headings of the text report.
var counted = regexp.MustCompile(`(?m)^[A-Z][A-Za-z :/().,0-9-]*  ([0-9]+) problems?\b`)

// TestNumbersAgree checks that the numbers in the text report agree with Report.Counts: the sum of
// the headings, the lines about everything that does not block, and the verdict.
func TestNumbersAgree(t *testing.T) {
	for _, name := range []string{"denied", "layered", "promoted"} {
		for _, details := range []bool{false, true} {
			r := load(t, name+".json")
			checkNumbers(t, name, render(t, TextOptions{Details: details}.Text, r), r.Counts(), details)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		r := generated(random)
		checkNumbers(t, "a generated report", render(t, Text, r), r.Counts(), false)
	}
}

func checkNumbers(t *testing.T, name, text string, c Counts, details bool) {
	t.Helper()
	sum := 0
	for _, m := range counted.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum != c.Blocking {
		t.Errorf("%s: the titles count %d problems of %d in:\n%s", name, sum, c.Blocking, text)
	}
	if want := "\n  " + units.Count(c.Blocking, "problem"); c.Blocking > 0 && !strings.Contains(text, want) {
		t.Errorf("%s: the verdict has no %q in:\n%s", name, want, text)
	}
	for label, n := range map[string]int{"WARNINGS ": c.Warnings, "EXCEPTED ": c.Excepted, "VEX      ": c.NotAffected} {
		if want := fmt.Sprintf("\n%s%d", label, n); n > 0 && !details && !strings.Contains(text, want+" ") && !strings.Contains(text, want+":") {
			t.Errorf("%s: no %q in:\n%s", name, want, text)
		}
	}
}

// generated returns a random report of two platforms. Its findings are in few packages and layers,
// so that many of them are merged.
func generated(random *rand.Rand) Report {
	layer := func(n int) string { return fmt.Sprintf("sha256:%d", n) }
	r := Report{Decision: &policy.Decision{}}
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		p := evidence.Platform{Platform: platform}
		for i := range 3 {
			p.Layers = append(p.Layers, evidence.Layer{DiffID: layer(i), FromBase: i == 0})
		}
		r.Input.Platforms = append(r.Input.Platforms, p)
	}
	one := func() policy.Violation {
		platform := r.Input.Platforms[random.IntN(2)].Platform
		if random.IntN(4) == 0 {
			return policy.Violation{Kind: []policy.Kind{policy.KindSBOM, policy.KindImage}[random.IntN(2)], Rule: "r", Platform: platform, Message: fmt.Sprint(random.IntN(9))}
		}
		f := finding(random.IntN(30))
		f.FixState = []evidence.FixState{evidence.FixAvailable, evidence.FixNone}[random.IntN(2)]
		f.Package = evidence.Package{Name: fmt.Sprint("p", random.IntN(20)), Version: fmt.Sprint(random.IntN(2)), Type: []string{"deb", "npm", "go-module"}[random.IntN(3)],
			Found: []evidence.Location{{Path: fmt.Sprint("/", random.IntN(3)), Layer: layer(random.IntN(4))}}}
		return policy.Violation{Kind: policy.KindVulnerability, Rule: "r", Platform: platform, Finding: f}
	}
	for range random.IntN(100) {
		switch v := one(); random.IntN(4) {
		case 0:
			r.Decision.Warnings = append(r.Decision.Warnings, v)
		case 1:
			r.Decision.Excepted = append(r.Decision.Excepted, policy.Excepted{Violation: v})
		case 2:
			if v.Finding != nil {
				r.Decision.NotAffected = append(r.Decision.NotAffected, policy.NotAffected{Violation: v})
			}
		default:
			r.Decision.Violations = append(r.Decision.Violations, v)
		}
	}
	r.Decision.Passed = len(r.Decision.Violations) == 0
	return r
}

// TestFailedVerificationIsNotCalledADecision checks the stated reason of a failed verify. It must
// not mention a decision, because verify makes none.
func TestFailedVerificationIsNotCalledADecision(t *testing.T) {
	r := Report{Command: "verify", Error: &Error{Class: ClassTrust, Message: "no trusted signer signed this image"}}
	if text := render(t, TextOptions{}.Verdict, r); text != "\nFAILED  (none)\n  The image was not verified: trust error.\n" {
		t.Errorf("%q", text)
	}
}

// TestREADMEHasTheVerdict checks that README.md quotes the last lines of a report exactly.
func TestREADMEHasTheVerdict(t *testing.T) {
	options := TextOptions{CommandLine: CommandLine{Approved: []string{"approved.example/shop:1.4"}, Report: "report.json", Policies: []string{"policy.yaml"}}}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if text := render(t, options.Verdict, load(t, "layered.json")); !strings.Contains(string(readme), "```"+text+"```\n") {
		t.Errorf("README does not have:\n%s", text)
	}
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

// TestEveryStringOfAReportIsSanitized puts hostile text into every string of a report, one after
// the other, so that it also covers new fields.
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
		// If the text makes the report invalid, JSON must return an error and write nothing.
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
		{"zero report", Report{}, Undecided, "FAILED"},
		{"error only", Report{Error: failure}, Undecided, "FAILED"},
		{"destinations only", Report{Destinations: []Destination{{State: Promoted}}}, Undecided, "FAILED"},
		{"signature only", Report{Destinations: []Destination{{State: SignatureVerified}}}, SignatureOnly, "SIGNED"},
		{"signature and error", Report{Destinations: []Destination{{State: SignatureVerified}}, Error: failure}, Undecided, "FAILED"},
		{"signature and destination", Report{Destinations: []Destination{{State: SignatureVerified}, {State: Verified}}}, Undecided, "FAILED"},
		{"zero decision", Report{Decision: new(policy.Decision)}, Denied, "DENIED"},
		{"zero decision and error", Report{Decision: new(policy.Decision), Error: failure}, Unfinished, "FAILED"},
		{"pass with a violation", Report{Decision: violated}, Denied, "DENIED"},
		{"pass and error", Report{Decision: passed, Error: failure}, Unfinished, "FAILED"},
		{"earlier pass", Report{Destinations: []Destination{{State: Verified}}}, PassedEarlier, "PASSED EARLIER"},
		{"pass", Report{Decision: passed}, Passed, "PASSED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.r.Outcome(); got != tt.want {
				t.Errorf("outcome %d, want %d", got, tt.want)
			}
			for name, format := range map[string]func(io.Writer, Report) error{"text": Text, "verdict": TextOptions{}.Verdict} {
				text := render(t, format, tt.r)
				if !strings.Contains(text, "\n"+tt.text+"  ") {
					t.Errorf("no line of the %s begins with %q in:\n%s", name, tt.text, text)
				}
				if strings.Contains(text, "\nPASSED  ") != (tt.want == Passed) {
					t.Errorf("the verdict is wrong in:\n%s", text)
				}
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

// TestDetailsListEverything checks that a report with --details lists every violation exactly once.
func TestDetailsListEverything(t *testing.T) {
	const n = 500
	d := &policy.Decision{}
	for i := range n {
		d.Violations = append(d.Violations,
			policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: finding(i)},
			policy.Violation{Kind: policy.KindSBOM, Rule: "b", Message: fmt.Sprintf("message-%05d", i)},
			policy.Violation{Kind: "of the future", Rule: "c", Message: fmt.Sprintf("future-%05d", i)},
			// This violation has the kind vulnerability, but no finding.
			policy.Violation{Kind: policy.KindVulnerability, Rule: "d", Message: fmt.Sprintf("bare-%05d", i)})
		unfixed := finding(n + i)
		unfixed.FixState = evidence.FixWont
		d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "e", Finding: unfixed})
	}
	text := render(t, TextOptions{Details: true}.Text, Report{Decision: d})
	for i := range n {
		for _, want := range []string{fmt.Sprintf("CVE-2026-%05d  ", i), fmt.Sprintf("CVE-2026-%05d  ", n+i),
			fmt.Sprintf("message-%05d", i), fmt.Sprintf("future-%05d", i), fmt.Sprintf("bare-%05d", i)} {
			if strings.Count(text, want) != 1 {
				t.Errorf("%s is listed %d times", want, strings.Count(text, want))
			}
		}
	}
}

// TestShortenedListsCountTheRest checks that a shortened list says how many items are missing, and
// that these and the listed items add up to the number of problems.
func TestShortenedListsCountTheRest(t *testing.T) {
	d := &policy.Decision{}
	for i := range 30 {
		deb, npm, unfixed := finding(i), finding(100+i), finding(200+i)
		deb.Package.Type, deb.Package.Name, npm.Package.Name = "deb", fmt.Sprintf("d%d", i), fmt.Sprintf("n%d", i)
		unfixed.FixState = evidence.FixNone
		for _, f := range []*evidence.Finding{deb, npm, unfixed} {
			d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: f})
		}
		d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindSBOM, Rule: "b", Message: fmt.Sprintf("message-%05d", i)})
		d.Warnings = append(d.Warnings, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: finding(300 + i)})
		d.Allowed = append(d.Allowed, policy.Allowed{Finding: *finding(400 + i)})
	}
	text := render(t, Text, Report{Decision: d})
	for want, n := range map[string]int{
		"FIX FIRST  30 problems": 1, "IMAGE  60 problems in 60 packages": 1, "NO FIX  30 problems in 1 package": 1,
		"and 25 more problems of this rule (--details)": 1, "and 23 more problems in 23 packages: 23 high (--details)": 2,
		"and 25 more without a fix: 25 high (--details)": 1, "message-": 5, " -> 2 ": 14, "not fixed": 5,
		"WARNINGS 30: 30 high (--details)": 1, "NO RULE  matches 30 findings: 30 high (--details)": 1,
		"apt-get upgrade -y": 1, "n29@2": 1, "120 problems: 90 vulnerabilities in 61 packages and 30 other; 60 have a fix, 30 have none": 1,
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%q occurs %d times, want %d, in:\n%s", want, got, n, text)
		}
	}
}

// TestManyPlacesAreCounted checks that the report stays short if packages are in many places.
func TestManyPlacesAreCounted(t *testing.T) {
	d := &policy.Decision{}
	for i := range 100 {
		f := finding(i)
		f.Package.Type, f.Package.Found = "go-module", []evidence.Location{{Path: fmt.Sprintf("/bin/%d", i)}}
		f.Package.Name = fmt.Sprintf("m%d.example/m", i)
		u := evidence.Unknown{Location: evidence.Location{Path: fmt.Sprintf("/lib/%d.jar", i)}}
		d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Finding: f},
			policy.Violation{Kind: policy.KindSBOM, Rule: "sbom.unknowns", Unknown: &u, Message: u.Path})
	}
	text := render(t, Text, Report{Decision: d})
	if n := strings.Count(text, "Go program /bin/"); n != maxBatches-1 || !strings.Contains(text, "  and 93 more problems in 93 packages in 93 other places: 93 high (--details)\n") {
		t.Errorf("%d places in:\n%s", n, text)
	}
	if n := strings.Count(text, "do: repair or remove "); n != maxBatches-1 || !strings.Contains(text, "\n  and 93 more problems (--details)\n") {
		t.Errorf("%d unreadable files in:\n%s", n, text)
	}
}

func TestSameFindingOnSeveralPlatformsIsListedOnce(t *testing.T) {
	platforms := []string{"linux/amd64", "linux/arm64", "linux/s390x"}
	d := &policy.Decision{}
	r := Report{Decision: d}
	for i, p := range platforms {
		r.Input.Platforms = append(r.Input.Platforms, evidence.Platform{Platform: p})
		f := finding(1)
		f.Package.PURL = "pkg:npm/p@1?arch=" + p
		f.Package.Found = []evidence.Location{{Path: "/lib/" + p}}
		d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Platform: p, Finding: f})
		if i < 2 {
			d.Violations = append(d.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: "a", Platform: p, Finding: finding(2)})
		}
	}
	text := render(t, TextOptions{Details: true}.Text, r)
	for want, n := range map[string]int{
		"CVE-2026-00001": 1, "CVE-2026-00002": 1, "2 problems in 1 package: 2 have a fix": 1,
		"on linux/amd64, linux/arm64, linux/s390x": 0, "on linux/amd64, linux/arm64\n": 1,
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

func TestUnknownSeverityIsNotListedAsLow(t *testing.T) {
	d := &policy.Decision{Passed: true}
	for i, s := range []evidence.Severity{evidence.SeverityLow, evidence.SeverityUnknown, evidence.SeverityCritical, evidence.SeverityNegligible} {
		f := finding(i)
		f.Severity = s
		d.Allowed = append(d.Allowed, policy.Allowed{Finding: *f})
	}
	text := render(t, TextOptions{Details: true}.Text, Report{Decision: d})
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
		{end, " (just now)", ", just now"},
		{end.Add(-59 * time.Second), " (just now)", ", just now"},
		{end.Add(-time.Minute), " (1 minute ago)", ", 1 minute ago"},
		{end.Add(59 * time.Second), " (just now)", ", in less than a minute"},
		{time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), " (2 days in the future)", ", in 2 days"},
		{time.Date(2026, 11, 24, 23, 59, 0, 0, time.UTC), " (1 day in the future)", ", in 1 day"},
		{time.Date(2026, 11, 21, 23, 59, 0, 0, time.UTC), " (2 days ago)", ", 2 days ago"},
		{time.Date(2026, 11, 22, 4, 0, 1, 0, time.UTC), " (23 hours ago)", ", 23 hours ago"},
		{time.Date(2026, 12, 31, 0, 0, 0, 0, time.FixedZone("", 3600)), " (37 days in the future)", ", in 37 days"},
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
	for _, name := range []string{"denied", "layered", "promoted", "undecided", "unfinished"} {
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
		for _, room := range []int{0, 100, 2048} {
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
