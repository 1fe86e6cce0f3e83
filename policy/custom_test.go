package policy

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

// parseCustom reads the custom rules of a policy that has no other sections.
func parseCustom(source string) ([]CustomRule, error) {
	d := &decoder{file: "policy.yaml"}
	rules := []CustomRule{}
	if root := d.document([]byte(source)); root != nil {
		d.mapping(root, "the policy", optional("custom", d.custom(&rules, map[string]int{})))
	}
	return rules, d.err()
}

// customRule creates one rule. An empty message is left out.
func customRule(t testing.TB, each Each, effect Effect, when, message string) *CustomRule {
	t.Helper()
	block := func(s string) string { return "|-\n      " + strings.ReplaceAll(s, "\n", "\n      ") + "\n" }
	source := fmt.Sprintf("custom:\n  - name: a rule\n    each: %s\n    effect: %s\n    when: %s", each, effect, block(when))
	if message != "" {
		source += "    message: " + block(message)
	}
	rules, err := parseCustom(source)
	if err != nil {
		t.Fatalf("%s\n%v", source, err)
	}
	return &rules[0]
}

// customInput returns the evidence of these tests: one platform with two packages.
func customInput() *evidence.Input {
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

// TestCustomRule judges customInput against rules about its packages and its platform.
func TestCustomRule(t *testing.T) {
	for _, test := range []struct {
		each          Each
		when, message string
		want          []string
	}{
		{EachPackage, `pkg.name == "telnetd" && platform.distribution.id == "debian"`, `"telnet server " + pkg.version`,
			[]string{"telnetd 0.17: telnet server 0.17"}},
		{EachPackage, `pkg.type == "deb"`, ``,
			[]string{`bash 5.2: matched by the rule "a rule"`, `telnetd 0.17: matched by the rule "a rule"`}},
		{EachPackage, `pkg.licenses.exists(l, l.startsWith("GPL-"))`, `pkg.licenses.join(" and ")`,
			[]string{"telnetd 0.17: GPL-2.0-only and MIT"}},
		{EachPackage, `"MIT" in pkg.licenses`, `pkg.licenses[1]`, []string{"telnetd 0.17: MIT"}},
		{EachPackage, `has(pkg.licenses)`, `string(size(pkg.licenses))`, []string{"telnetd 0.17: 2"}},
		{EachPackage, `!has(pkg.licenses)`, `"unlicensed"`, []string{"bash 5.2: unlicensed"}},
		{EachPackage, `(pkg.licenses + ["Apache-2.0"]).size() == 3`, ``, []string{`telnetd 0.17: matched by the rule "a rule"`}},
		{EachPackage, `pkg.licenses == ["GPL-2.0-only", "MIT"]`, ``, []string{`telnetd 0.17: matched by the rule "a rule"`}},
		{EachPackage, `pkg.locations.exists(l, l.path == "/var/lib/dpkg/status")`, ``, []string{`bash 5.2: matched by the rule "a rule"`}},
		{EachPackage, `pkg.purl.matches("^pkg:deb/[a-z]+/bash@")`, ``, []string{`bash 5.2: matched by the rule "a rule"`}},
		{EachPackage, `pkg.name == "absent"`, ``, nil},
		{EachPlatform, `platform.packages.size() == 2`, `"two packages on " + platform.platform`, []string{"two packages on linux/amd64"}},
		{EachPlatform, `platform.packages.filter(p, p.version.startsWith("0.")).map(p, p.name) == ["telnetd"]`, ``, []string{`matched by the rule "a rule"`}},
		{EachPlatform, `platform.config.user == "root"`, `"runs as root"`, []string{"runs as root"}},
		{EachPlatform, `platform.config.labels["owner"] == "payments"`, ``, []string{`matched by the rule "a rule"`}},
		{EachPlatform, `platform.config.labels.map(k, k)[0] == "owner"`, ``, []string{`matched by the rule "a rule"`}},
		{EachPlatform, `!("maintainer" in platform.config.labels)`, `"no maintainer"`, []string{"no maintainer"}},
		{EachPlatform, `platform.distribution.endOfLife - now < duration("2400h")`, `"ends on " + string(platform.distribution.endOfLife)`,
			[]string{"ends on 2026-09-13T12:00:00Z"}},
		{EachPlatform, `now.getFullYear() == 2026 && now.getHours() == 12`, ``, []string{`matched by the rule "a rule"`}},
		{EachPlatform, `has(platform.base)`, ``, nil},
		{EachPlatform, `image.repository.startsWith("registry.example/team/")`, `image.digest`, []string{"sha256:aa"}},
		{EachPlatform, `platform.size < 1001`, `"only %d bytes".format([platform.size])`, []string{"only 1000 bytes"}},
		{EachPlatform, `true`, `" "`, []string{`matched by the rule "a rule"`}},
	} {
		in := customInput()
		for _, effect := range []Effect{Block, Warn} {
			r := customRule(t, test.each, effect, test.when, test.message)
			denied, warned := messagesOf(r, in, &in.Platforms[0], now)
			got, other := denied, warned
			if effect == Warn {
				got, other = warned, denied
			}
			if len(other) > 0 {
				t.Errorf("%s: a rule to %s: %v", test.when, effect, other)
			}
			if diff := cmp.Diff(test.want, messages(got)); diff != "" {
				t.Errorf("%s: %s", test.when, diff)
			}
			for _, v := range got {
				v.Message = ""
				want := Violation{Kind: KindCustom, Rule: "a rule", Position: Position{File: "policy.yaml", Line: 2, Column: 5}, Platform: "linux/amd64"}
				if diff := cmp.Diff(want, v); diff != "" {
					t.Errorf("%s: %s", test.when, diff)
				}
			}
		}
	}
}

// said returns the messages of r that deny and those that warn.
func messagesOf(r *CustomRule, in *evidence.Input, p *evidence.Platform, now time.Time) (denied, warned []Violation) {
	r.evaluate(in, p, now, func(_ *evidence.Package, message string, err error) {
		v := Violation{Kind: KindCustom, Rule: r.Name, Position: r.Position, Platform: p.Platform, Message: message}
		if r.Effect == Warn && err == nil {
			warned = append(warned, v)
		} else {
			denied = append(denied, v)
		}
	})
	return denied, warned
}

func messages(violations []Violation) []string {
	var out []string
	for _, v := range violations {
		out = append(out, v.Message)
	}
	return out
}

// TestCustomRuleAboutFindings applies rules to one finding.
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
		{`finding.severity < severity.medium`, ``, true, `matched by the rule "a rule"`}, // true at the severity low
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
		in := customInput()
		r := customRule(t, EachFinding, Block, test.when, test.message)
		matched, message, err := r.matches(in, &in.Platforms[0], &finding, now)
		if err != nil || matched != test.matched || message != test.want {
			t.Errorf("%s: %v, %q, %v", test.when, matched, message, err)
		}
		if denied, warned := messagesOf(r, in, &in.Platforms[0], now); len(denied)+len(warned) > 0 {
			t.Errorf("%s: %v, %v without a finding", test.when, denied, warned)
		}
	}
}

