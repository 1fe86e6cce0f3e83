package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

const fullPolicy = `version: 1
database:
  maxAge: 1w2d
distribution:
  endOfLife: warn
  notCovered: block
sbom:
  unknowns: warn
  minPackages: 3
rules:
  - name: fixable
    effect: block
    severity: high
    fix: available
  - name: rest
    effect: warn
exceptions:
  - id: CVE-2024-0001
    package: pkg:npm/lodash@*
    image: registry.example/team/*
    reason: |
      not reachable:
      only the tests use it
    owner: team-a
    expires: 2026-12-31
  - id: GHSA-xxxx-yyyy-zzzz
    reason: x
    owner: y
    expires: "2026-12-31T12:00:00+02:00"
`

// minimal is a valid policy. Tests append sections to it.
const minimal = "version: 1\nrules:\n  - name: all\n"

func at(line, column int) Position { return Position{File: "p.yaml", Line: line, Column: column} }

func TestParse(t *testing.T) {
	got, err := Parse("p.yaml", []byte(fullPolicy))
	if err != nil {
		t.Fatal(err)
	}
	want := &Policy{
		File:         "p.yaml",
		Digest:       got.Digest,
		Database:     DatabaseRule{Position: at(2, 1), MaxAge: 9 * 24 * time.Hour},
		Distribution: DistributionRule{Position: at(4, 1), EndOfLife: Warn, NotCovered: CoverageEffects{}},
		SBOM:         SBOMRule{Position: at(7, 1), Unknowns: warnUnknowns, MinPackages: 3},
		Rules: []Rule{
			{Name: "fixable", Position: at(11, 5), Severity: evidence.SeverityHigh, Fix: FixableYes},
			{Name: "rest", Position: at(15, 5), Effect: Warn},
		},
		Exceptions: []Exception{
			{
				Position: at(18, 5), ID: "CVE-2024-0001", Package: "pkg:npm/lodash@*", Image: "registry.example/team/*",
				Reason: "not reachable:\nonly the tests use it", Owner: "team-a",
				Expires: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC),
			},
			{
				Position: at(26, 5), ID: "GHSA-xxxx-yyyy-zzzz", Reason: "x", Owner: "y",
				Expires: time.Date(2026, 12, 31, 10, 0, 0, 0, time.UTC),
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(got.Digest) != len("sha256:")+64 || !strings.HasPrefix(got.Digest, "sha256:") {
		t.Errorf("digest %q", got.Digest)
	}
	other, err := Parse("p.yaml", []byte(fullPolicy+"# changed\n"))
	if err != nil {
		t.Fatal(err)
	}
	if other.Digest == got.Digest {
		t.Error("two files have the same digest")
	}
}

func TestParseDefaultsAreStrict(t *testing.T) {
	got, err := Parse("p.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := &Policy{
		File: "p.yaml", Digest: got.Digest,
		Rules:      []Rule{{Name: "all", Position: at(3, 5), Effect: Block, Severity: evidence.SeverityUnknown, Fix: FixableAny}},
		Database:   DatabaseRule{MaxAge: 120 * time.Hour},
		Exceptions: []Exception{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// problems parses data, which must be invalid, and returns the lines of the error message.
func problems(t *testing.T, data string) []string {
	t.Helper()
	p, err := Parse("p.yaml", []byte(data))
	if p != nil {
		t.Errorf("a policy together with the error %v", err)
	}
	if err == nil {
		t.Fatalf("no error for\n%s", data)
	}
	var parseErr *ParseError
	if !errors.As(err, &parseErr) || len(parseErr.Problems) == 0 {
		t.Fatalf("not a ParseError with problems: %#v", err)
	}
	return strings.Split(err.Error(), "\n")
}

func TestParseErrors(t *testing.T) {
	const rule = "rules:\n  - name: all\n"
	const exception = minimal + "exceptions:\n  - id: CVE-1\n    reason: r\n    owner: o\n"
	tests := []struct {
		name, data string
		want       []string
	}{
		{"empty", "", []string{"1:1: the file is empty: no image can pass without a policy"}},
		{"only a comment", "# nothing\n", []string{"1:1: the file is empty: no image can pass without a policy"}},
		{"null", "---\n~\n", []string{"2:1: the file is empty: no image can pass without a policy"}},
		{"second document", minimal + "---\nversion: 1\n", []string{"4:1: a second document: expected one document in a file"}},
		{"empty second document", minimal + "---\n", []string{"4:1: a second document: expected one document in a file"}},
		{"a list", "- a\n", []string{"1:1: the policy is a list: expected a mapping"}},
		{"text", "hello\n", []string{"1:1: the policy is text: expected a mapping"}},
		{"nothing mandatory", "sbom: {}\n", []string{
			`1:1: the policy has no "version", which is mandatory`,
			`1:1: the policy has no "rules", which is mandatory`,
		}},
		{"no rules", "version: 1\nrules: []\n", []string{`2:8: "rules" is empty: a policy has at least one rule`}},
		{"null rules", "version: 1\nrules:\n", []string{`2:7: "rules" is empty: expected a list`}},
		{"null exceptions", minimal + "exceptions:\n", []string{`4:12: "exceptions" is empty: expected a list`}},

		{"version 2", "version: 2\n" + rule, []string{`1:10: "version": version 2 is not supported: expected 1`}},
		{"version as text", "version: \"1\"\n" + rule, []string{`1:10: "version" is text: expected a whole number`}},
		{"version as fraction", "version: 1.0\n" + rule, []string{`1:10: "version" is a number: expected a whole number`}},
		{"version in octal", "version: 01\n" + rule, []string{`1:10: "version": "01" is not a plain whole number, zero or more`}},

		{"unknown key", minimal + "colour: red\n",
			[]string{`4:1: unknown key "colour" in the policy: expected one of version, unmatchedImages, database, distribution, sbom, provenance, rules, licenses, packages, image, custom, baseline, baselineMaxAge, copyAttestations, vex, exceptions, images, signers, override, name, decision`}},
		{"misspelt key", minimal + "exeptions: []\n",
			[]string{`4:1: unknown key "exeptions" in the policy: did you mean "exceptions"?`}},
		{"misspelt case", minimal + "database:\n  maxage: 1d\n",
			[]string{`5:3: unknown key "maxage" in "database": did you mean "maxAge"?`}},
		{"misspelt in a rule", minimal + "    severty: high\n",
			[]string{`4:5: unknown key "severty" in a rule: did you mean "severity"?`}},
		{"duplicate key", minimal + "version: 1\n", []string{`4:1: duplicate key "version", first on line 1`}},
		{"duplicate key in a rule", minimal + "    effect: block\n    effect: warn\n",
			[]string{`5:5: duplicate key "effect", first on line 4`}},
		{"key that is a list", minimal + "? [a]\n: b\n", []string{`4:3: a list is not a key: expected text`}},

		{"anchor and alias", "version: 1\nrules:\n  - &a\n    name: x\n  - *a\n", []string{
			`3:5: anchor "a": anchors and aliases are not allowed, write the value out`,
			`5:5: alias "a": anchors and aliases are not allowed, write the value out`,
		}},
		{"merge key", "version: 1\nrules:\n  - &a {name: x}\n  - <<: *a\n    name: y\n", []string{
			`3:5: anchor "a": anchors and aliases are not allowed, write the value out`,
			`4:5: merge key "<<": merge keys are not allowed, write the keys out`,
			`4:9: alias "a": anchors and aliases are not allowed, write the value out`,
		}},
		{"alias as a key", "version: &v 1\n*v : 1\n" + rule, []string{
			`1:10: anchor "v": anchors and aliases are not allowed, write the value out`,
			`2:1: alias "v": anchors and aliases are not allowed, write the value out`,
		}},
		{"alias without anchor", "version: 1\nrules: *x\n",
			[]string{`2:8: alias "x": anchors and aliases are not allowed, write the value out`}},
		{"tag", "version: !!int \"1\"\n" + rule, []string{`1:10: tag "!!int": tags are not allowed`}},
		{"tag on a list", "version: 1\nrules: !!seq\n  - name: x\n", []string{`2:8: tag "!!seq": tags are not allowed`}},

		{"rule as text", "version: 1\nrules:\n  - high\n", []string{`3:5: a rule is text: expected a mapping`}},
		{"rules as mapping", "version: 1\nrules:\n  name: x\n", []string{`3:3: "rules" is a mapping: expected a list`}},
		{"rule without name", "version: 1\nrules:\n  - effect: warn\n", []string{`3:5: a rule has no "name", which is mandatory`}},
		{"null name", "version: 1\nrules:\n  - name:\n", []string{`3:10: "name" is empty: expected text`}},
		{"number as name", "version: 1\nrules:\n  - name: 7\n", []string{`3:11: "name" is a number: expected text in quotes`}},
		{"boolean as name", "version: 1\nrules:\n  - name: true\n", []string{`3:11: "name" is a boolean: expected text in quotes`}},
		{"blank name", "version: 1\nrules:\n  - name: \"  \"\n", []string{`3:11: "name": is blank`}},
		{"name with a line break", "version: 1\nrules:\n  - name: \"a\\nb\"\n",
			[]string{`3:11: "name": contains a line break or a control character`}},
		{"duplicate rule", minimal + "  - name: all\n", []string{`4:11: another rule on line 3 is named "all"`}},
		{"duplicate rule but for space", minimal + "  - name: \" all\"\n", []string{`4:11: another rule on line 3 is named "all"`}},

		{"bad severity", minimal + "    severity: hihg\n",
			[]string{`4:15: "severity": unknown severity "hihg": expected one of unknown, negligible, low, medium, high, critical`}},
		{"unknown as severity", minimal + "    severity: unknown\n",
			[]string{`4:15: "severity": "unknown" is not a minimum: findings of unknown severity match every minimum; omit the key to match all`}},
		{"list of severities", minimal + "    severity: [high, critical]\n", []string{`4:15: "severity" is a list: expected a severity`}},
		{"bad effect", minimal + "    effect: deny\n", []string{`4:13: "effect": unknown effect "deny": expected block or warn`}},
		{"effect in another case", minimal + "    effect: Block\n", []string{`4:13: "effect": unknown effect "Block": expected block or warn`}},
		{"boolean as effect", minimal + "    effect: false\n", []string{`4:13: "effect" is a boolean: expected block or warn`}},
		{"bad fix", minimal + "    fix: \"yes\"\n", []string{`4:10: "fix": unknown fix condition "yes": expected available or unavailable`}},
		{"empty fix", minimal + "    fix: \"\"\n", []string{`4:10: "fix": unknown fix condition "": expected available or unavailable`}},

		{"null section", minimal + "database:\n", []string{`4:10: "database" is empty: expected a mapping`}},
		{"age without unit", minimal + "database:\n  maxAge: 5\n",
			[]string{`5:11: "maxAge" is a number: expected a duration with a unit, such as 5d`}},
		{"bad age", minimal + "database:\n  maxAge: 5 days\n",
			[]string{`5:11: "maxAge": "5 days" is not a duration: expected a value such as 36h, 5d or 1w2d`}},
		{"no age", minimal + "database:\n  maxAge: 0h\n", []string{`5:11: "maxAge": "0h" is not more than zero`}},
		{"bad section effects", minimal + "distribution:\n  endOfLife: allow\n  notCovered: ignore\nsbom:\n  unknowns: pass\n", []string{
			`5:14: "endOfLife": unknown effect "allow": expected block or warn`,
			`6:15: "notCovered": unknown effect "ignore": expected block or warn`,
			`8:13: "unknowns": unknown effect "pass": expected block or warn`,
		}},
		{"negative count", minimal + "sbom:\n  minPackages: -1\n",
			[]string{`5:16: "minPackages": "-1" is not a plain whole number, zero or more`}},
		{"endless count", minimal + "sbom:\n  minPackages: 9999999999999999999\n",
			[]string{`5:16: "minPackages": "9999999999999999999" is not a plain whole number, zero or more`}},

		{"empty exception", minimal + "exceptions:\n  - {}\n", []string{
			`5:5: an exception has no "reason", which is mandatory`,
			`5:5: an exception has no "owner", which is mandatory`,
			`5:5: an exception has no "expires", which is mandatory`,
			`5:5: an exception has 0 of the keys id, rule: expected exactly one`,
		}},
		{"bad date", exception + "    expires: 2026-02-30\n",
			[]string{`8:14: "expires": "2026-02-30" is not a date: expected a value such as 2026-12-31 or 2026-12-31T12:00:00Z`}},
		{"never", exception + "    expires: never\n",
			[]string{`8:14: "expires": "never" is not a date: expected a value such as 2026-12-31 or 2026-12-31T12:00:00Z`}},
		{"year", exception + "    expires: 2026\n", []string{`8:14: "expires" is a number: expected a date, such as 2026-12-31`}},
		{"null expiry", exception + "    expires: null\n", []string{`8:14: "expires" is empty: expected a date, such as 2026-12-31`}},
		{"any id", minimal + "exceptions:\n  - {id: \"*\", reason: r, owner: o, expires: 2026-12-31}\n",
			[]string{`5:10: "id": "*" is not the id of one vulnerability`}},
		{"blank reason and owner", minimal + "exceptions:\n  - {id: a, reason: \" \", owner: \"\", expires: 2026-12-31}\n",
			[]string{`5:21: "reason": is blank`, `5:33: "owner": is blank`}},
		{"package name as pattern", exception + "    expires: 2026-12-31\n    package: lodash\n",
			[]string{`9:14: "package": pattern "lodash" matches no package URL: a package URL begins with "pkg:"`}},
		{"package without version", exception + "    expires: 2026-12-31\n    package: pkg:npm/lodash@\n",
			[]string{`9:14: "package": has no version after "@": omit the "@" to match any version`}},
		{"question mark as wildcard", exception + "    expires: 2026-12-31\n    package: pkg:npm/lodas?\n",
			[]string{`9:14: "package": has no key=value after "?": in a package URL, "?" begins the qualifiers and is not a wildcard`}},

		{"all at once, sorted", "rules:\n  - name: a\n    effect: no\n  - severity: bad\nverison: 1\n", []string{
			`1:1: the policy has no "version", which is mandatory`,
			`3:13: "effect": unknown effect "no": expected block or warn`,
			`4:5: a rule has no "name", which is mandatory`,
			`4:15: "severity": unknown severity "bad": expected one of unknown, negligible, low, medium, high, critical`,
			`5:1: unknown key "verison" in the policy: did you mean "version"?`,
		}},

		{"tab", "version: 1\nrules:\n\t- name: x\n", []string{
			"3:1: not valid YAML: found character that cannot start any token"}},
		{"syntax on the first line", "a: b: c\n", []string{
			"1:1: not valid YAML: mapping values are not allowed in this context"}},
		{"open list", "version: 1\nrules: [\nsbom: {}\n", []string{
			"2:1: not valid YAML: did not find expected ',' or ']'"}},
		{"list in a mapping", "version: 1\n- name: x\n", []string{
			"2:1: not valid YAML: did not find expected key"}},
		{"syntax in the second document", minimal + "---\na: b: c\n", []string{
			"5:1: not valid YAML: mapping values are not allowed in this context"}},
		{"not UTF-8", "version: 1\nrules: \xff\n", []string{"2:8: the file is not UTF-8 text"}},
		{"UTF-16", "\xff\xfev\x00", []string{"1:1: the file is not UTF-8 text"}},
		{"control character", "version: \x01\n", []string{"1:1: not valid YAML: control characters are not allowed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := make([]string, len(tt.want))
			for i, line := range tt.want {
				want[i] = "p.yaml:" + line
			}
			if diff := cmp.Diff(want, problems(t, tt.data)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnknownKeyIsNotIgnored(t *testing.T) {
	for _, key := range []string{"sevrity: high", "Severity: high", "ignore: true", "when: x", "\"\": x"} {
		got := problems(t, minimal+"    "+key+"\n")
		if len(got) != 1 || !strings.HasPrefix(got[0], "p.yaml:4:5: unknown key ") {
			t.Errorf("%s: %q", key, got)
		}
	}
}

func TestExceptionWithoutEndIsNotAccepted(t *testing.T) {
	got := problems(t, minimal+"exceptions:\n  - id: CVE-1\n    reason: r\n    owner: o\n")
	want := []string{`p.yaml:5:5: an exception has no "expires", which is mandatory`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// mostProblems is the number of problems that a message lists. For further problems it only has
// their number.
const mostProblems = 1000

func TestParseIsBounded(t *testing.T) {
	many := func(n int, item string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, item, i)
		}
		return b.String()
	}
	padding := func(size int) string { return "\n#" + strings.Repeat("x", size-len(minimal)-2) }
	ok := map[string]string{
		"10,000 rules":      "version: 1\nrules:\n" + many(10_000, " - name: r%d\n"),
		"10,000 exceptions": minimal + "exceptions:\n" + many(10_000, " - {id: C%d, reason: r, owner: o, expires: 2026-01-01}\n"),
		"1 MiB":             minimal + padding(1<<20),
	}
	for name, data := range ok {
		if _, err := Parse("p.yaml", []byte(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	for _, tt := range []struct{ name, data, want string }{
		{"10,001 rules", "version: 1\nrules:\n" + many(10_001, " - name: r%d\n"), `p.yaml:10003:4: "rules" has more than 10000 items`},
		{"10,001 exceptions", minimal + "exceptions:\n" + many(10_001, " - {id: C%d, reason: r, owner: o, expires: 2026-01-01}\n"),
			`p.yaml:10005:4: "exceptions" has more than 10000 items`},
		{"1 MiB and a byte", minimal + padding(1<<20+1), "p.yaml:1:1: the file is larger than 1048576 bytes"},
	} {
		if got := problems(t, tt.data); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: %d problems, first %s; want %s", tt.name, len(got), got[0], tt.want)
		}
	}

	deep := problems(t, minimal+"x: "+strings.Repeat("[", 1000)+strings.Repeat("]", 1000))
	if diff := cmp.Diff([]string{
		`p.yaml:4:1: unknown key "x" in the policy: expected one of version, unmatchedImages, database, distribution, sbom, provenance, rules, licenses, packages, image, custom, baseline, baselineMaxAge, copyAttestations, vex, exceptions, images, signers, override, name, decision`,
		"p.yaml:4:24: nested more than 20 levels deep",
	}, deep); diff != "" {
		t.Error(diff)
	}

	flood := problems(t, minimal+many(5000, "k%d: x\n"))
	if len(flood) != mostProblems+1 || flood[mostProblems] != "p.yaml:1004:1: 4000 more problems from here on" {
		t.Errorf("%d problems, last %s", len(flood), flood[len(flood)-1])
	}
}

// TestAliasesAreNotExpanded checks that Parse refuses a file whose YAML aliases would take forever
// to expand.
func TestAliasesAreNotExpanded(t *testing.T) {
	var b strings.Builder
	b.WriteString(minimal + "a0: &a0 x\n")
	for i := 1; i < 100; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	if got := problems(t, b.String()); len(got) != mostProblems+1 {
		t.Errorf("%d problems", len(got))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fullPolicy))
	f.Add([]byte(minimal))
	f.Add([]byte(scopedPolicy))
	f.Add([]byte(minimal + `    kev: true
    epss: {score: 0.1, percentile: 0.9}
    cvss: 9.5
    package: {type: npm, name: "a*", purl: "pkg:npm/a*@1"}
    ids: [CVE-1, cve-1]
    grace: 1w2d
baseline: approved
vex: {accept: [fixed, not_affected], justifications: [component_not_present], files: true, signers: [ci]}
signers: [{name: ci, issuer: i, subject: s}]
provenance: [{name: p, signers: [ci], builder: b, source: "https://*"}, {name: q, signers: [ci], type: signature, effect: warn}]
copyAttestations: [{type: signature, signers: [ci]}, {type: "https://slsa.dev/provenance/v1", signers: [ci]}]
override: {maxLifetime: 1d, approvers: ["*"]}
exceptions: {maxLifetime: 1d, folder: a/b, list: [{rule: x, reason: r, owner: o, ticket: t, expires: 2026-12-31}]}
`))
	f.Add([]byte(minimal + `custom:
  - {name: c, each: package, when: pkg.name == "a", message: '"b"'}
licenses: [{name: l, deny: [GPL-*], package: pkg:npm/a}, {name: u, unknown: true}]
packages: [{name: p, minimum: {purl: pkg:npm/a, version: 1.0.0}}, {name: q, require: pkg:npm/*}]
image: [{name: i, notRoot: true}, {name: s, maxSize: 1GiB}, {name: t, ports: [80-90]}, {name: m, maxAge: 90d}]
distribution: {allow: [debian 12], notAllowed: warn}
database: {origins: [x], maxAge: 1h}
sbom: {minPackages: 3}
`))
	f.Add([]byte("version: 1\nrules:\n  - &a {name: x}\n  - <<: *a\n"))
	f.Add([]byte("a: b: c\n"))
	f.Add([]byte("--- !!map\n? [x]\n: |2-\n   y\n...\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("p.yaml", data)
		if (p == nil) != (err != nil) {
			t.Fatalf("policy %v, error %v", p, err)
		}
		if err != nil {
			var parseErr *ParseError
			if !errors.As(err, &parseErr) || len(parseErr.Problems) == 0 {
				t.Fatalf("not a ParseError with problems: %#v", err)
			}
			for i, problem := range parseErr.Problems {
				if problem.Position.Line < 1 || problem.Position.Column < 1 {
					t.Errorf("nowhere: %s", problem)
				}
				if i > 0 && problem.Position.Line < parseErr.Problems[i-1].Position.Line {
					t.Errorf("not sorted:\n%v", err)
				}
				if strings.ContainsAny(problem.Message, "\n\x1b") {
					t.Errorf("not printable: %q", problem.Message)
				}
			}
			return
		}
		if len(p.Rules) == 0 || p.Database.MaxAge <= 0 {
			t.Errorf("Parse accepts an incomplete policy: %+v", p)
		}
		for _, e := range p.Exceptions {
			if (e.ID == "") == (e.Rule == "") || e.Reason == "" || e.Owner == "" || e.Expires.IsZero() {
				t.Errorf("Parse accepts an incomplete exception: %+v", e)
			}
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		p.Validate(at)
		in := withFeeds(finding("CVE-1", evidence.SeverityHigh))
		in.Image.Repository = "registry.example/legacy/app"
		p.Evaluate(in, at)
	})
}
