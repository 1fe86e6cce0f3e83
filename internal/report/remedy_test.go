package report

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/lint"
)

var deniedAt = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// passing returns evidence that passes every policy of these tests.
func passing() evidence.Input {
	sum := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	return evidence.Input{
		Image: evidence.Image{Reference: "registry.example/team/app:1", Repository: "registry.example/team/app", Digest: sum("a")},
		Database: evidence.Database{Schema: "6", Digest: sum("d"), Built: deniedAt, Source: "https://db.example/x",
			Providers:  []evidence.Provider{{Name: "epss", Captured: deniedAt}, {Name: "kev", Captured: deniedAt}},
			Advisories: []evidence.Advisories{{Distribution: "debian 12", Count: 30_000}, {Type: "npm", Count: 4000}}},
		Platforms: []evidence.Platform{{
			Platform: "linux/amd64", Digest: sum("b"), Distribution: evidence.Distribution{ID: "debian", Version: "12"},
			Packages: []evidence.Package{
				{Name: "openssl", Version: "3.0.11-1", Type: "deb", PURL: "pkg:deb/debian/openssl@3.0.11-1?arch=amd64", Licenses: []string{"Apache-2.0"}},
				{Name: "@babel/traverse", Version: "7.23.1", Type: "npm", PURL: "pkg:npm/%40babel/traverse@7.23.1", Licenses: []string{"GPL-3.0-only"}},
			},
			Config: &evidence.ImageConfig{User: "65532", Created: deniedAt, Labels: map[string]string{"source": "x"}},
			Size:   1 << 20, Layers: []evidence.Layer{{Digest: sum("e")}, {Digest: sum("f")}},
		}},
	}
}

// denial is evidence and a policy that denies it for one reason.
type denial struct {
	policy string // added to allRules; "" adds nothing
	change func(p *evidence.Platform, in *evidence.Input)
	// rule is the kind and the name of the rule that must deny the image.
	rule string
	// noException means that exceptions cannot cover the violation.
	noException bool
}

const allRules = "version: 1\nrules: [{name: any, severity: low}]\n"

func none(*evidence.Platform, *evidence.Input) {}

func withFinding(f evidence.Finding) func(*evidence.Platform, *evidence.Input) {
	return func(p *evidence.Platform, _ *evidence.Input) {
		f.Package = p.Packages[1]
		p.Findings = []evidence.Finding{f}
	}
}

