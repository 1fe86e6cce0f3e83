package custom

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// compiled returns a rule with these expressions. If message is empty, the rule has no message
// expression.
func compiled(t testing.TB, each Each, when, message string) Rule {
	t.Helper()
	p, ofWhen, ofMessage, err := Compile(each, when, message)
	if err != nil || p == nil {
		t.Fatalf("%s: %v, %v, %v", when, ofWhen, ofMessage, err)
	}
	return Rule{Name: "a rule", Each: each, Program: p}
}

// input returns the evidence of these tests: one platform with two packages.
func input() *evidence.Input {
	return &evidence.Input{
		Image: evidence.Image{Reference: "registry.example/team/app:1", Repository: "registry.example/team/app", Digest: "sha256:aa"},
		Platforms: []evidence.Platform{{
			Platform:     "linux/amd64",
			Digest:       "sha256:bb",
			Distribution: evidence.Distribution{ID: "debian", Version: "12", EndOfLife: now.Add(90 * day)},
			Packages: []evidence.Package{
				{Name: "telnetd", Version: "0.17", Type: "deb", PURL: "pkg:deb/debian/telnetd@0.17", Licenses: []string{"GPL-2.0-only", "MIT"}},
				{Name: "bash", Version: "5.2", Type: "deb", PURL: "pkg:deb/debian/bash@5.2", Found: []evidence.Location{{Path: "/var/lib/dpkg/status"}}},
			},
			Config: &evidence.ImageConfig{User: "root", Labels: map[string]string{"owner": "payments", "team": "a"}},
			Size:   1000,
		}},
	}
}

// TestCustomRule evaluates rules about packages and platforms on the evidence of input, and
// compares their messages.
func TestCustomRule(t *testing.T) {
	for _, test := range []struct {
		each          Each
		when, message string
		want          []string
	}{
		{Package, `pkg.name == "telnetd" && platform.distribution.id == "debian"`, `"telnet server " + pkg.version`,
			[]string{"telnetd 0.17: telnet server 0.17"}},
		{Package, `pkg.type == "deb"`, ``,
			[]string{`bash 5.2: matched by the rule "a rule"`, `telnetd 0.17: matched by the rule "a rule"`}},
		{Package, `pkg.licenses.exists(l, l.startsWith("GPL-"))`, `pkg.licenses.join(" and ")`,
			[]string{"telnetd 0.17: GPL-2.0-only and MIT"}},
		{Package, `"MIT" in pkg.licenses`, `pkg.licenses[1]`, []string{"telnetd 0.17: MIT"}},
		{Package, `has(pkg.licenses)`, `string(size(pkg.licenses))`, []string{"telnetd 0.17: 2"}},
		{Package, `!has(pkg.licenses)`, `"unlicensed"`, []string{"bash 5.2: unlicensed"}},
		{Package, `(pkg.licenses + ["Apache-2.0"]).size() == 3`, ``, []string{`telnetd 0.17: matched by the rule "a rule"`}},
		{Package, `pkg.licenses == ["GPL-2.0-only", "MIT"]`, ``, []string{`telnetd 0.17: matched by the rule "a rule"`}},
		{Package, `pkg.locations.exists(l, l.path == "/var/lib/dpkg/status")`, ``, []string{`bash 5.2: matched by the rule "a rule"`}},
		{Package, `pkg.purl.matches("^pkg:deb/[a-z]+/bash@")`, ``, []string{`bash 5.2: matched by the rule "a rule"`}},
		{Package, `pkg.name == "absent"`, ``, nil},
		{Platform, `platform.packages.size() == 2`, `"two packages on " + platform.platform`, []string{"two packages on linux/amd64"}},
		{Platform, `platform.packages.filter(p, p.version.startsWith("0.")).map(p, p.name) == ["telnetd"]`, ``, []string{`matched by the rule "a rule"`}},
		{Platform, `platform.config.user == "root"`, `"runs as root"`, []string{"runs as root"}},
		{Platform, `platform.config.labels["owner"] == "payments"`, ``, []string{`matched by the rule "a rule"`}},
		{Platform, `platform.config.labels.map(k, k)[0] == "owner"`, ``, []string{`matched by the rule "a rule"`}},
		{Platform, `!("maintainer" in platform.config.labels)`, `"no maintainer"`, []string{"no maintainer"}},
		{Platform, `platform.distribution.endOfLife - now < duration("2400h")`, `"ends on " + string(platform.distribution.endOfLife)`,
			[]string{"ends on 2026-09-13T12:00:00Z"}},
		{Platform, `now.getFullYear() == 2026 && now.getHours() == 12`, ``, []string{`matched by the rule "a rule"`}},
		{Platform, `has(platform.base)`, ``, nil},
		{Platform, `image.repository.startsWith("registry.example/team/")`, `image.digest`, []string{"sha256:aa"}},
		{Platform, `platform.size < 1001`, `"only %d bytes".format([platform.size])`, []string{"only 1000 bytes"}},
		{Platform, `true`, `" "`, []string{`matched by the rule "a rule"`}},
	} {
		in := input()
		said, failed := ask(compiled(t, test.each, test.when, test.message), in, &in.Platforms[0], now)
		if diff := cmp.Diff(test.want, said); diff != "" || failed != 0 {
			t.Errorf("%s: %d failed, %s", test.when, failed, diff)
		}
	}
}

