package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

func withPackages(packages ...evidence.Package) evidence.Input {
	in := cleanInput()
	in.Platforms[0].Packages = packages
	return in
}

func npm(name, version string) evidence.Package {
	return evidence.Package{Name: name, Version: version, Type: "npm", PURL: "pkg:npm/" + name + "@" + version}
}

func packageRules(rules ...PackageRule) *Policy {
	p := blockAll()
	p.Packages = rules
	return p
}

func TestDeniedPackage(t *testing.T) {
	p := packageRules(PackageRule{Name: "d", Deny: "pkg:npm/left-*"})
	d := p.Evaluate(withPackages(npm("left-pad", "1.0.0"), npm("lodash", "4.17.21"), npm("left-pad", "2.0.0")), now)
	denied(t, d, "package d", "package d")
	for i, version := range []string{"1.0.0", "2.0.0"} {
		if got := d.Violations[i].Package; got == nil || got.Name != "left-pad" || got.Version != version {
			t.Errorf("package %+v", got)
		}
	}
	passed(t, p.Evaluate(withPackages(npm("lodash", "4.17.21")), now))

	p.Packages[0].Deny = "pkg:npm/left-pad@1.*"
	denied(t, p.Evaluate(withPackages(npm("left-pad", "1.0.0"), npm("left-pad", "2.0.0")), now), "package d")
	bare := npm("left-pad", "1.0.0")
	bare.PURL = ""
	denied(t, p.Evaluate(withPackages(bare), now), "package d")
}

// TestRequiredPackageOnOnePlatformIsNotEnough checks that a required package must be on every
// platform.
func TestRequiredPackageOnOnePlatformIsNotEnough(t *testing.T) {
	p := packageRules(PackageRule{Name: "r", Require: "pkg:npm/agent@2.*"})
	in := withPackages(npm("agent", "2.0.0"), npm("agent", "1.0.0"))
	passed(t, p.Evaluate(in, now))
	second := in.Platforms[0]
	second.Platform, second.Packages = "linux/arm64", []evidence.Package{npm("agent", "1.0.0")}
	in.Platforms = append(in.Platforms, second)
	d := p.Evaluate(in, now)
	denied(t, d, "package r")
	if v := d.Violations[0]; v.Platform != "linux/arm64" || v.Package != nil {
		t.Errorf("%+v", v)
	}
}

func TestOldPackage(t *testing.T) {
	p := packageRules(PackageRule{Name: "m", Minimum: MinimumVersion{PURL: "pkg:npm/lodash", Version: "4.17.21"}})
	for version, ok := range map[string]bool{
		"4.17.20": false, "4.17.21": true, "4.17.22": true, "10.0.0": true, "4.17.21-rc.1": false, "": false, "latest": false, "git+https://x": false,
	} {
		d := p.Evaluate(withPackages(npm("lodash", version), npm("other", "1.0.0")), now)
		if ok {
			passed(t, d)
			continue
		}
		denied(t, d, "package m")
	}
	// A rule with minimum is not violated by a missing package.
	passed(t, p.Evaluate(withPackages(npm("other", "1.0.0")), now))

	p.Packages[0].Minimum.PURL = "pkg:conan/rails"
	rails := evidence.Package{Name: "rails", Version: "99", Type: "conan", PURL: "pkg:conan/rails@99"}
	denied(t, p.Evaluate(withPackages(rails), now), "package m")
}

func TestPackageRuleThatSaysNothingIsStrict(t *testing.T) {
	denied(t, packageRules(PackageRule{Name: "x"}).Evaluate(cleanInput(), now), "package x")
}

func TestPackageRuleWarns(t *testing.T) {
	p := packageRules(
		PackageRule{Name: "d", Effect: Warn, Deny: "pkg:npm/lodash"},
		PackageRule{Name: "r", Effect: Warn, Require: "pkg:npm/agent"},
		PackageRule{Name: "m", Effect: Warn, Minimum: MinimumVersion{PURL: "pkg:npm/lodash", Version: "5.0.0"}},
	)
	d := p.Evaluate(cleanInput(), now)
	passed(t, d)
	if len(d.Warnings) != 3 {
		t.Errorf("warnings: %+v", d.Warnings)
	}
}