// denials returns a case for each kind of violation, and for each built-in rule.
func denials() map[string]denial {
	return map[string]denial{
		"a finding without a fix": {"", withFinding(evidence.Finding{ID: "CVE-2026-1", Severity: evidence.SeverityHigh}), "vulnerability any", false},
		"a finding with a fix": {"", withFinding(evidence.Finding{ID: "GHSA-1", Severity: evidence.SeverityHigh, FixState: evidence.FixAvailable,
			Fixes: []evidence.Fix{{Version: "7.23.2"}}}), "vulnerability any", false},
		"a finding in a package without a purl": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Findings = []evidence.Finding{{ID: "CVE-2026-2", Severity: evidence.SeverityLow, Package: evidence.Package{Name: "a", Type: "binary"}}}
		}, "vulnerability any", false},
		"an expression about findings": {"custom: [{name: old, each: finding, when: finding.severity == severity.negligible}]\n",
			withFinding(evidence.Finding{ID: "CVE-2026-3", Severity: evidence.SeverityNegligible}), "vulnerability old", false},
		"an expression without an answer": {"custom: [{name: old, each: finding, when: finding.epss.score > 0.5}]\n",
			withFinding(evidence.Finding{ID: "CVE-2026-4", Severity: evidence.SeverityNegligible}), "vulnerability old", true},

		"an old database":            {"", func(_ *evidence.Platform, in *evidence.Input) { in.Database.Built = deniedAt.AddDate(0, -1, 0) }, "database database.maxAge", false},
		"a database from nowhere":    {"database: {origins: [https://mirror.example/*]}\n", none, "database database.origins", false},
		"an empty database":          {"", func(_ *evidence.Platform, in *evidence.Input) { in.Database.Advisories = nil }, "database database.minAdvisories", false},
		"a database with too little": {"database: {minAdvisories: 5000}\n", none, "database database.minAdvisories", false},
		"a database without a feed": {"", func(_ *evidence.Platform, in *evidence.Input) {
			in.Database.Providers = in.Database.Providers[:1]
		}, "database exploited", true},

		"an end of life":           {"", func(p *evidence.Platform, _ *evidence.Input) { p.Distribution.EndOfLife = deniedAt.AddDate(0, -1, 0) }, "distribution distribution.endOfLife", false},
		"an unwanted distribution": {"distribution: {allow: [alpine 3.*]}\n", none, "distribution distribution.allow", false},
		"too few packages":         {"sbom: {minPackages: 3}\n", none, "sbom sbom.minPackages", false},
		"nothing at all": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Packages, p.Distribution = nil, evidence.Distribution{}
		}, "sbom sbom", true},
		"an image without a digest":     {"", func(_ *evidence.Platform, in *evidence.Input) { in.Image.Digest = "" }, "evidence evidence", true},
		"an image of no scope":          {"unmatchedImages: deny\nimages: [{match: other.example/*, sbom: {minPackages: 1}}]\n", none, "scope unmatchedImages", true},
		"an exception that is too long": {"exceptions: {maxLifetime: 7d, list: [{id: CVE-2026-9, reason: r, owner: o, expires: 2027-11-30}]}\n", none, "exception exceptions.maxLifetime", true},

		"a file that cannot be read": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Unknowns = []evidence.Unknown{{Location: evidence.Location{Path: "/app/lib/a [1] {b} * ?.jar"}, Reason: "not a zip", Class: evidence.UnknownArchive}}
		}, "sbom sbom.unknowns", false},
		"a package without a version": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Unmatched = []evidence.Unmatched{{Package: &evidence.Package{Name: "app", Type: "npm", PURL: "pkg:npm/app"}, Reason: evidence.VersionUnknown}}
		}, "coverage distribution.notCovered", false},
		"a package without version and purl": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Unmatched = []evidence.Unmatched{{Package: &evidence.Package{Name: "app", Type: "npm", Found: []evidence.Location{{Path: "/app/package.json"}}},
				Reason: evidence.VersionUnknown}}
		}, "coverage distribution.notCovered", false},
		"a first-party package": {"distribution: {notCovered: {firstParty: block}}\n", func(p *evidence.Platform, _ *evidence.Input) {
			p.Unmatched = []evidence.Unmatched{{Package: &evidence.Package{Name: "app", Type: "npm", PURL: "pkg:npm/app"}, Reason: evidence.FirstParty}}
		}, "coverage distribution.notCovered", false},
		"a type that is not in the database": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Unmatched = []evidence.Unmatched{{Type: "npm", Packages: 1, Reason: evidence.TypeNotInDatabase}}
		}, "coverage distribution.notCovered", false},
		"a distribution that is not in the database": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Unmatched = []evidence.Unmatched{{Reason: evidence.DistributionNotInDatabase, Detail: "debian 99"}}
		}, "coverage distribution.notCovered", false},
		"nothing cataloged": {"", func(p *evidence.Platform, _ *evidence.Input) {
			p.Packages, p.Unmatched = nil, []evidence.Unmatched{{Reason: evidence.NothingCataloged}}
		}, "coverage distribution.notCovered", false},

		"a license":                 {"licenses: [{name: no copyleft, deny: [GPL-*]}]\n", none, "license no copyleft", false},
		"a denied package":          {"packages: [{name: no openssl, deny: pkg:deb/*/openssl}]\n", none, "package no openssl", false},
		"a missing package":         {"packages: [{name: curl, require: pkg:deb/*/curl}]\n", none, "package curl", false},
		"a package that is too old": {"packages: [{name: new traverse, minimum: {purl: pkg:npm/%40babel/traverse, version: 8.0.0}}]\n", none, "package new traverse", false},

		"root": {"image: [{name: not as root, notRoot: true}]\n", func(p *evidence.Platform, _ *evidence.Input) { p.Config.User = "" }, "image not as root", false},
		"a credential": {"image: [{name: none, noSecrets: true}]\n", func(p *evidence.Platform, _ *evidence.Input) {
			p.Config.Secrets = []evidence.Secret{{Kind: "k", Where: "w"}}
		}, "image none", false},
		"a missing label":  {"image: [{name: label, labels: [team]}]\n", none, "image label", false},
		"an open port":     {"image: [{name: ports, ports: []}]\n", func(p *evidence.Platform, _ *evidence.Input) { p.Config.ExposedPorts = []string{"22/tcp"} }, "image ports", false},
		"an old image":     {"image: [{name: new, maxAge: 1d}]\n", func(p *evidence.Platform, _ *evidence.Input) { p.Config.Created = deniedAt.AddDate(0, 0, -3) }, "image new", false},
		"a large image":    {"image: [{name: small, maxSize: 1KB}]\n", none, "image small", false},
		"many layers":      {"image: [{name: few, maxLayers: 1}]\n", none, "image few", false},
		"an unwanted base": {"image: [{name: base, base: [registry.example/base/*]}]\n", none, "image base", false},
		"the tag latest": {"image: [{name: tag, notLatest: true}]\n", func(_ *evidence.Platform, in *evidence.Input) {
			in.Image.Reference = "registry.example/team/app:latest"
		}, "image tag", false},
		"a lazy index": {"", func(_ *evidence.Platform, in *evidence.Input) {
			in.Image.LazyIndexes = []evidence.LazyIndex{{Kind: "SOCI", Digest: in.Image.Digest}}
		}, "image image.lazyIndexes", false},
		"no provenance":                 {"signers: [{name: ci, issuer: https://i.example, subject: s}]\nprovenance: [{name: built by us, signers: [ci]}]\n", none, "provenance built by us", false},
		"no signature":                  {"signers: [{name: ci, issuer: https://i.example, subject: s}]\nprovenance: [{name: signed, signers: [ci], type: signature}]\n", none, "provenance signed", false},
		"an expression about packages":  {"custom: [{name: no deb, each: package, when: pkg.type == 'deb'}]\n", none, "custom no deb", false},
		"an expression about platforms": {"custom: [{name: no amd64, each: platform, when: 'true'}]\n", none, "custom no amd64", false},
		"a rule with a difficult name": {`licenses: [{name: "a \"b\" # ##[error] ::error:: 'c': {d}, [e]", deny: [GPL-*]}]` + "\n", none,
			`license a "b" # ##[error] ::error:: 'c': {d}, [e]`, false},
		"a rule named as a word of YAML": {"licenses: [{name: 'yes', deny: [GPL-*]}]\n", none, "license yes", false},
	}
}