// ask returns the messages of r, and how many of them report that the rule could not be evaluated.
func ask(r Rule, in *evidence.Input, p *evidence.Platform, now time.Time) (said []string, failed int) {
	r.Evaluate(in, p, now, func(_ *evidence.Package, message string, err error) {
		said = append(said, message)
		if err != nil {
			failed++
		}
	})
	return said, failed
}

// TestCustomRuleAboutFindings checks which rules match one finding, and their messages.
func TestCustomRuleAboutFindings(t *testing.T) {
	finding := evidence.Finding{
		ID: "CVE-2026-1", Aliases: []string{"GHSA-x"}, Severity: evidence.SeverityHigh, FixState: evidence.FixAvailable,
		Package: evidence.Package{Name: "openssl", Version: "3.0", Type: "deb"},
		CVSS:    []evidence.CVSS{{Version: "3.1", Score: 8.1, Source: "nvd"}},
		EPSS:    &evidence.EPSS{Score: 0.6, Percentile: 0.9}, KEV: &evidence.KEV{Added: now.Add(-day)},
		Fixes:     []evidence.Fix{{Version: "3.1", Available: now.Add(-40 * day)}},
		Published: now.Add(-50 * day),
	}
	for _, test := range []struct {
		when, message string
		matched       bool
		want          string
	}{
		{`finding.severity >= severity.high`, `finding.id + " is " + string(finding.severity)`, true, "CVE-2026-1 is high"},
		{`finding.severity == severity.high`, ``, true, `matched by the rule "a rule"`},
		{`finding.severity > severity.high`, ``, false, ""},
		{`finding.severity in [severity.critical, severity.unknown]`, ``, false, ""},
		{`finding.severity < severity.medium`, ``, true, `matched by the rule "a rule"`}, // true at the lower severity low, so it matches
		{`finding.epss.score > 0.5 && finding.epss.percentile > 0.8`, ``, true, `matched by the rule "a rule"`},
		{`has(finding.kev) && !finding.kev.ransomware`, `"exploited since " + string(finding.kev.added)`, true, "exploited since 2026-06-14T12:00:00Z"},
		{`has(finding.kev) && has(finding.kev.due)`, ``, false, ""},
		{`finding.cvss.exists(c, c.version == "3.1" && c.score >= 8.0)`, ``, true, `matched by the rule "a rule"`},
		{`finding.fixes.exists(f, now - f.available > duration("720h"))`, ``, true, `matched by the rule "a rule"`},
		{`finding.published < now - duration("1440h")`, ``, false, ""},
		{`finding.fixState == "fixed" && finding.package.name == "openssl"`, ``, true, `matched by the rule "a rule"`},
		{`"GHSA-x" in finding.aliases`, ``, true, `matched by the rule "a rule"`},
		{`platform.packages.exists(p, p.name == "telnetd") && finding.id == "CVE-2026-1"`, ``, true, `matched by the rule "a rule"`},
	} {
		in := input()
		r := compiled(t, Finding, test.when, test.message)
		matched, message, err := r.Matches(in, &in.Platforms[0], &finding, now)
		if err != nil || matched != test.matched || message != test.want {
			t.Errorf("%s: %v, %q, %v", test.when, matched, message, err)
		}
		if said, failed := ask(r, in, &in.Platforms[0], now); len(said) > 0 {
			t.Errorf("%s: %v, %d failed without a finding", test.when, said, failed)
		}
	}
}

