package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// suiteOf returns a suite with one case that has this evidence and expectation.
func suiteOf(evidence, expect string) string {
	return "version: 1\npolicies: [p.yaml]\ncases:\n  - name: a\n    now: 2026-06-15\n    evidence: " + evidence + "\n    expect: " + expect + "\n"
}

func parsedCase(t *testing.T, evidence, expect string) *Case {
	t.Helper()
	s, err := Parse("s.yaml", []byte(suiteOf(evidence, expect)))
	if err != nil {
		t.Fatal(err)
	}
	return &s.Cases[0]
}

func at(line, column int) policy.Position {
	return policy.Position{File: "dir/s.yaml", Line: line, Column: column}
}

func parsed(t *testing.T, data string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("p.yaml", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	got, err := Parse("dir/s.yaml", []byte(`version: 1
policies: [policy.yaml, ../company.yaml]
cases:
  - name: of a report
    now: 2026-06-15T12:00:00+02:00
    evidence: reports/a.json
    expect: {passed: true, warnings: []}
  - name: another
    now: 2026-06-15
    evidence: b.json
    expect:
      passed: false
      exactly: true
      violations:
        - {rule: no critical, id: CVE-1, package: pkg:npm/*, platform: linux/amd64}
      excepted: [{rule: r}]
      notAffected: [{rule: s}]
`))
	want := &Suite{File: "dir/s.yaml", Policies: []string{"policy.yaml", "../company.yaml"}, Cases: []Case{
		{Position: at(4, 5), Name: "of a report", Now: time.Date(2026, 6, 15, 10, 0, 0, 0, time.UTC),
			EvidenceFile: "reports/a.json", Expect: Expectation{Passed: true, Warnings: []Expected{}}},
		{Position: at(8, 5), Name: "another", Now: time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC),
			EvidenceFile: "b.json", Expect: Expectation{
				Exactly:     true,
				Violations:  []Expected{{at(15, 11), "no critical", "CVE-1", "pkg:npm/*", "linux/amd64"}},
				Excepted:    []Expected{{Position: at(16, 18), Rule: "r"}},
				NotAffected: []Expected{{Position: at(17, 21), Rule: "s"}},
			}},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestParseErrors(t *testing.T) {
	for data, want := range map[string]string{
		"":                                       "s.yaml:1:1: the file is empty",
		"version: 1\n":                           "s.yaml:1:1: the suite has no \"policies\", which is mandatory\ns.yaml:1:1: the suite has no \"cases\", which is mandatory",
		"version: 2\npolicies: [a]\ncases: []\n": "s.yaml:1:10: \"version\": version 2 is not supported: expected 1\ns.yaml:3:8: \"cases\" is empty: a suite has at least one case",
		"version: 1\npolicies: []\ncases: [{}]\n": `s.yaml:2:11: "policies" is empty: no image can pass without a policy
s.yaml:3:9: a case has no "name", which is mandatory
s.yaml:3:9: a case has no "now", which is mandatory
s.yaml:3:9: a case has no "evidence", which is mandatory
s.yaml:3:9: a case has no "expect", which is mandatory`,
		suiteOf("a.json", "{pased: true}"):                                              "s.yaml:7:13: \"expect\" has no \"passed\", which is mandatory\ns.yaml:7:14: unknown key \"pased\" in \"expect\": did you mean \"passed\"?",
		suiteOf("a.json", "{passed: yes}"):                                              `s.yaml:7:22: "passed" is text: expected true or false`,
		suiteOf("a.json", "{passed: True}"):                                             `s.yaml:7:22: "passed": expected true or false`,
		suiteOf("a.json", "{passed: true, exactly: false}"):                             `s.yaml:7:37: "exactly": "false" can only be true: omit the key instead`,
		suiteOf("a.json", "{passed: true, violations: [{rule: a}]}"):                    `s.yaml:7:13: a decision with violations does not pass`,
		suiteOf("a.json", "{passed: false, violations: []}"):                            `s.yaml:7:13: a decision without violations passes`,
		suiteOf("a.json", "{passed: false, violations: [{id: CVE-1}]}"):                 `s.yaml:7:42: an expectation has no "rule", which is mandatory`,
		suiteOf("[a.json]", "{passed: true}"):                                           `s.yaml:6:15: "evidence" is a list: expected the name of a file or a mapping`,
		suiteOf("", "{passed: true}"):                                                   `s.yaml:6:14: "evidence" is empty: expected text`,
		suiteOf("{image: {digset: a}}", "{passed: true}"):                               `s.yaml:6:24: unknown key "digset" in "image": did you mean "digest"?`,
		suiteOf("{database: {built: soon}}", "{passed: true}"):                          `s.yaml:6:34: "built": "soon" is not a date: expected a value such as 2026-12-31 or 2026-12-31T12:00:00Z`,
		suiteOf("{platforms: [{findings: [{severity: hihg}]}]}", "{passed: true}"):      `s.yaml:6:51: "severity": unknown severity "hihg": expected one of unknown, negligible, low, medium, high, critical`,
		suiteOf("{platforms: [{findings: [{fixState: gone}]}]}", "{passed: true}"):      `s.yaml:6:51: "fixState": unknown fix state "gone"`,
		suiteOf("{platforms: [{size: -1}]}", "{passed: true}"):                          `s.yaml:6:35: "size": "-1" is not a plain whole number, zero or more`,
		suiteOf("{platforms: [{packages: [{version: 1.10}]}]}", "{passed: true}"):       `s.yaml:6:50: "version" is a number: expected text in quotes`,
		suiteOf("{platforms: [{config: {labels: {a: 1}}}]}", "{passed: true}"):          `s.yaml:6:50: "a" is a number: expected text in quotes`,
		suiteOf("{platforms: [{config: {labels: [a]}}]}", "{passed: true}"):             `s.yaml:6:46: "labels" is a list: expected a mapping`,
		suiteOf("{platforms: [{findings: [{epss: {score: .inf}}]}]}", "{passed: true}"): `s.yaml:6:55: "score": ".inf" is not a plain decimal number`,
	} {
		s, err := Parse("s.yaml", []byte(data))
		var invalid *policy.ParseError
		if s != nil || !errors.As(err, &invalid) || err.Error() != want {
			t.Errorf("%s\n%v\n%v", data, s, cmp.Diff(want, fmt.Sprint(err)))
		}
	}
	twice := strings.ReplaceAll(suiteOf("a.json", "{passed: true}"), "cases:\n", "cases:\n  - {name: a, now: 2026-06-15, evidence: b, expect: {passed: true}}\n")
	if _, err := Parse("s.yaml", []byte(twice)); err == nil || err.Error() != `s.yaml:5:11: another case on line 4 is named "a"` {
		t.Error(err)
	}
}

// TestSuiteEvidenceHasEveryField checks that a suite can set every field of the JSON form of
// evidence, with the same meaning.
func TestSuiteEvidenceHasEveryField(t *testing.T) {
	var want evidence.Input
	n := 0
	fillEvidence(reflect.ValueOf(&want).Elem(), &n)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, parsedCase(t, string(data), "{passed: true}").Evidence); diff != "" {
		t.Error(diff)
	}
}

// fillEvidence sets every field to a different value.
func fillEvidence(v reflect.Value, n *int) {
	*n++
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		*to = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC).Add(time.Duration(*n) * time.Second)
		return
	case *evidence.Severity:
		*to = evidence.SeverityHigh
		return
	case *evidence.FixState:
		*to = evidence.FixWont
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) / 8)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillEvidence(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fillEvidence(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillEvidence(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b", "c": fmt.Sprint(*n)}))
	default:
		panic(v.Type().String())
	}
}

// TestSuiteEvidenceHasDefaults checks that the defaults of evidence cause no violation, and that
// values in the suite are kept.
func TestSuiteEvidenceHasDefaults(t *testing.T) {
	p := parsed(t, `version: 1
rules:
  - {name: kev, kev: true}
  - {name: likely, epss: {score: 0.9}}
  - {name: high, severity: high, grace: 1d}
sbom: {minPackages: 1}
licenses: [{name: mit, allow: [MIT]}, {name: known, unknown: true}]
image: [{name: user, notRoot: true}, {name: tag, notLatest: true}, {name: new, maxAge: 1d}, {name: small, maxSize: 1GB}, {name: few, maxLayers: 40}]
`)
	for evidence, violations := range map[string]string{
		"{}":                                 "[]",
		"{platforms: [{}]}":                  "[]",
		"{image: {repository: a.example/b}}": "[]",
		"{platforms: []}":                    "[{rule: evidence}]",
		"{image: {digest: ''}}":              "[{rule: evidence}]",
		"{image: {reference: a:latest}}":     "[{rule: tag}]",
		"{database: {built: 2026-06-01}}":    "[{rule: database.maxAge}]",
		"{database: {providers: [{name: epss, captured: 2026-06-15}]}}":                                   "[{rule: kev}]",
		"{platforms: [{packages: []}]}":                                                                   "[{rule: sbom.minPackages}]",
		"{platforms: [{packages: [], distribution: {id: '', version: ''}}]}":                              "[{rule: sbom}, {rule: sbom.minPackages}]",
		"{platforms: [{config: {user: root}}]}":                                                           "[{rule: user}]",
		"{platforms: [{size: 0}]}":                                                                        "[{rule: small}, {rule: few}]",
		"{platforms: [{unknowns: [{path: /a, reason: broken}]}]}":                                         "[{rule: sbom.unknowns}]",
		"{platforms: [{findings: [{id: CVE-1, package: {name: a}}]}]}":                                    "[{rule: likely, id: cve-1}]",
		"{platforms: [{findings: [{id: CVE-1, severity: low, epss: {score: 0.1}, package: {name: a}}]}]}": "[]",
	} {
		expect := "{passed: false, exactly: true, violations: " + violations + "}"
		if violations == "[]" {
			expect = "{passed: true, violations: []}"
		}
		c := parsedCase(t, evidence, expect)
		if got := c.Check(policy.Set{p}, *c.Evidence); len(got) > 0 {
			t.Errorf("%s: %q", evidence, got)
		}
	}
}

func TestCaseCheck(t *testing.T) {
	p := parsed(t, `version: 1
rules:
  - {name: high, severity: high}
  - {name: rest, effect: warn}
packages: [{name: no telnet, deny: "pkg:deb/*/telnet*"}]
vex: {accept: [not_affected], files: true}
exceptions: [{id: CVE-3, reason: r, owner: o, expires: 2030-01-01}]
`)
	const finding = "{id: %s, aliases: [GHSA-%[1]s], severity: %s, package: {name: lodash, version: '4', type: npm, purl: pkg:npm/lodash@4}}"
	evidence := "{platforms: [{findings: [" + fmt.Sprintf(finding, "CVE-1", "high") + ", " + fmt.Sprintf(finding, "CVE-2", "low") + ", " +
		fmt.Sprintf(finding, "CVE-3", "high") + ", " + fmt.Sprintf(finding, "CVE-4", "high") + "], packages: [{name: telnetd, type: deb, purl: pkg:deb/debian/telnetd@1}]}], " +
		"vex: [{id: CVE-4, status: not_affected, products: [pkg:npm/lodash]}]}"
	const high = `rule "high" (p.yaml:3:5), linux/amd64: CVE-1 in lodash 4: severity high, no known fix`
	const telnet = `rule "no telnet" (p.yaml:5:12), linux/amd64: telnetd is denied by the policy`
	for _, tt := range []struct {
		expect string
		want   []string
	}{
		{"{passed: false}", nil},
		{"{passed: false, violations: [{rule: high}]}", nil},
		{"{passed: false, violations: [{rule: high, id: ghsa-cve-1, package: pkg:npm/lodash, platform: linux/amd64}]}", nil},
		{"{passed: false, violations: [{rule: no telnet, package: 'pkg:deb/*/telnet*'}]}", nil},
		{"{passed: false, exactly: true, violations: [{rule: high}, {rule: no telnet}], warnings: [{rule: rest, id: CVE-2}], " +
			"excepted: [{rule: high, id: CVE-3}], notAffected: [{rule: high, id: CVE-4}]}", nil},
		{"{passed: false, exactly: true, warnings: [{rule: rest}]}", nil},
		{"{passed: true}", []string{"the image should pass, but is denied", "violation: " + high, "violation: " + telnet}},
		{"{passed: true, violations: []}", []string{"the image should pass, but is denied", "unexpected violation: " + high, "unexpected violation: " + telnet}},
		{"{passed: false, violations: [{rule: high, id: CVE-2}]}", []string{`no violation of rule "high", id CVE-2, which is expected on line 7`}},
		{"{passed: false, violations: [{rule: high, package: pkg:npm/underscore}]}", []string{`no violation of rule "high", package pkg:npm/underscore, which is expected on line 7`}},
		{"{passed: false, violations: [{rule: high, platform: linux/arm64}]}", []string{`no violation of rule "high", platform linux/arm64, which is expected on line 7`}},
		{"{passed: false, exactly: true, violations: [{rule: high}]}", []string{"unexpected violation: " + telnet}},
		{"{passed: false, warnings: []}", []string{`unexpected warning: rule "rest" (p.yaml:4:5), linux/amd64: CVE-2 in lodash 4: severity low, no known fix`}},
		{"{passed: false, excepted: [], notAffected: []}", []string{
			`unexpected exception in use: rule "high" (p.yaml:3:5), linux/amd64: CVE-3 in lodash 4: severity high, no known fix`,
			`unexpected finding that does not affect it: rule "high" (p.yaml:3:5), linux/amd64: CVE-4 in lodash 4: severity high, no known fix`}},
	} {
		c := parsedCase(t, evidence, tt.expect)
		if diff := cmp.Diff(tt.want, c.Check(policy.Set{p}, *c.Evidence)); diff != "" {
			t.Errorf("%s: %s", tt.expect, diff)
		}
	}
	// An empty set of policies denies every image.
	c := parsedCase(t, "{}", "{passed: true}")
	if got := c.Check(policy.Set{}, *c.Evidence); len(got) == 0 {
		t.Error("it passes without a policy")
	}
	c = parsedCase(t, "{}", "{passed: false}")
	if diff := cmp.Diff([]string{"the image should be denied, but passes"}, c.Check(policy.Set{p}, *c.Evidence)); diff != "" {
		t.Error(diff)
	}
}