// evaluate evaluates the case, with exceptions added to its policy.
func (c denial) evaluate(t *testing.T, exceptions []string) (*policy.Policy, policy.Decision, Report) {
	t.Helper()
	text := allRules + c.policy
	if strings.HasPrefix(c.rule, "database exploited") {
		text += "custom: []\n"
		text = strings.Replace(text, "rules: [", "rules: [{name: exploited, kev: true}, ", 1)
	}
	if len(exceptions) > 0 {
		text += "exceptions:\n  " + strings.Join(exceptions, "\n  ") + "\n"
	}
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	in := passing()
	c.change(&in.Platforms[0], &in)
	d := p.Evaluate(in, deniedAt)
	r := Report{Input: in, Decision: &d, EvaluatedAt: deniedAt, Finished: deniedAt,
		Policy: Policy{File: p.File, Digest: p.Digest, ExceptionsMaxLifetime: p.ExceptionsMaxLifetime}}
	return p, d, r
}

// TestPastedExceptionCoversTheViolation pastes each suggested exception into the policy. The
// violation must then be covered and listed as excepted, and an unused exception must be reported.
// If exceptions cannot cover the violation, the report must suggest none.
func TestPastedExceptionCoversTheViolation(t *testing.T) {
	for name, c := range denials() {
		t.Run(name, func(t *testing.T) {
			_, d, r := c.evaluate(t, nil)
			for _, v := range d.Violations {
				if got := string(v.Kind) + " " + v.Rule; got != c.rule {
					t.Fatalf("denied by %q, want %q: %s", got, c.rule, v.Message)
				}
			}
			exceptions := checkRemedies(t, d, r)
			if c.noException {
				if len(exceptions) > 0 {
					t.Errorf("an exception that covers nothing is offered: %v", exceptions)
				}
				return
			}
			p, d, r := c.evaluate(t, exceptions)
			if !d.Passed || len(d.Excepted) == 0 || string(d.Excepted[0].Kind)+" "+d.Excepted[0].Rule != c.rule {
				t.Fatalf("passed is %v with %v\n%+v", d.Passed, exceptions, d.Violations)
			}
			if text := render(t, TextOptions{Details: true}.Text, r); !strings.Contains(text, "Exceptions used: ") || !strings.Contains(text, "owner team@example.com") {
				t.Errorf("the exception is not listed:\n%s", text)
			}
			for _, problem := range lint.Policy(p, deniedAt) {
				if strings.Contains(problem.Message, "covers nothing") {
					t.Errorf("lint: %s", problem.Message)
				}
			}
			checkUnused(t, p, c)
		})
	}
}

