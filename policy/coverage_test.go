package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/coverage"
)

// warnNotCovered and warnUnknowns are the effects that the single effect "warn" sets for a whole
// group.
var (
	warnNotCovered = CoverageEffects{Distribution: Warn, PackageType: Warn, Version: Warn}
	warnUnknowns   = UnknownEffects{PackageDatabase: Warn, Archive: Warn, File: Warn}
)

// gaps has one entry for each reason why a package cannot be matched with advisories.
var gaps = []evidence.Unmatched{
	{Reason: evidence.DistributionNotInDatabase},
	{Reason: evidence.TypeNotInDatabase, Type: "npm", Packages: 1},
	{Reason: evidence.VersionUnknown, Package: &evidence.Package{Name: "a", Type: "npm", PURL: "pkg:npm/a"}},
	{Reason: evidence.FirstParty, Package: &evidence.Package{Name: "app", Type: "npm", PURL: "pkg:npm/app"}},
	{Reason: evidence.MainModule, Package: &evidence.Package{Name: "m", Type: "go-module", PURL: "pkg:golang/m"}},
	{Reason: evidence.OwnedByDistribution, Package: &evidence.Package{Name: "o", Type: "java-archive", PURL: "pkg:maven/o"}},
	{Reason: evidence.PartOfPackage, Package: &evidence.Package{Name: "p", Type: "npm", PURL: "pkg:npm/p"}},
}

// blocking returns the reasons of the unmatched packages and the classes of the unreadable files
// that d lists as violations.
func blocking(d Decision) string {
	var reasons []string
	for _, v := range d.Violations {
		switch {
		case v.Unmatched != nil:
			reasons = append(reasons, coverage.ReasonKey(v.Unmatched.Reason))
		case v.Unknown != nil:
			reasons = append(reasons, coverage.ClassKey(v.Unknown.Class))
		default:
			reasons = append(reasons, v.Message)
		}
	}
	slices.Sort(reasons)
	return strings.Join(slices.Compact(reasons), " ")
}

func TestEachReasonHasItsEffect(t *testing.T) {
	for notCovered, want := range map[string]string{
		"":                                 "distribution packageType version",
		"notCovered: block":                "distribution packageType version",
		"notCovered: warn":                 "",
		"notCovered: {distribution: warn}": "packageType version",
		"notCovered: {packageType: warn}":  "distribution version",
		"notCovered: {version: warn, firstParty: warn}":                                         "distribution packageType",
		"notCovered: {firstParty: block}":                                                       "distribution firstParty packageType version",
		"notCovered: {distribution: warn, packageType: warn, version: warn, firstParty: block}": "firstParty",
	} {
		in := cleanInput()
		in.Platforms[0].Unmatched = gaps
		if got := blocking(parsed(t, minimal+"distribution: {"+notCovered+"}\n").Evaluate(in, now)); got != want {
			t.Errorf("%s: %s blocks, want %s", notCovered, got, want)
		}
	}
}

func TestEachClassOfUnknownHasItsEffect(t *testing.T) {
	for unknowns, want := range map[string]string{
		"":                                  "archive file packageDatabase",
		"unknowns: warn":                    "",
		"unknowns: {archive: warn}":         "file packageDatabase",
		"unknowns: {file: warn}":            "archive packageDatabase",
		"unknowns: {packageDatabase: warn}": "archive file",
		"unknowns: {file: warn, testData: block}": "archive packageDatabase testData",
	} {
		in := cleanInput()
		for _, class := range []evidence.UnknownClass{evidence.UnknownPackageDatabase, evidence.UnknownArchive, evidence.UnknownFile, "", evidence.UnknownTestData, evidence.UnknownOwned} {
			in.Platforms[0].Unknowns = append(in.Platforms[0].Unknowns, evidence.Unknown{Reason: "r", Class: class})
		}
		if got := blocking(parsed(t, minimal+"sbom: {"+unknowns+"}\n").Evaluate(in, now)); got != want {
			t.Errorf("%s: %s blocks, want %s", unknowns, got, want)
		}
	}
}