func TestExceptionCoversARequiredPackage(t *testing.T) {
	e := Exception{Rule: "r", Reason: "r", Owner: "o", Expires: now.Add(1)}
	p := packageRules(PackageRule{Name: "r", Require: "pkg:npm/agent"})
	p.Exceptions = []Exception{e}
	d := p.Evaluate(cleanInput(), now)
	passed(t, d)
	if !d.Until.Equal(e.Expires) {
		t.Errorf("until %v", d.Until)
	}
	denied(t, p.Evaluate(cleanInput(), e.Expires), "package r")
}

func TestParsePackages(t *testing.T) {
	p, err := Parse("p.yaml", []byte(minimal+`packages:
  - name: a
    effect: warn
    deny: pkg:deb/*/telnet*
  - name: b
    require: pkg:npm/agent@2.*
  - {name: c, minimum: {purl: pkg:deb/debian/openssl, version: "3.0.13"}}
  - {name: d, minimum: {purl: "pkg:*/openssl", version: anything}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []PackageRule{
		{Name: "a", Position: at(5, 5), Effect: Warn, Deny: "pkg:deb/*/telnet*"},
		{Name: "b", Position: at(8, 5), Require: "pkg:npm/agent@2.*"},
		{Name: "c", Position: at(10, 5), Minimum: MinimumVersion{PURL: "pkg:deb/debian/openssl", Version: "3.0.13"}},
		{Name: "d", Position: at(11, 5), Minimum: MinimumVersion{PURL: "pkg:*/openssl", Version: "anything"}},
	}
	if diff := cmp.Diff(want, p.Packages); diff != "" {
		t.Error(diff)
	}

	for rule, want := range map[string]string{
		"{name: all, deny: \"*\"}":                                         `5:12: another rule on line 3 is named "all"`,
		"{deny: \"*\"}":                                                    `5:5: a rule about packages has no "name", which is mandatory`,
		"{name: a}":                                                        `5:5: a rule about packages has 0 of the keys deny, require, minimum: expected exactly one`,
		"{name: a, deny: \"*\", require: \"*\"}":                           `5:5: a rule about packages has 2 of the keys deny, require, minimum: expected exactly one`,
		"{name: a, deny: telnet}":                                          `5:21: "deny": pattern "telnet" matches no package URL: a package URL begins with "pkg:"`,
		"{name: a, minimum: {version: \"1\"}}":                             `5:24: "minimum" has no "purl", which is mandatory`,
		"{name: a, minimum: {purl: pkg:npm/a}}":                            `5:24: "minimum" has no "version", which is mandatory`,
		"{name: a, minimum: {purl: pkg:npm/a, version: 1.0}}":              `5:51: "version" is a number: expected text in quotes`,
		"{name: a, minimum: {purl: pkg:npm/a@1.0, version: 1.0.0}}":        `5:31: "purl": has a version after "@": write it under the key "version"`,
		"{name: a, minimum: {purl: pkg:npm/a, version: new}}":              `5:24: "minimum": "new" is not a valid semantic version: invalid semantic version`,
		"{name: a, minimum: {purl: pkg:npm/a, version: 1.0.0 or later}}":   `5:51: "version": the version "1.0.0 or later" contains an invalid character`,
		"{name: a, minimum: {purl: pkg:conan/a, version: 1.0.0}}":          `5:24: "minimum": cannot compare versions of package type "conan": expected one of apk, cargo, composer, deb, gem, golang, hex, maven, npm, nuget, pub, pypi, rpm, swift`,
		"{name: a, minimum: {purl: pkg:npm/a, version: 1.0.0, effect: x}}": `5:58: unknown key "effect" in "minimum": expected one of purl, version`,
	} {
		got := problems(t, minimal+"packages:\n  - "+rule+"\n")
		if diff := cmp.Diff([]string{"p.yaml:" + want}, got); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
	}
}