// checkRemedies checks that each violation has exactly one remedy, and returns all suggested
// exceptions.
func checkRemedies(t *testing.T, d policy.Decision, r Report) []string {
	t.Helper()
	if len(d.Violations) == 0 {
		t.Fatal("not denied")
	}
	var seen []int
	var exceptions []string
	for _, remedy := range Remedies(r) {
		if remedy.Do == "" || strings.Contains(remedy.Do, "complete what is missing") {
			t.Errorf("nothing to do: %+v", remedy)
		}
		seen = append(seen, remedy.Violations...)
		exceptions = append(exceptions, remedy.Exceptions...)
	}
	slices.Sort(seen)
	for i := range d.Violations {
		if i >= len(seen) || seen[i] != i {
			t.Fatalf("%d violations, and remedies for %v", len(d.Violations), seen)
		}
	}
	text := render(t, TextOptions{Width: 60}.Text, r)
	for _, remedy := range Remedies(r) {
		for _, item := range remedy.Exceptions {
			fixable := d.Violations[remedy.Violations[0]].Finding
			if fixable != nil && fixVersions(*fixable) != "" {
				continue // the upgrade command is printed instead
			}
			if !strings.Contains(text, "or: "+layout.Limit(item, 0)+"\n") {
				t.Errorf("the text has no line to paste: %s\n%s", item, text)
			}
		}
	}
	return exceptions
}

// checkUnused checks that the exceptions are reported as unused for an image without violations.
func checkUnused(t *testing.T, p *policy.Policy, c denial) {
	t.Helper()
	clean := *p
	clean.Licenses, clean.Packages, clean.Image, clean.Custom, clean.Provenance = nil, nil, nil, nil, nil
	clean.Database, clean.Distribution, clean.SBOM = policy.DatabaseRule{}, policy.DistributionRule{}, policy.SBOMRule{}
	d := clean.Evaluate(passing(), deniedAt)
	unused := 0
	for _, w := range d.Warnings {
		if w.Kind == policy.KindException && strings.Contains(w.Message, "is unused") {
			unused++
		}
	}
	if !d.Passed || unused != len(p.Exceptions) {
		t.Errorf("%d of %d exceptions are reported as unused", unused, len(p.Exceptions))
	}
}

// TestSanitizedExceptionStillWorks checks that a suggested exception is still valid in its
// sanitized form, which users copy from a terminal.
func TestSanitizedExceptionStillWorks(t *testing.T) {
	for name, c := range denials() {
		_, d, r := c.evaluate(t, nil)
		if c.noException {
			continue
		}
		exceptions := checkRemedies(t, d, r)
		for i := range exceptions {
			exceptions[i] = layout.Limit(exceptions[i], 0)
		}
		if _, d, _ := c.evaluate(t, exceptions); !d.Passed {
			t.Errorf("%s: %v covers nothing", name, exceptions)
		}
	}
}