func TestGroupsOfEffectsAreStrict(t *testing.T) {
	for data, want := range map[string]string{
		"distribution: {notCovered: deny}":                 "4:28: \"notCovered\": unknown effect \"deny\": expected block or warn",
		"distribution: {notCovered: [warn]}":               `4:28: "notCovered" is a list: expected a mapping`,
		"distribution: {notCovered: {}}":                   `4:28: "notCovered" is empty: expected block, warn or a mapping`,
		"distribution: {notCovered: {versions: warn}}":     `4:29: unknown key "versions" in "notCovered": did you mean "version"?`,
		"distribution: {notCovered: {firstParty: ignore}}": `4:41: "firstParty": unknown effect "ignore": expected block or warn`,
		"sbom: {unknowns: {archives: warn}}":               `4:19: unknown key "archives" in "unknowns": did you mean "archive"?`,
		"sbom: {unknowns: }":                               `4:18: "unknowns" is empty: expected block or warn`,
	} {
		if diff := cmp.Diff([]string{"p.yaml:" + want}, problems(t, minimal+data+"\n")); diff != "" {
			t.Errorf("%s: %s", data, diff)
		}
	}
}

// TestScopeChangesOneReason checks that a scope changes the effect for one reason and keeps the
// policy's effects for the others. A violation names the scope only if the scope set its effect.
func TestScopeChangesOneReason(t *testing.T) {
	p := parsed(t, minimal+`distribution:
  notCovered: {packageType: warn, firstParty: block}
images:
  - match: a
    distribution: {notCovered: {version: warn}}
  - match: b
    distribution: {notCovered: warn}
  - match: b
    distribution: {notCovered: {packageType: block}}
`)
	for repository, want := range map[string]string{
		"other": "distribution firstParty version",
		"a":     "distribution firstParty",
		"b":     "firstParty packageType",
	} {
		in := cleanInput()
		in.Image.Repository = repository
		in.Platforms[0].Unmatched = gaps
		d := p.Evaluate(in, now)
		if got := blocking(d); got != want {
			t.Errorf("%s: %s blocks, want %s", repository, got, want)
		}
		for _, v := range d.Warnings {
			scoped := repository == "a" && v.Unmatched.Reason == evidence.VersionUnknown || repository == "b"
			if scoped != (v.Scope != "") {
				t.Errorf("%s: %s has the scope %q at %s", repository, v.Unmatched.Reason, v.Scope, v.Position)
			}
		}
	}
}

// withExceptions returns the YAML of a policy with exceptions. Each argument has the keys of one
// exception.
func withExceptions(keys ...string) string {
	data := minimal + "exceptions:\n"
	for _, k := range keys {
		data += "  - {" + k + ", reason: r, owner: o, expires: 2030-01-01}\n"
	}
	return data
}

// TestExceptionForAGapCoversItAlone checks that an exception for a gap (an unmatched package or an
// unreadable file) covers exactly the packages or files that it names.
func TestExceptionForAGapCoversItAlone(t *testing.T) {
	in := cleanInput()
	p := &in.Platforms[0]
	npm := func(name, path string) evidence.Package {
		return evidence.Package{Name: name, Version: "UNKNOWN", Type: "npm", PURL: "pkg:npm/" + name, Found: []evidence.Location{{Path: path}}}
	}
	a, b := npm("a", "/srv/a/package.json"), npm("b", "/srv/b/package.json")
	p.Packages = []evidence.Package{{Name: "libc6", Version: "1", Type: "deb", PURL: "pkg:deb/debian/libc6@1"}, a, b}
	p.Unmatched = []evidence.Unmatched{
		{Reason: evidence.VersionUnknown, Package: &a}, {Reason: evidence.VersionUnknown, Package: &b},
		{Reason: evidence.TypeNotInDatabase, Type: "npm", Packages: 2}, {Reason: evidence.DistributionNotInDatabase, Detail: "debian 99"},
	}
	p.Unknowns = []evidence.Unknown{
		{Location: evidence.Location{Path: "/srv/a/test/package.json"}, Reason: "r", Class: evidence.UnknownFile, Package: "pkg:npm/a@1"},
		{Location: evidence.Location{Path: "/srv/app.jar:lib/x.jar"}, Reason: "r", Class: evidence.UnknownArchive},
	}
	for exception, want := range map[string]struct{ excepted, blocked int }{
		"rule: distribution.notCovered":                                                 {4, 2},
		"rule: distribution.notCovered, package: pkg:npm/a":                             {1, 5},
		"rule: distribution.notCovered, package: pkg:npm/*":                             {3, 3},
		"rule: distribution.notCovered, package: pkg:deb/*":                             {1, 5},
		"rule: distribution.notCovered, path: /srv/*/package.json":                      {3, 3},
		"rule: distribution.notCovered, path: /srv/*":                                   {0, 6},
		"rule: distribution.notCovered, path: '**'":                                     {3, 3},
		"rule: distribution.notCovered, path: /srv/b/*, package: pkg:npm/b":             {1, 5},
		"rule: distribution.notCovered, path: /srv/b/*, package: pkg:npm/a":             {0, 6},
		"rule: sbom.unknowns":                                                           {2, 4},
		"rule: sbom.unknowns, package: pkg:npm/a":                                       {1, 5},
		"rule: sbom.unknowns, package: pkg:npm/b":                                       {0, 6},
		"rule: sbom.unknowns, path: /srv/**/test/*":                                     {1, 5},
		"rule: sbom.unknowns, path: '/srv/app.jar:lib/*.jar'":                           {1, 5},
		"rule: sbom.unknowns, path: /srv/app.jar":                                       {0, 6},
		"rule: distribution.notCovered, package: pkg:npm/a, image: elsewhere.example/*": {0, 6},
	} {
		d := parsed(t, withExceptions(exception)).Evaluate(in, now)
		if len(d.Excepted) != want.excepted || len(d.Violations) != want.blocked {
			t.Errorf("%s: %d excepted and %d blocked, want %d and %d", exception, len(d.Excepted), len(d.Violations), want.excepted, want.blocked)
		}
		unused := slices.ContainsFunc(d.Warnings, func(v Violation) bool { return v.Kind == KindException })
		if unused != (want.excepted == 0) {
			t.Errorf("%s: the warnings are %+v", exception, d.Warnings)
		}
	}
}