// TestUnevaluatedRuleDoesNotPass checks that a rule that cannot be evaluated blocks, even if its
// effect is to warn.
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
			long[:maxName] + `…: the rule "a rule" could not be evaluated, which blocks: it costs more than an expression may`},
		{"message", `true`, `pkg.licenses[7]`, nil,
			`telnetd 0.17: the rule "a rule" could not be evaluated, which blocks: its message: "index out of bounds: 7"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := customInput()
			p := &in.Platforms[0]
			p.Packages = p.Packages[:1]
			if test.change != nil {
				test.change(p)
			}
			r := customRule(t, EachPackage, Warn, test.when, test.message)
			denied, warned := messagesOf(r, in, p, now)
			if len(warned) > 0 {
				t.Errorf("it only warns: %v", warned)
			}
			if diff := cmp.Diff([]string{test.want}, messages(denied)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMissingScoreIsNotZero checks that reading a missing score is an error, and not a low score.
func TestMissingScoreIsNotZero(t *testing.T) {
	in := customInput()
	finding := evidence.Finding{ID: "CVE-2026-1", Severity: evidence.SeverityHigh}
	r := customRule(t, EachFinding, Warn, `finding.epss.score > 0.5`, ``)
	matched, message, err := r.matches(in, &in.Platforms[0], &finding, now)
	if !matched || err == nil || !strings.Contains(message, "could not be evaluated, which blocks") {
		t.Errorf("%v, %q, %v", matched, message, err)
	}
	r = customRule(t, EachFinding, Warn, `!has(finding.epss) || finding.epss.score > 0.5`, ``)
	if matched, _, err := r.matches(in, &in.Platforms[0], &finding, now); !matched || err != nil {
		t.Errorf("%v, %v", matched, err)
	}
	finding.EPSS = &evidence.EPSS{Score: 0}
	if matched, _, err := r.matches(in, &in.Platforms[0], &finding, now); matched || err != nil {
		t.Errorf("a score of 0: %v, %v", matched, err)
	}
}

// TestUncompiledRuleDoesNotPass checks the zero value and a rule that Parse did not make.
func TestUncompiledRuleDoesNotPass(t *testing.T) {
	in := customInput()
	for _, r := range []CustomRule{{}, {Name: "x", Effect: Warn, Each: EachFinding, When: "false"}, {Each: EachPlatform, When: "false"}} {
		if denied, warned := messagesOf(&r, in, &in.Platforms[0], now); len(denied) != 1 || len(warned) != 0 {
			t.Errorf("%v: %v, %v", r, denied, warned)
		}
		if matched, _, err := r.matches(in, &in.Platforms[0], &evidence.Finding{}, now); !matched || err == nil {
			t.Errorf("%v: %v, %v", r, matched, err)
		}
		if !r.usesNow() {
			t.Errorf("%v: what it says may be reused", r)
		}
	}
	r := customRule(t, EachPackage, Warn, `false`, ``)
	if matched, _, err := r.matches(in, &in.Platforms[0], &evidence.Finding{}, now); !matched || err == nil {
		t.Errorf("asked about a finding, a rule about packages says %v, %v", matched, err)
	}
	r.Each = ""
	if denied, _ := messagesOf(r, in, &in.Platforms[0], now); len(denied) != 1 {
		t.Errorf("a rule about nothing says %v", denied)
	}
}

// TestUnknownSeverityIsNotLowToCustomRules checks that a rule matches a finding of unknown severity
// if it would match at any severity.
func TestUnknownSeverityIsNotLowToCustomRules(t *testing.T) {
	in := customInput()
	for _, s := range []evidence.Severity{evidence.SeverityUnknown, evidence.SeverityCritical + 1, 255} {
		for _, when := range []string{
			`finding.severity >= severity.critical`,
			`finding.severity == severity.critical`,
			`finding.severity == severity.low`,
			`finding.severity < severity.low`,
			`finding.severity == severity.unknown`,
			`finding.severity > severity.critical`,
		} {
			r := customRule(t, EachFinding, Block, when, `string(finding.severity)`)
			matched, message, err := r.matches(in, &in.Platforms[0], &evidence.Finding{Severity: s}, now)
			if !matched || err != nil || message != "unknown" {
				t.Errorf("%s at %v: %v, %q, %v", when, s, matched, message, err)
			}
		}
	}
}

// TestFindingsDoNotChangeOtherRules checks that the number of findings does not change the results
// of rules about packages and platforms.
func TestFindingsDoNotChangeOtherRules(t *testing.T) {
	for _, r := range []*CustomRule{
		customRule(t, EachPackage, Block, `pkg.type == "deb"`, `pkg.name`),
		customRule(t, EachPlatform, Block, `platform.packages.size() > 0`, ``),
	} {
		in := customInput()
		before, _ := messagesOf(r, in, &in.Platforms[0], now)
		in.Platforms[0].Findings = []evidence.Finding{{ID: "CVE-2026-1"}}
		in.Platforms[0].Suppressed = []evidence.Suppressed{{Finding: evidence.Finding{ID: "CVE-2026-2"}}}
		after, _ := messagesOf(r, in, &in.Platforms[0], now)
		if diff := cmp.Diff(before, after); diff != "" || len(before) == 0 {
			t.Errorf("%d violations: %s", len(before), diff)
		}
	}
}

// TestOrderOfPackagesDoesNotShow checks that violations are in the order of the packages' names.
func TestOrderOfPackagesDoesNotShow(t *testing.T) {
	r := customRule(t, EachPackage, Block, `true`, `pkg.licenses.join(",")`)
	in := customInput()
	p := &in.Platforms[0]
	p.Packages = append(p.Packages, evidence.Package{Name: "bash", Version: "5.2", Type: "deb", PURL: "pkg:deb/debian/bash@5.2",
		Found: []evidence.Location{{Path: "/var/lib/dpkg/status"}}, Licenses: []string{"GPL-3.0-or-later"}})
	want, _ := messagesOf(r, in, p, now)
	slices.Reverse(p.Packages)
	got, _ := messagesOf(r, in, p, now)
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 3 {
		t.Errorf("%d violations: %s", len(got), diff)
	}
}

// TestOrderOfLabelsDoesNotShow checks that expressions do not see Go's random order of maps.
func TestOrderOfLabelsDoesNotShow(t *testing.T) {
	in := customInput()
	labels := map[string]string{}
	for i := range 20 {
		labels[fmt.Sprintf("label%02d", i)] = "x"
	}
	in.Platforms[0].Config.Labels = labels
	r := customRule(t, EachPlatform, Block, `true`, `platform.config.labels.map(k, k).join(" ").substring(0, 23)`)
	for range 10 {
		denied, _ := messagesOf(r, in, &in.Platforms[0], now)
		if diff := cmp.Diff([]string{"label00 label01 label02"}, messages(denied)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// TestLongTextOfTheImageIsCut checks that a message is shortened if it quotes a long text.
func TestLongTextOfTheImageIsCut(t *testing.T) {
	in := customInput()
	in.Platforms[0].Platform = strings.Repeat("é", 10_000)
	r := customRule(t, EachPlatform, Block, `true`, `platform.platform`)
	denied, _ := messagesOf(r, in, &in.Platforms[0], now)
	if want := []string{strings.Repeat("é", maxMessage) + "…"}; !slices.Equal(messages(denied), want) {
		t.Errorf("%d characters", len([]rune(denied[0].Message)))
	}
}

// TestUsesNow checks that a rule that reads the time in either expression reports it.
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
		if got := customRule(t, EachPlatform, Block, test.when, test.message).usesNow(); got != test.want {
			t.Errorf("%s, %s: %v", test.when, test.message, got)
		}
	}
}

// TestCustomRulesCompare checks that rules can be compared, although compiled expressions cannot.
func TestCustomRulesCompare(t *testing.T) {
	const source = "custom:\n  - name: x\n    each: package\n    when: pkg.name == 'a'\n"
	a, err := parseCustom(source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := parseCustom(source)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	want := []CustomRule{{Name: "x", Position: Position{"policy.yaml", 2, 5}, Each: EachPackage, When: "pkg.name == 'a'"}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	for _, change := range []func(*CustomRule){
		func(r *CustomRule) { r.Name = "y" },
		func(r *CustomRule) { r.Position.Line++ },
		func(r *CustomRule) { r.Effect = Warn },
		func(r *CustomRule) { r.Each = EachPlatform },
		func(r *CustomRule) { r.When = "pkg.name == 'b'" },
		func(r *CustomRule) { r.Message = "''" },
	} {
		other := b[0]
		change(&other)
		if cmp.Equal(a[0], other) {
			t.Errorf("%v equals %v", a[0], other)
		}
	}
}

// TestRulesAreSharedByGoroutines uses one rule in several goroutines, for the race detector.
func TestRulesAreSharedByGoroutines(t *testing.T) {
	packages := customRule(t, EachPackage, Block, `pkg.licenses.exists(l, l.matches("^GPL"))`, `"%s".format([pkg.name])`)
	findings := customRule(t, EachFinding, Block, `finding.severity >= severity.high`, `string(finding.severity)`)
	in := customInput()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				if denied, _ := messagesOf(packages, in, &in.Platforms[0], now); len(denied) != 1 {
					t.Errorf("%v", denied)
				}
				for _, s := range ascending {
					matched, _, err := findings.matches(in, &in.Platforms[0], &evidence.Finding{Severity: s}, now)
					if err != nil || matched != s.AtLeast(evidence.SeverityHigh) {
						t.Errorf("%v: %v, %v", s, matched, err)
					}
				}
			}
		})
	}
	group.Wait()
}