// TestUnevaluatedRuleDoesNotPass checks that a rule that cannot be evaluated is reported as an
// error.
func TestUnevaluatedRuleDoesNotPass(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	for _, test := range []struct {
		name          string
		when, message string
		change        func(*evidence.Platform)
		want          string
	}{
		{"division by zero", `1 / size(pkg.version) == 0`, ``, func(p *evidence.Platform) { p.Packages[0].Version = "" },
			`telnetd: the rule "a rule" could not be evaluated, which blocks: "division by zero"`},
		{"no such index", `pkg.licenses[7] == ""`, ``, nil,
			`telnetd 0.17: the rule "a rule" could not be evaluated, which blocks: "index out of bounds: 7"`},
		{"missing object", `platform.base.name == ""`, ``, nil,
			`telnetd 0.17: the rule "a rule" could not be evaluated, which blocks: "base is unknown: check it with has() first"`},
		{"missing number", `platform.size > 100000`, ``, func(p *evidence.Platform) { p.Size = 0 },
			`telnetd 0.17: the rule "a rule" could not be evaluated, which blocks: "size is unknown: check it with has() first"`},
		{"missing time", `platform.distribution.endOfLife < now`, ``, func(p *evidence.Platform) { p.Distribution.EndOfLife = time.Time{} },
			`telnetd 0.17: the rule "a rule" could not be evaluated, which blocks: "endOfLife is unknown: check it with has() first"`},
		{"missing label", `platform.config.labels["none"] == ""`, ``, nil,
			`telnetd 0.17: the rule "a rule" could not be evaluated, which blocks: "no such key: none"`},
		{"regular expression of the image", `"x".matches(pkg.name)`, ``, func(p *evidence.Platform) { p.Packages[0].Name = "(\x1b" },
			"(\x1b 0.17: the rule \"a rule\" could not be evaluated, which blocks: " + `"error parsing regexp: missing closing ): ` + "`" + `(\x1b` + "`" + `"`},
		{"long text of the image in the error", `int(pkg.version) > 1`, ``, func(p *evidence.Platform) { p.Packages[0].Version = "1" + long },
			"telnetd 1" + long[:maxName-9] + `…: the rule "a rule" could not be evaluated, which blocks: "type conversion error from 'string' to 'int'"`},
		{"cost", `pkg.name.matches("(a|b|aa|bb|aaa|bbb|aaaa|bbbb|aaaaa|bbbbb)*c$")`, ``, func(p *evidence.Platform) { p.Packages[0].Name = long },
			long[:maxName] + `…: the rule "a rule" could not be evaluated, which blocks: the evaluation exceeds the cost limit`},
		{"message", `true`, `pkg.licenses[7]`, nil,
			`telnetd 0.17: the rule "a rule" could not be evaluated, which blocks: evaluating the message: "index out of bounds: 7"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := input()
			p := &in.Platforms[0]
			p.Packages = p.Packages[:1]
			if test.change != nil {
				test.change(p)
			}
			r := compiled(t, Package, test.when, test.message)
			said, failed := ask(r, in, p, now)
			if diff := cmp.Diff([]string{test.want}, said); diff != "" || failed != 1 {
				t.Errorf("%d failed, %s", failed, diff)
			}
		})
	}
}

// TestMissingScoreIsNotZero checks that reading a missing score is an error, and does not give a
// low score.
func TestMissingScoreIsNotZero(t *testing.T) {
	in := input()
	finding := evidence.Finding{ID: "CVE-2026-1", Severity: evidence.SeverityHigh}
	r := compiled(t, Finding, `finding.epss.score > 0.5`, ``)
	matched, message, err := r.Matches(in, &in.Platforms[0], &finding, now)
	if !matched || err == nil || !strings.Contains(message, "could not be evaluated, which blocks") {
		t.Errorf("%v, %q, %v", matched, message, err)
	}
	r = compiled(t, Finding, `!has(finding.epss) || finding.epss.score > 0.5`, ``)
	if matched, _, err := r.Matches(in, &in.Platforms[0], &finding, now); !matched || err != nil {
		t.Errorf("%v, %v", matched, err)
	}
	finding.EPSS = &evidence.EPSS{Score: 0}
	if matched, _, err := r.Matches(in, &in.Platforms[0], &finding, now); matched || err != nil {
		t.Errorf("a score of 0: %v, %v", matched, err)
	}
}

// TestUncompiledRuleDoesNotPass checks that a rule without a Program is reported as an error.
func TestUncompiledRuleDoesNotPass(t *testing.T) {
	in := input()
	for _, r := range []Rule{{}, {Name: "x", Each: Finding}, {Each: Platform}} {
		if said, failed := ask(r, in, &in.Platforms[0], now); len(said) != 1 || failed != 1 {
			t.Errorf("%v: %v, %d failed", r, said, failed)
		}
		if matched, _, err := r.Matches(in, &in.Platforms[0], &evidence.Finding{}, now); !matched || err == nil {
			t.Errorf("%v: %v, %v", r, matched, err)
		}
		if !r.UsesNow() {
			t.Errorf("%v: UsesNow is false, so the result could be reused", r)
		}
	}
	r := compiled(t, Package, `false`, ``)
	if matched, _, err := r.Matches(in, &in.Platforms[0], &evidence.Finding{}, now); !matched || err == nil {
		t.Errorf("a rule about packages, evaluated for a finding: %v, %v", matched, err)
	}
	r.Each = ""
	if said, failed := ask(r, in, &in.Platforms[0], now); len(said) != 1 || failed != 1 {
		t.Errorf("a rule without a kind of object: %v", said)
	}
}

// TestUnknownSeverityIsNotLowToCustomRules checks that a rule matches a finding of unknown severity
// if it would match at any severity.
func TestUnknownSeverityIsNotLowToCustomRules(t *testing.T) {
	in := input()
	for _, s := range []evidence.Severity{evidence.SeverityUnknown, evidence.SeverityCritical + 1, 255} {
		for _, when := range []string{
			`finding.severity >= severity.critical`,
			`finding.severity == severity.critical`,
			`finding.severity == severity.low`,
			`finding.severity < severity.low`,
			`finding.severity == severity.unknown`,
			`finding.severity > severity.critical`,
		} {
			r := compiled(t, Finding, when, `string(finding.severity)`)
			matched, message, err := r.Matches(in, &in.Platforms[0], &evidence.Finding{Severity: s}, now)
			if !matched || err != nil || message != "unknown" {
				t.Errorf("%s at %v: %v, %q, %v", when, s, matched, message, err)
			}
		}
	}
}

// TestFindingsDoNotChangeOtherRules checks that the number of findings does not change the results
// of rules about packages and platforms.
func TestFindingsDoNotChangeOtherRules(t *testing.T) {
	for _, r := range []Rule{
		compiled(t, Package, `pkg.type == "deb"`, `pkg.name`),
		compiled(t, Platform, `platform.packages.size() > 0`, ``),
	} {
		in := input()
		before, _ := ask(r, in, &in.Platforms[0], now)
		in.Platforms[0].Findings = []evidence.Finding{{ID: "CVE-2026-1"}}
		in.Platforms[0].Suppressed = []evidence.Suppressed{{Finding: evidence.Finding{ID: "CVE-2026-2"}}}
		after, _ := ask(r, in, &in.Platforms[0], now)
		if diff := cmp.Diff(before, after); diff != "" || len(before) == 0 {
			t.Errorf("%d violations: %s", len(before), diff)
		}
	}
}

// TestOrderOfPackagesDoesNotShow checks that violations are in the order of the package names,
// whatever the order of the packages in the evidence.
func TestOrderOfPackagesDoesNotShow(t *testing.T) {
	r := compiled(t, Package, `true`, `pkg.licenses.join(",")`)
	in := input()
	p := &in.Platforms[0]
	p.Packages = append(p.Packages, evidence.Package{Name: "bash", Version: "5.2", Type: "deb", PURL: "pkg:deb/debian/bash@5.2",
		Found: []evidence.Location{{Path: "/var/lib/dpkg/status"}}, Licenses: []string{"GPL-3.0-or-later"}})
	want, _ := ask(r, in, p, now)
	slices.Reverse(p.Packages)
	got, _ := ask(r, in, p, now)
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 3 {
		t.Errorf("%d violations: %s", len(got), diff)
	}
}

// TestOrderOfLabelsDoesNotShow checks that expressions do not see Go's random order of maps.
func TestOrderOfLabelsDoesNotShow(t *testing.T) {
	in := input()
	labels := map[string]string{}
	for i := range 20 {
		labels[fmt.Sprintf("label%02d", i)] = "x"
	}
	in.Platforms[0].Config.Labels = labels
	r := compiled(t, Platform, `true`, `platform.config.labels.map(k, k).join(" ").substring(0, 23)`)
	for range 10 {
		said, _ := ask(r, in, &in.Platforms[0], now)
		if diff := cmp.Diff([]string{"label00 label01 label02"}, said); diff != "" {
			t.Fatal(diff)
		}
	}
}

// TestLongTextOfTheImageIsCut checks that a message is shortened if it quotes a long text.
func TestLongTextOfTheImageIsCut(t *testing.T) {
	in := input()
	in.Platforms[0].Platform = strings.Repeat("é", 10_000)
	r := compiled(t, Platform, `true`, `platform.platform`)
	said, _ := ask(r, in, &in.Platforms[0], now)
	if want := []string{strings.Repeat("é", maxMessage) + "…"}; !slices.Equal(said, want) {
		t.Errorf("%d characters", len([]rune(said[0])))
	}
}

// TestUsesNow checks that UsesNow is true if the condition or the message of a rule reads the time.
func TestUsesNow(t *testing.T) {
	for _, test := range []struct {
		when, message string
		want          bool
	}{
		{`true`, `"now"`, false},
		{`platform.platform == "now"`, ``, false},
		{`now > timestamp("2026-01-01T00:00:00Z")`, ``, true},
		{`now > timestamp("2026-01-01T00:00:00Z")`, `"x"`, true},
		{`true`, `string(now)`, true},
		{`platform.packages.exists(p, [now].size() == 1)`, ``, true},
	} {
		if got := compiled(t, Platform, test.when, test.message).UsesNow(); got != test.want {
			t.Errorf("%s, %s: %v", test.when, test.message, got)
		}
	}
}

// TestRulesAreSharedByGoroutines uses one rule in several goroutines. The race detector checks that
// this is safe.
func TestRulesAreSharedByGoroutines(t *testing.T) {
	packages := compiled(t, Package, `pkg.licenses.exists(l, l.matches("^GPL"))`, `"%s".format([pkg.name])`)
	findings := compiled(t, Finding, `finding.severity >= severity.high`, `string(finding.severity)`)
	in := input()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				if said, _ := ask(packages, in, &in.Platforms[0], now); len(said) != 1 {
					t.Errorf("%v", said)
				}
				for _, s := range ascending {
					matched, _, err := findings.Matches(in, &in.Platforms[0], &evidence.Finding{Severity: s}, now)
					if err != nil || matched != s.AtLeast(evidence.SeverityHigh) {
						t.Errorf("%v: %v, %v", s, matched, err)
					}
				}
			}
		})
	}
	group.Wait()
}