// TestEveryKindAndRuleHasARemedy checks that denials covers each kind of violation and each
// built-in rule in the source of package policy. New ones must be added to denials.
func TestEveryKindAndRuleHasARemedy(t *testing.T) {
	kinds, rules := declared(t)
	if len(kinds) < 12 || len(rules) < 9 {
		t.Fatalf("only %d kinds and %d rules are found", len(kinds), len(rules))
	}
	covered := map[string]bool{}
	for _, c := range denials() {
		kind, rule, _ := strings.Cut(c.rule, " ")
		covered[kind], covered[rule] = true, true
	}
	for _, name := range slices.Concat(kinds, rules) {
		if !covered[name] {
			t.Errorf("no case of this test is denied by %q", name)
		}
	}
	for _, kind := range kinds {
		if !slices.Contains(causes, policy.Kind(kind)) && !slices.Contains(symptoms, policy.Kind(kind)) && kind != string(policy.KindVulnerability) {
			t.Errorf("the kind %q has no place in the report", kind)
		}
	}
}

// declared parses the source of package policy. It returns the values of the constants of type
// Kind, and the string literals that are paths of policy keys.
func declared(t *testing.T) (kinds, rules []string) {
	t.Helper()
	var files []string
	for _, dir := range []string{"../../policy", "../../policy/internal/builtin"} {
		found, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(found), err)
		}
		files = append(files, found...)
	}
	path := regexp.MustCompile(`^(?:(?:database|distribution|sbom|exceptions|image)\.[a-z][A-Za-z]*|evidence|unmatchedImages)$`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.ValueSpec:
				if typ, ok := x.Type.(*ast.Ident); ok && typ.Name == "Kind" && len(x.Values) == 1 {
					kinds = append(kinds, unquoted(t, x.Values[0]))
				}
			case *ast.BasicLit:
				// Skip distribution.notAllowed: it is not a rule, but sets the effect of the rule
				// distribution.allow.
				if x.Kind == token.STRING && path.MatchString(unquoted(t, x)) && unquoted(t, x) != "distribution.notAllowed" {
					rules = append(rules, unquoted(t, x))
				}
			}
			return true
		})
	}
	slices.Sort(rules)
	return kinds, slices.Compact(rules)
}