// TestExpiredExceptionForAGapBlocks checks that a gap (an unmatched package or an unreadable file)
// blocks again after its exception has expired, and that the violation lists the expired exception.
func TestExpiredExceptionForAGapBlocks(t *testing.T) {
	in := cleanInput()
	in.Platforms[0].Unknowns = []evidence.Unknown{{Location: evidence.Location{Path: "/a"}, Reason: "r"}}
	d := parsed(t, minimal+"exceptions: [{rule: sbom.unknowns, path: /a, reason: r, owner: o, expires: 2020-01-01}]\n").Evaluate(in, now)
	denied(t, d, "sbom sbom.unknowns")
	if len(d.Violations[0].Expired) != 1 {
		t.Errorf("%+v", d.Violations[0])
	}
}

// TestOwnedPackageIsNotPartOfATypeThatIsNotInTheDatabase checks exceptions for a package type
// without advisories, if the distribution owns some packages of this type. An exception need not
// match the owned packages. An exception that matches only the owned packages does not cover the
// type.
func TestOwnedPackageIsNotPartOfATypeThatIsNotInTheDatabase(t *testing.T) {
	in := cleanInput()
	p := &in.Platforms[0]
	owned := evidence.Package{Name: "a", Version: "1", Type: "npm", PURL: "pkg:npm/a@1", Found: []evidence.Location{{Path: "/usr/share/nodejs/a/package.json"}}}
	other := owned
	other.Found = []evidence.Location{{Path: "/srv/a/package.json"}}
	p.Packages = append(p.Packages, owned, other)
	p.Unmatched = []evidence.Unmatched{{Reason: evidence.TypeNotInDatabase, Type: "npm", Packages: 1}, {Reason: evidence.OwnedByDistribution, Package: &owned}}
	passed(t, parsed(t, withExceptions("rule: distribution.notCovered, path: /srv/**")).Evaluate(in, now))
	denied(t, parsed(t, withExceptions("rule: distribution.notCovered, path: /usr/**")).Evaluate(in, now), "coverage distribution.notCovered")
}

func TestExceptionThatCanNeverMatchIsRefused(t *testing.T) {
	for keys, want := range map[string]string{
		"id: CVE-1, path: /a":                "an exception with a path applies only to the rules distribution.notCovered and sbom.unknowns",
		"rule: no telnet, path: /a":          "an exception with a path applies only to the rules distribution.notCovered and sbom.unknowns",
		"rule: sbom.unknowns, path: a":       `"path": pattern "a" matches no path: paths begin with "/"`,
		"rule: sbom.unknowns, path: /a/":     `"path": matches no path: remove empty folders, ".", ".." and a "/" at the end`,
		"rule: sbom.unknowns, path: /a/../b": `"path": matches no path: remove empty folders, ".", ".." and a "/" at the end`,
		"rule: sbom.unknowns, path: '/a/[b'": `"path": "/a/[b" is not a valid pattern: it has an unclosed bracket or a backslash at its end`,
	} {
		got := problems(t, withExceptions(keys))
		if len(got) != 1 || !strings.HasSuffix(got[0], want) {
			t.Errorf("%s: %q, want %q", keys, got, want)
		}
	}
	if got := problems(t, "version: 1\nrules: [{name: sbom.unknowns}]\n"); len(got) != 1 || !strings.Contains(got[0], "the name of a built-in rule") {
		t.Errorf("a rule with the name of a built-in one: %q", got)
	}
}
