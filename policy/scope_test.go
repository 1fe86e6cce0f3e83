package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/keys"
)

const scopedPolicy = `version: 1
database:
  maxAge: 5d
sbom:
  unknowns: block
  minPackages: 2
rules:
  - name: critical
    severity: critical
  - name: rest
    effect: warn
images:
  - match: registry.example/legacy/*
    sbom:
      minPackages: 1
    rules:
      - name: rest
        severity: high
      - name: banned
        ids: [CVE-1]
  - match: [registry.example/legacy/app, "*/other"]
    sbom: {unknowns: warn}
    exceptions:
      - {id: CVE-2, reason: r, owner: o, expires: 2026-07-01}
`

func TestParseScopes(t *testing.T) {
	p := parsed(t, scopedPolicy)
	want := []Scope{
		{
			Position: at(13, 5), Match: []string{"registry.example/legacy/*"}, Keys: []string{"sbom.minPackages", "rules"},
			Policy: Policy{
				File: "p.yaml", SBOM: SBOMRule{Position: at(14, 5), MinPackages: 1},
				Rules: []Rule{
					{Name: "rest", Position: at(17, 9), Severity: evidence.SeverityHigh},
					{Name: "banned", Position: at(19, 9), IDs: []string{"CVE-1"}},
				},
			},
		},
		{
			Position: at(21, 5), Match: []string{"registry.example/legacy/app", "*/other"}, Keys: []string{"sbom.unknowns", "exceptions"},
			Policy: Policy{
				File: "p.yaml", SBOM: SBOMRule{Position: at(22, 5), Unknowns: warnUnknowns},
				Exceptions: []Exception{{
					Position: at(24, 9), ID: "CVE-2", Reason: "r", Owner: "o", Expires: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
				}},
			},
		},
	}
	if diff := cmp.Diff(want, p.Images); diff != "" {
		t.Error(diff)
	}
}

func TestParseScopeErrors(t *testing.T) {
	for scope, want := range map[string]string{
		"{match: a}":                                     `4:10: a scope without any section has no effect`,
		"{match: a, sbom: {}}":                           `4:10: a scope without any section has no effect`,
		"{rules: [{name: a}]}":                           `4:10: a scope has no "match", which is mandatory`,
		"{match: [], rules: [{name: a}]}":                `4:18: "match" is empty: nothing would match`,
		"{match: '', rules: [{name: a}]}":                `4:18: "match": is blank`,
		"{match: [1], rules: [{name: a}]}":               `4:19: "match" is a number: expected text in quotes`,
		"{match: a, rules: []}":                          `4:28: "rules" is empty: a policy has at least one rule`,
		"{match: a, sbom: {colour: red}}":                `4:28: unknown key "colour" in "sbom": expected one of unknowns, minPackages`,
		"{match: a, exceptions: {folder: x}}":            `4:33: "exceptions" is a mapping: expected a list`,
		"{match: a, version: 1, sbom: {unknowns: warn}}": `4:21: unknown key "version" in a scope: expected one of match, database, distribution, sbom, provenance, rules, licenses, packages, image, custom, baseline, baselineMaxAge, copyAttestations, vex, exceptions`,
	} {
		if diff := cmp.Diff([]string{"p.yaml:" + want}, problems(t, minimal+"images: ["+scope+"]\n")); diff != "" {
			t.Errorf("%s: %s", scope, diff)
		}
	}
}

// TestEveryKeyCanDifferBetweenImages reads the keys of a scope from the decoder's message, and
// checks that a scope with each of these keys can be applied.
func TestEveryKeyCanDifferBetweenImages(t *testing.T) {
	named := func(section string) []string {
		for _, line := range problems(t, minimal+"images: [{match: a, "+section+"}]\n") {
			if _, names, ok := strings.Cut(line, ": expected one of "); ok {
				return strings.Split(names, ", ")
			}
		}
		return nil
	}
	apply := func(key string) {
		s := scoped{Policy: &Policy{}}
		s.apply(&Scope{Keys: []string{key}})
	}
	names := named("zzzzzzzzzz: 1")
	if !slices.Contains(names, "sbom") {
		t.Fatalf("keys %q", names)
	}
	for _, name := range names {
		inner := named(name + ": {zzzzzzzzzz: 1}")
		field := reflect.Value{}
		if name != "match" {
			field = keys.Field(reflect.ValueOf(Policy{}), name)
		}
		switch {
		case name == "match":
		case field.Kind() == reflect.Struct && len(inner) == 0:
			t.Errorf("%s: no keys", name)
		case field.Kind() == reflect.Struct:
			for _, key := range inner {
				apply(name + "." + key)
			}
		case field.Kind() == reflect.Slice:
			// The elements of a list that scopes can extend need a position. It shows which scope
			// an element comes from.
			if position, ok := field.Type().Elem().FieldByName("Position"); !ok || position.Type != reflect.TypeFor[Position]() {
				t.Errorf("%s: its elements have no position", name)
			}
			apply(name)
		default:
			apply(name)
		}
	}
}