func unquoted(t *testing.T, e ast.Expr) string {
	t.Helper()
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		t.Fatalf("a value is a %T", e)
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPastedScopeMatchesTheImage denies an image because no scope of the policy matches it, and
// pastes the suggested line into the policy. The scope must then match the image.
func TestPastedScopeMatchesTheImage(t *testing.T) {
	c := denials()["an image of no scope"]
	_, _, r := c.evaluate(t, nil)
	_, item, ok := strings.Cut(Remedies(r)[0].Do, ": ")
	if !ok {
		t.Fatal(Remedies(r)[0].Do)
	}
	c.policy = strings.Replace(c.policy, "images: [", "images: ["+strings.TrimPrefix(item, "- ")+", ", 1)
	if _, d, _ := c.evaluate(t, nil); !d.Passed {
		t.Errorf("%s: %+v", c.policy, d.Violations)
	}
}

// TestWithoutATimeThereAreNoExceptions checks that no exception is suggested if the time of the
// decision, and therefore the end of an exception, is unknown.
func TestWithoutATimeThereAreNoExceptions(t *testing.T) {
	c := denials()["a license"]
	_, _, r := c.evaluate(t, nil)
	r.EvaluatedAt, r.Finished = time.Time{}, time.Time{}
	if got := Remedies(r); len(got) != 1 || len(got[0].Exceptions) > 0 {
		t.Errorf("without a time: %+v", got)
	}
}

// TestSharedRemedyIsListedOnce checks that a remedy for several violations is listed once, and that
// remedies for causes come before those for symptoms.
func TestSharedRemedyIsListedOnce(t *testing.T) {
	c := denials()["a license"]
	c.change = func(p *evidence.Platform, in *evidence.Input) {
		in.Database.Built = deniedAt.AddDate(0, -1, 0)
		in.Database.Providers[0].Captured = deniedAt.AddDate(0, -1, 0)
		in.Database.Advisories = nil
		p.Findings = []evidence.Finding{
			{ID: "CVE-1", Severity: evidence.SeverityHigh, FixState: evidence.FixAvailable, Fixes: []evidence.Fix{{Version: "7.23.2"}}, Package: p.Packages[1]},
			{ID: "CVE-2", Severity: evidence.SeverityHigh, FixState: evidence.FixAvailable, Fixes: []evidence.Fix{{Version: "7.24.0"}}, Package: p.Packages[1]},
		}
	}
	_, _, r := c.evaluate(t, nil)
	got := Remedies(r)
	if len(got) != 3 || len(got[0].Violations) != 3 || len(got[1].Violations) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []string{"imagegate db update", "npm update @babel/traverse", "replace @babel/traverse with a package under another license"} {
		if got[i].Do != want {
			t.Errorf("remedy %d: %q, want %q", i, got[i].Do, want)
		}
	}
	text := render(t, Text, r)
	first, second := strings.Index(text, "FIX FIRST  3 problems"), strings.Index(text, "IMAGE  2 problems in 1 package")
	if first < 0 || second < first || strings.Count(text, "do: imagegate db update\n") > 2 {
		t.Error(text)
	}
}

// TestExceptionCoversNothingElse checks that a suggested exception is limited to the package or the
// path of the violation, if an exception can name the package or the path.
func TestExceptionCoversNothingElse(t *testing.T) {
	for name, want := range map[string]string{
		"a finding without a fix":                    `- {id: CVE-2026-1, package: "pkg:npm/%40babel/traverse", `,
		"a finding in a package without a purl":      `- {id: CVE-2026-2, reason: `,
		"a file that cannot be read":                 `- {rule: sbom.unknowns, path: "/app/lib/a \\[1\\] \\{b\\} \\* \\?.jar", `,
		"a package without a version":                `- {rule: distribution.notCovered, package: pkg:npm/app, `,
		"a package without version and purl":         `- {rule: distribution.notCovered, path: "/app/package.json", `,
		"a type that is not in the database":         `- {rule: distribution.notCovered, package: "pkg:npm/*", `,
		"a distribution that is not in the database": `- {rule: distribution.notCovered, package: "pkg:deb/*", `,
		"a denied package":                           `- {rule: "no openssl", package: pkg:deb/debian/openssl, `,
		"root":                                       `- {rule: "not as root", reason: "why it is safe", owner: team@example.com, expires: 2026-12-30}`,
		"a rule named as a word of YAML":             `- {rule: "yes", package: `,
	} {
		_, _, r := denials()[name].evaluate(t, nil)
		got := Remedies(r)
		if len(got) != 1 || len(got[0].Exceptions) != 1 || !strings.HasPrefix(got[0].Exceptions[0], want) {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
}

// TestFormatsHaveTheCommandsOfTheText checks that Remedies returns each upgrade command of the text
// report once. It must not return any other upgrade command.
func TestFormatsHaveTheCommandsOfTheText(t *testing.T) {
	for _, name := range []string{"denied", "layered"} {
		r := load(t, name+".json")
		got := map[string]int{}
		for _, remedy := range Remedies(r) {
			got[remedy.Do]++
		}
		text := render(t, TextOptions{Details: true}.Text, r)
		commands := 0
		for _, m := range regexp.MustCompile(`(?m)^ *do: ((?:apt|apk|dnf|npm|go get|pip|bundle|cargo).*)$`).FindAllStringSubmatch(text, -1) {
			commands++
			if got[m[1]] != 1 {
				t.Errorf("%s: the command %q is in %d remedies", name, m[1], got[m[1]])
			}
			delete(got, m[1])
		}
		if commands == 0 {
			t.Errorf("%s: no command in\n%s", name, text)
		}
		for do := range got {
			if regexp.MustCompile(`^(apt|apk|dnf|npm|go get|pip|bundle|cargo)`).MatchString(do) {
				t.Errorf("%s: %q is not in the text", name, do)
			}
		}
	}
}
