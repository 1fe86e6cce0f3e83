package lint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

const minimal = "version: 1\nrules:\n  - name: all\n"

func parsed(t *testing.T, file, data string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(file, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func linted(t *testing.T, data string) []string {
	t.Helper()
	var lines []string
	for _, problem := range Policy(parsed(t, "p.yaml", data), now) {
		lines = append(lines, problem.String())
	}
	return lines
}

func TestLintExceptions(t *testing.T) {
	const exception = "  - {id: CVE-1, reason: r, owner: o, expires: "
	for expires, want := range map[string]string{
		"2026-06-15T12:00:00Z": `p.yaml:5:5: the exception for "CVE-1" expired on 2026-06-15T12:00:00Z: remove or renew it`,
		"2020-01-01":           `p.yaml:5:5: the exception for "CVE-1" expired on 2020-01-01T00:00:00Z: remove or renew it`,
		"2026-06-15T12:00:01Z": `p.yaml:5:5: the exception for "CVE-1" expires on 2026-06-15T12:00:01Z, within 30d`,
		"2026-07-15T12:00:00Z": `p.yaml:5:5: the exception for "CVE-1" expires on 2026-07-15T12:00:00Z, within 30d`,
		"2026-07-15T12:00:01Z": "",
	} {
		var lines []string
		if want != "" {
			lines = []string{want}
		}
		if diff := cmp.Diff(lines, linted(t, minimal+"exceptions:\n"+exception+expires+"}\n")); diff != "" {
			t.Errorf("%s: %s", expires, diff)
		}
	}
	for image, ok := range map[string]bool{
		"registry.example:5000/team/*": true, "*": true,
		"registry.example/app:1": false, "registry.example/app@sha256:*": false,
	} {
		got := linted(t, minimal+"exceptions:\n"+exception+"2030-01-01, image: \""+image+"\"}\n")
		if ok != (len(got) == 0) {
			t.Errorf("%s: %q", image, got)
		}
	}
}

func TestLintRules(t *testing.T) {
	for _, tt := range []struct {
		name, rules string
		want        []string
	}{
		{"none dead", "  - {name: a, severity: high}\n  - {name: b, severity: medium}\n  - {name: c, severity: low, effect: warn}\n", nil},
		{"same", "  - {name: a, severity: high}\n  - {name: b, severity: high}\n",
			[]string{`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 matches everything that it matches`}},
		{"weaker behind", "  - {name: a}\n  - {name: b, severity: high}\n  - {name: c, fix: available}\n", []string{
			`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 matches everything that it matches`,
			`p.yaml:5:5: rule "c" never fires: rule "a" on line 3 matches everything that it matches`,
		}},
		{"negligible is any", "  - {name: a, severity: negligible}\n  - {name: b}\n",
			[]string{`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 matches everything that it matches`}},
		{"other condition", "  - {name: a, fix: available}\n  - {name: b, fix: unavailable}\n  - {name: c}\n", nil},
		{"a warning before", "  - {name: a, effect: warn}\n  - {name: b, severity: high}\n", nil},
		{"a warning that a later rule blocks", "  - {name: a, effect: warn, severity: high}\n  - {name: b}\n",
			[]string{`p.yaml:3:5: rule "a" never fires: rule "b" on line 4 matches everything that it matches`}},
		{"other conditions", "  - {name: a, kev: true}\n  - {name: b, cvss: 9}\n  - {name: c, epss: {score: 0.1}}\n" +
			"  - {name: d, ids: [CVE-1]}\n  - {name: e, package: {type: npm}}\n", nil},
		{"narrower conditions", "  - {name: a, ids: [CVE-1, CVE-2], cvss: 5, epss: {score: 0.1}}\n" +
			"  - {name: b, ids: [cve-2], cvss: 9, epss: {score: 0.2, percentile: 0.9}, kev: true, package: {name: a}}\n",
			[]string{`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 matches everything that it matches`}},
		{"wider conditions", "  - {name: a, ids: [CVE-1], cvss: 5}\n  - {name: b, ids: [CVE-1, CVE-2], cvss: 5}\n" +
			"  - {name: c, ids: [CVE-1], cvss: 4}\n  - {name: d, cvss: 5}\n", nil},
		{"longer grace behind", "  - {name: a, grace: 1d}\n  - {name: b, grace: 2d}\n",
			[]string{`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 matches everything that it matches`}},
		{"shorter grace behind", "  - {name: a, grace: 2d}\n  - {name: b, grace: 1d}\n", nil},
		{"a grace before a warning", "  - {name: a, grace: 2d}\n  - {name: b, effect: warn}\n",
			[]string{`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 has the same conditions and blocks`}},
		{"a grace for what has none", "  - {name: a, kev: true, grace: 2d}\n",
			[]string{`p.yaml:3:5: rule "a" has a grace period that never applies: known exploited vulnerabilities have no grace period`}},
		{"named behind what may be inherited", "  - {name: a}\n  - {name: b, ids: [CVE-1]}\nbaseline: approved\n", nil},
		{"dead behind dead", "  - {name: a}\n  - {name: b, severity: low}\n  - {name: c, severity: high}\n", []string{
			`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 matches everything that it matches`,
			`p.yaml:5:5: rule "c" never fires: rule "a" on line 3 matches everything that it matches`,
		}},
	} {
		if diff := cmp.Diff(tt.want, linted(t, "version: 1\nrules:\n"+tt.rules)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestLintOfSections(t *testing.T) {
	const unused = "exceptions: [{rule: %s, reason: r, owner: o, expires: 2030-01-01}]\n"
	for section, want := range map[string]string{
		"vex: {files: true}\n":                  `p.yaml:4:1: "vex" removes no findings: it has no "accept"`,
		"vex: {accept: [fixed]}\n":              `p.yaml:4:1: "vex" removes no findings: it has neither "files" nor "signers"`,
		"vex: {accept: [fixed], files: true}\n": "",
		"signers: [{name: a, issuer: i, subject: s}]\nvex: {accept: [fixed], signers: [a]}\n":               "",
		"signers: [{name: a, issuer: i, subject: \"*\"}]\n":                                                 `p.yaml:4:11: signer "a" matches too much: its subject pattern matches everything`,
		strings.Replace(unused, "%s", "all", 1):                                                             `p.yaml:4:14: the exception for rule "all" covers nothing: that rule is about vulnerabilities, which are excepted by id`,
		strings.Replace(unused, "%s", "no telnet", 1):                                                       `p.yaml:4:14: the exception for rule "no telnet" covers nothing: the policy has no such rule`,
		strings.Replace(unused, "%s", "p.yaml", 1):                                                          `p.yaml:4:14: the exception for rule "p.yaml" covers nothing: the policy has no such rule`,
		"images: [{match: a*, rules: [{name: x, effect: warn}]}]\n" + strings.Replace(unused, "%s", "x", 1): `p.yaml:5:14: the exception for rule "x" covers nothing: that rule is about vulnerabilities, which are excepted by id`,
	} {
		got := linted(t, "version: 1\nrules:\n  - {name: all, severity: low}\n"+section)
		if strings.Join(got, "\n") != want {
			t.Errorf("%s: %q", section, got)
		}
	}
}

// TestLintOfLists checks that Policy reports rules and exceptions that add nothing to another one
// or contradict it.
func TestLintOfLists(t *testing.T) {
	const exception = "reason: r, owner: o, expires: "
	for _, tt := range []struct {
		name, sections string
		want           []string
	}{
		{"same conditions", "  - {name: b, severity: low, effect: warn}\n", []string{
			`p.yaml:4:5: rule "b" never fires: rule "a" on line 3 has the same conditions and blocks`}},
		{"required and denied", "packages:\n  - {name: b, require: pkg:deb/debian/curl}\n  - {name: c, deny: 'pkg:deb/*/curl'}\n", []string{
			`p.yaml:5:5: rule "b" requires packages that rule "c" on line 6 denies: no image satisfies both`}},
		{"required and some denied", "packages:\n  - {name: b, require: pkg:deb/debian/curl}\n  - {name: c, deny: pkg:deb/debian/curl@7.*}\n" +
			"  - {name: d, deny: pkg:rpm/*}\n", nil},
		{"required and shown", "packages:\n  - {name: b, require: pkg:deb/debian/curl}\n  - {name: c, deny: pkg:deb/debian/curl, effect: warn}\n", nil},
		{"denied twice", "packages:\n  - {name: b, deny: 'pkg:deb/*'}\n  - {name: c, deny: 'pkg:deb/*/telnet*'}\n  - {name: d, deny: 'pkg:deb/*'}\n" +
			"  - {name: e, minimum: {purl: pkg:deb/debian/openssl, version: '3'}}\n", []string{
			`p.yaml:6:5: rule "c" adds nothing: rule "b" on line 5 matches everything that it matches`,
			`p.yaml:6:5: rule "c" adds nothing: rule "d" on line 7 matches everything that it matches`,
			`p.yaml:7:5: rule "d" adds nothing: rule "b" on line 5 matches everything that it matches`,
			`p.yaml:8:5: rule "e" adds nothing: rule "b" on line 5 matches everything that it matches`,
			`p.yaml:8:5: rule "e" adds nothing: rule "d" on line 7 matches everything that it matches`,
		}},
		{"shown and denied in part", "packages:\n  - {name: b, deny: 'pkg:deb/*', effect: warn}\n  - {name: c, deny: pkg:deb/debian/telnet}\n", nil},
		{"denied, and excepted by one name", "packages:\n  - {name: b, deny: 'pkg:deb/*'}\n  - {name: c, deny: pkg:deb/debian/telnet}\n" +
			"exceptions: [{rule: b, " + exception + "2030-01-01}]\n", nil},
		{"denied, and not everywhere", "packages:\n  - {name: b, deny: 'pkg:deb/*'}\n  - {name: c, deny: pkg:deb/debian/telnet}\n" +
			"images: [{match: x*, packages: [{name: b, deny: pkg:npm/a}]}]\n", nil},
		{"contradicted for some images", "packages:\n  - {name: b, require: pkg:deb/debian/curl}\nimages:\n  - match: x*\n    packages: [{name: c, deny: 'pkg:deb/*'}]\n", []string{
			`p.yaml:5:5: rule "b" requires packages that rule "c" on line 8 denies: no image satisfies both`}},
		{"allowed and denied", "licenses:\n  - {name: b, allow: [MIT, GPL-2.0-only, 'BSD-*']}\n  - {name: c, deny: [mit, 'gpl-*', BSD-3-Clause]}\n", []string{
			`p.yaml:5:5: rule "b" allows "MIT", which rule "c" on line 6 denies`,
			`p.yaml:5:5: rule "b" allows "GPL-2.0-only", which rule "c" on line 6 denies`,
		}},
		{"allowed as a pattern and denied", "licenses:\n  - {name: b, allow: ['BSD-3-*']}\n  - {name: c, deny: ['bsd-*']}\n", []string{
			`p.yaml:5:5: rule "b" allows "BSD-3-*", which rule "c" on line 6 denies`}},
		{"allowed and denied elsewhere", "licenses:\n  - {name: b, allow: [MIT]}\n  - {name: c, deny: [MIT], package: pkg:npm/*}\n" +
			"  - {name: d, deny: [MIT], effect: warn}\n", nil},
		{"allowed and denied there", "licenses:\n  - {name: b, allow: [MIT], package: pkg:npm/a*}\n  - {name: c, deny: [MIT], package: pkg:npm/*}\n", []string{
			`p.yaml:5:5: rule "b" allows "MIT", which rule "c" on line 6 denies`}},
		{"image", "image:\n  - {name: b, maxAge: 30d}\n  - {name: c, maxAge: 90d, effect: warn}\n  - {name: d, notRoot: true}\n  - {name: e, notRoot: true}\n" +
			"  - {name: f, labels: [x, y]}\n  - {name: g, labels: [x]}\n  - {name: h, ports: []}\n  - {name: i, ports: ['80']}\n", []string{
			`p.yaml:6:5: rule "c" adds nothing: rule "b" on line 5 matches everything that it matches`,
			`p.yaml:8:5: rule "e" adds nothing: rule "d" on line 7 matches everything that it matches`,
			`p.yaml:10:5: rule "g" adds nothing: rule "f" on line 9 matches everything that it matches`,
			`p.yaml:12:5: rule "i" adds nothing: rule "h" on line 11 matches everything that it matches`,
		}},
		{"image, early and late", "image:\n  - {name: b, maxAge: 30d, effect: warn}\n  - {name: c, maxAge: 90d}\n  - {name: d, maxSize: 1GB}\n  - {name: e, maxLayers: 3}\n" +
			"  - {name: f, base: [a]}\n  - {name: g, base: [b]}\n", nil},
		{"exceptions", "exceptions:\n  - {id: CVE-1, " + exception + "2030-01-01}\n  - {id: cve-1, package: pkg:npm/a, " + exception + "2029-01-01}\n" +
			"  - {id: CVE-1, image: a*, " + exception + "2031-01-01}\n  - {id: CVE-2, package: pkg:npm/a, " + exception + "2030-01-01}\n" +
			"  - {id: CVE-2, package: 'pkg:npm/*', " + exception + "2030-01-01}\n", []string{
			`p.yaml:6:5: the exception for "cve-1" adds nothing: the exception at p.yaml:5:5 covers as much and expires no earlier`,
			`p.yaml:8:5: the exception for "CVE-2" adds nothing: the exception at p.yaml:9:5 covers as much and expires no earlier`,
		}},
		{"distribution", "distribution: {notAllowed: warn}\n", []string{`p.yaml:4:1: "notAllowed" has no effect without "allow"`}},
		{"distribution of some images", "distribution: {notAllowed: warn}\nimages: [{match: x*, distribution: {allow: [debian 12]}}]\n", nil},
		{"distribution for some images", "images: [{match: x*, distribution: {notAllowed: warn}}]\n", []string{
			`p.yaml:4:22: "notAllowed" has no effect without "allow"`}},
	} {
		if diff := cmp.Diff(tt.want, linted(t, "version: 1\nrules:\n  - {name: a, severity: low}\n"+tt.sections)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestLintOfARepeatedPolicy(t *testing.T) {
	p, other := parsed(t, "p.yaml", minimal), parsed(t, "p.yaml", minimal+"sbom: {minPackages: 1}\n")
	again := *p
	again.File = "again.yaml"
	want := []policy.Problem{{Position: policy.Position{File: "again.yaml"}, Message: `the policy adds nothing: "p.yaml" has the same content`}}
	if diff := cmp.Diff(want, Set(policy.Set{p, other, &again}, now)); diff != "" {
		t.Error(diff)
	}
}

// TestLintedRuleNeverDecides compares Policy with Evaluate for all pairs of rules. Policy must
// report that a rule never fires if, and only if, the rule never decides about a finding.
func TestLintedRuleNeverDecides(t *testing.T) {
	at := func(line int) policy.Position { return policy.Position{File: "p.yaml", Line: line, Column: 1} }
	var rules []policy.Rule
	in := evidence.Input{Platforms: []evidence.Platform{{}}}
	for severity := evidence.SeverityUnknown; severity <= evidence.SeverityCritical; severity++ {
		for _, fix := range []policy.Fixable{policy.FixableAny, policy.FixableYes, policy.FixableNo} {
			for _, effect := range []policy.Effect{policy.Block, policy.Warn} {
				rules = append(rules, policy.Rule{Severity: severity, Fix: fix, Effect: effect})
			}
		}
		in.Platforms[0].Findings = append(in.Platforms[0].Findings,
			evidence.Finding{Severity: severity}, evidence.Finding{Severity: severity, FixState: evidence.FixAvailable})
	}
	for _, a := range rules {
		for _, b := range rules {
			a.Name, a.Position, b.Name, b.Position = "a", at(1), "b", at(2)
			p := &policy.Policy{Rules: []policy.Rule{a, b}}
			want := map[string]bool{"a": true, "b": true}
			d := p.Evaluate(in, now)
			for _, v := range slices.Concat(d.Violations, d.Warnings) {
				if v.Finding != nil {
					delete(want, v.Rule)
				}
			}
			got := map[string]bool{}
			for _, problem := range Policy(p, now) {
				got[map[int]string{1: "a", 2: "b"}[problem.Position.Line]] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%+v and %+v: %s", a, b, diff)
			}
		}
	}
}

func TestLintWithoutPolicy(t *testing.T) {
	if got := Policy(nil, time.Time{}); got != nil {
		t.Errorf("%v", got)
	}
}

func TestLintOfUnmatchedImages(t *testing.T) {
	got := linted(t, "version: 1\nrules: [{name: all}]\nunmatchedImages: deny\n")
	if want := []string{`p.yaml: "unmatchedImages: deny" denies every image: the policy has no "images"`}; !cmp.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestLintScopes(t *testing.T) {
	got := linted(t, `version: 1
rules:
  - name: high
    severity: high
  - name: medium
    severity: medium
images:
  - match: [GHCR.io/a, "b:*", "docker-archive:builds/*"]
    rules:
      - {name: critical, severity: critical}
      - {name: low, severity: low}
    exceptions:
      - {id: CVE-1, reason: r, owner: o, expires: 2026-01-01}
`)
	want := []string{
		`p.yaml:8:5: the scope has the pattern "GHCR.io/a", whose canonical form is "ghcr.io/a": write that form`,
		`p.yaml:8:5: the scope has a tag or digest in its pattern "b:*", but only the repository is compared: write "docker.io/library/b"`,
		`p.yaml:10:9: rule "critical" never fires: rule "high" on line 3 matches everything that it matches`,
		`p.yaml:13:9: the exception for "CVE-1" expired on 2026-01-01T00:00:00Z: remove or renew it`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func withExceptions(keys ...string) string {
	data := minimal + "exceptions:\n"
	for _, k := range keys {
		data += "  - {" + k + ", reason: r, owner: o, expires: 2030-01-01}\n"
	}
	return data
}

func TestLintExceptionsForGaps(t *testing.T) {
	for keys, want := range map[string]string{
		"rule: sbom.unknowns":                       "",
		"rule: distribution.notCovered":             "",
		"rule: database.minAdvisories":              "",
		"rule: distribution.endOfLife":              "",
		"rule: database.maxAge, package: pkg:npm/*": "that rule is not about packages",
		"rule: evidence":                            "no exception covers that built-in rule",
		"rule: exceptions.maxLifetime":              "no exception covers that built-in rule",
		"rule: unmatchedImages":                     "no exception covers that built-in rule",
	} {
		got := linted(t, withExceptions(keys))
		if (want == "") != (len(got) == 0) || want != "" && !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %q", keys, got, want)
		}
	}
	got := linted(t, withExceptions("rule: sbom.unknowns, path: /a", "rule: sbom.unknowns, path: /b"))
	if len(got) > 0 {
		t.Errorf("two paths: %q", got)
	}
	if got := linted(t, withExceptions("rule: sbom.unknowns", "rule: sbom.unknowns, path: /b")); len(got) != 1 {
		t.Errorf("one that adds nothing: %q", got)
	}
}

// TestLintOfASet checks that the problems of all policies are sorted, and that a nil policy has no
// problems.
func TestLintOfASet(t *testing.T) {
	const exceptions = "exceptions: [{id: CVE-1, reason: r, owner: o, expires: 2026-06-20}]\n"
	a, b := parsed(t, "a.yaml", minimal+exceptions), parsed(t, "b.yaml", minimal+exceptions+"# b\n")
	got := Set(policy.Set{b, a, nil}, now)
	if len(got) != 2 || got[0].Position.File != "a.yaml" || got[1].Position.File != "b.yaml" {
		t.Errorf("%v", got)
	}
}

// FuzzPolicy checks that Policy does not fail for any policy that Parse accepts.
func FuzzPolicy(f *testing.F) {
	files, err := filepath.Glob("../../examples/policies/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse("p.yaml", data)
		if err != nil {
			return
		}
		for _, problem := range Policy(p, now) {
			if problem.Message == "" || problem.Position.File != "p.yaml" {
				t.Errorf("%+v", problem)
			}
		}
	})
}