func TestScopeApplies(t *testing.T) {
	p := parsed(t, scopedPolicy)
	before := asJSON(t, p)
	for repository, want := range map[string]struct {
		minPackages int
		unknowns    Effect
		rules       string
		exceptions  int
	}{
		"registry.example/app":         {2, Block, "critical 8, rest 10", 0},
		"registry.example/legacy/tool": {1, Block, "critical 8, rest 17, banned 19", 0},
		"registry.example/legacy/app":  {1, Warn, "critical 8, rest 17, banned 19", 1},
		"registry.example/other":       {2, Warn, "critical 8, rest 10", 1},
	} {
		got := p.forImage(repository)
		var rules []string
		for _, r := range got.Rules {
			rules = append(rules, fmt.Sprint(r.Name, " ", r.Position.Line))
		}
		if got.SBOM.MinPackages != want.minPackages || got.SBOM.Unknowns.File != want.unknowns ||
			strings.Join(rules, ", ") != want.rules || len(got.Exceptions) != want.exceptions || !cmp.Equal(got.Database, p.Database) {
			t.Errorf("%s: %+v", repository, got.Policy)
		}
	}
	if asJSON(t, p) != before {
		t.Error("the policy has changed")
	}
}

func TestLaterScopeWins(t *testing.T) {
	p := parsed(t, minimal+`images:
  - match: "*"
    rules: [{name: all, effect: warn}, {name: more}]
  - match: "*"
    rules: [{name: all, severity: high}]
`)
	got := p.forImage("any").Rules
	if len(got) != 2 || got[0].Severity != evidence.SeverityHigh || got[0].Effect != Block || got[1].Name != "more" {
		t.Errorf("%+v", got)
	}
}

func TestViolationsNameTheirScope(t *testing.T) {
	p := parsed(t, scopedPolicy)
	in := withFindings(finding("CVE-1", evidence.SeverityLow), finding("CVE-2", evidence.SeverityCritical))
	in.Platforms[0].Packages = nil
	in.Platforms[0].Unknowns = []evidence.Unknown{{Reason: "r"}}
	in.Image.Repository = "registry.example/legacy/app"
	d := p.Evaluate(in, now)
	var got []string
	for _, v := range d.Violations {
		got = append(got, fmt.Sprintf("block %s %d %s", v.Rule, v.Position.Line, v.Scope))
	}
	for _, v := range d.Warnings {
		got = append(got, fmt.Sprintf("warn %s %d %s", v.Rule, v.Position.Line, v.Scope))
	}
	for _, v := range d.Excepted {
		got = append(got, fmt.Sprintf("except %s %d %s", v.Rule, v.Position.Line, v.Scope))
	}
	const first, second = "registry.example/legacy/*", "registry.example/legacy/app, */other"
	want := []string{
		"block sbom.minPackages 13 " + first,
		"block banned 19 " + first,
		"warn sbom.unknowns 21 " + second,
		"except critical 8 ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScopedExceptionIsForItsImagesAlone(t *testing.T) {
	p := parsed(t, minimal+"images: [{match: a, exceptions: [{id: CVE-1, reason: r, owner: o, expires: 2026-07-01}]}]\n")
	in := withFindings(finding("CVE-1", evidence.SeverityHigh))
	d := p.Evaluate(in, now)
	denied(t, d, "vulnerability all")
	if len(d.Warnings) != 0 {
		t.Errorf("the exception of a scope is reported for another image: %+v", d.Warnings)
	}
	in.Image.Repository = "a"
	passed(t, p.Evaluate(in, now))

	p.ExceptionsMaxLifetime = time.Hour
	if err := p.Validate(now); err == nil {
		t.Error("maxLifetime does not limit the exception of a scope")
	}
	denied(t, p.Evaluate(in, now), "vulnerability all", "exception exceptions.maxLifetime")
}
