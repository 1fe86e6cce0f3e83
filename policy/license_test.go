package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/internal/spdx"
)

// violates reports whether a package with these declared licenses violates a rule.
func violates(r LicenseRule, licenses ...string) bool {
	d := spdx.NewDeclared(licenses)
	return compileLicenseRules([]LicenseRule{r})[0].violation(&d) != ""
}

func TestDeniedLicenses(t *testing.T) {
	for _, tt := range []struct {
		deny     string
		licenses string // the declared licenses, separated by "; "
		hit      bool
	}{
		{"GPL-3.0-only", "GPL-3.0-only", true},
		{"GPL-3.0-only", "MIT", false},
		{"gpl-3.0-ONLY", "gPl-3.0-Only", true},
		{"GPL-*", "GPL-2.0-or-later", true},
		{"GPL-*", "LGPL-2.1-only", false},
		{"*GPL-*", "LGPL-2.1-only", true},

		{"GPL-3.0-only", "MIT OR GPL-3.0-only", false},
		{"GPL-3.0-only", "MIT AND GPL-3.0-only", true},
		{"GPL-3.0-only", "MIT AND (GPL-3.0-only OR BSD-3-Clause)", false},
		{"GPL-3.0-only", "MIT OR BSD-3-Clause AND GPL-3.0-only", false}, // AND has a higher precedence than OR
		{"GPL-3.0-only", "(MIT OR BSD-3-Clause) AND GPL-3.0-only", true},
		{"GPL-*", "GPL-2.0-only OR GPL-3.0-only", true},
		{"GPL-3.0-only", "MIT; GPL-3.0-only", true}, // all declared licenses apply
		{"GPL-3.0-only", "MIT OR GPL-3.0-only; GPL-3.0-only OR Apache-2.0", false},
		{"MIT", "MIT and Zlib", true},
		{"MIT", "MIT or Zlib", false},

		// Identifiers that are deprecated, or that stand for several versions of a license.
		{"GPL-2.0", "GPL-2.0-only", true},
		{"GPL-2.0-only", "GPL-2.0", true},
		{"GPL-2.0-or-later", "GPL-2.0+", true},
		{"GPL-2.0+", "GPL-2.0-or-later", true},
		{"GPL-2.0-only", "GPL-2.0-or-later", false}, // the user may choose version 3, which is not denied
		{"GPL-3.0-only", "GPL-3.0-or-later", true},  // no choice: the SPDX list has no later version
		{"GPL-2.0-or-later", "GPL-3.0-only", true},
		{"GPL-2.0-or-later", "GPL-1.0-only", false},
		{"GPL-2.0-or-later", "GPL-3.0-or-later", true},
		{"GPL-2.0-or-later", "LGPL-3.0-only", false},
		{"Apache-1.1+", "Apache-2.0", true},
		{"Apache-1.1", "Apache-1.1+", false},
		{"GPL-2.0*", "GPL-2.0-or-later", true},
		{"GPL-3.0-only", "GPL-2.0-or-later", false},

		// A pattern without WITH also matches a license with an exception. A pattern with WITH
		// matches only that exception.
		{"GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0", true},
		{"GPL-*", "GPL-2.0-only with Classpath-exception-2.0", true},
		{"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", true},
		{"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only", false},
		{"GPL-2.0-only WITH *", "GPL-2.0-only", false},
		{"GPL-* with classpath-*", "GPL-2.0-only WITH Classpath-exception-2.0", true},

		{"LicenseRef-acme-*", "LicenseRef-Acme-eula", true},
		{"LicenseRef-acme", "DocumentRef-a:LicenseRef-acme", false},
		{"DocumentRef-a:LicenseRef-acme", "DocumentRef-a:LicenseRef-acme", true},
		{"GPL*", "GPL", true}, // "GPL" is not in the SPDX list, but the pattern matches its text

		// An unknown license does not violate a deny rule. Another rule is needed for it.
		{"*", "", false},
		{"*", "see the file COPYING", false},
		{"*", "NOASSERTION", false},
		{"GPL-3.0-only", "whatever; GPL-3.0-only", true},
	} {
		if err := spdx.CheckPattern(tt.deny); err != nil {
			t.Errorf("%q: %v", tt.deny, err)
		}
		if got := violates(LicenseRule{Deny: []string{"WTFPL", tt.deny}}, splitLicenses(tt.licenses)...); got != tt.hit {
			t.Errorf("deny %q hits %q: %v", tt.deny, tt.licenses, got)
		}
	}
}

func TestAllowedLicenses(t *testing.T) {
	for _, tt := range []struct {
		allow    string // the allowed licenses, separated by ", "
		licenses string // the declared licenses, separated by "; "
		hit      bool
	}{
		{"MIT", "MIT", false},
		{"MIT", "mit", false},
		{"MIT", "Zlib", true},
		{"MIT", "MIT OR Zlib", false},
		{"MIT", "MIT AND Zlib", true},
		{"MIT, Zlib", "MIT AND Zlib", false},
		{"MIT, Zlib", "MIT; Zlib", false},
		{"MIT", "MIT; Zlib", true},
		{"MIT", "(MIT OR Zlib) AND (Apache-2.0 OR MIT)", false},
		{"MIT", "MIT AND (Apache-2.0 OR Zlib)", true},
		{"BSD-*", "BSD-3-Clause", false},

		{"GPL-2.0-only", "GPL-2.0-or-later", false}, // the user may choose version 2
		{"GPL-3.0-only", "GPL-2.0-or-later", false},
		{"GPL-2.0-or-later", "GPL-3.0-only", false},
		{"GPL-3.0-or-later", "GPL-2.0-only", true},
		{"GPL-2.0", "GPL-2.0-only", false},
		{"Apache-2.0", "Apache-2.0+", false},

		{"GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0", true},
		{"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", false},
		{"GPL-2.0-only WITH *", "GPL-2.0-only WITH Classpath-exception-2.0", false},
		{"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Bison-exception-2.2", true},
		{"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only", true},
		{"GPL-2.0-only WITH *", "GPL-2.0-only", true},

		{"LicenseRef-acme", "LicenseRef-Acme", false},
	} {
		allow := strings.Split(tt.allow, ", ")
		for _, pattern := range allow {
			if err := spdx.CheckPattern(pattern); err != nil {
				t.Errorf("%q: %v", pattern, err)
			}
		}
		if got := violates(LicenseRule{Allow: allow}, splitLicenses(tt.licenses)...); got != tt.hit {
			t.Errorf("allow %q hits %q: %v", tt.allow, tt.licenses, got)
		}
	}
}

// splitLicenses splits a list at "; ". For an empty text it returns nil.
func splitLicenses(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "; ")
}

func TestUnknownLicenseIsNotAllowed(t *testing.T) {
	for _, licenses := range []string{
		"", "NONE", "NOASSERTION", "noassertion", "see COPYING", "MIT;", "MIT Zlib", "MIT AND", "AND MIT", "OR", "()", "(MIT", "MIT)", "(MIT) Zlib",
		"MIT And Zlib", "MIT/Zlib", "MIT, Zlib", "BSD", "Foo-1.0", "MIT AND Foo-1.0", "MIT; Foo-1.0", "MIT; see COPYING", "Foo OR Bar",
		"GPL-2.0-only WITH nothing", "GPL-2.0-only WITH", "GPL-2.0-only WITH Classpath-exception-2.0+", "MIT WITH (Zlib)",
		"(MIT) WITH Classpath-exception-2.0", "MIT +", "MIT++", "+", "DocumentRef-a", "a:LicenseRef-b", "sha256:00", "http://example.com/license",
	} {
		declared := splitLicenses(licenses)
		if !violates(LicenseRule{Allow: []string{"*", "* WITH *"}}, declared...) {
			t.Errorf("%q is allowed", licenses)
		}
		if !violates(LicenseRule{Unknown: true}, declared...) {
			t.Errorf("%q is not unknown", licenses)
		}
	}
	for _, licenses := range []string{
		"MIT", "MIT OR Foo", "((MIT))", "( MIT )", "MIT\tAND\nZlib", "LicenseRef-x", "DocumentRef-a:LicenseRef-x", "GPL-2.0", "GPL-2.0+",
		"GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH AdditionRef-x", "Nunit", "Apache-2.0+",
	} {
		declared := splitLicenses(licenses)
		if violates(LicenseRule{Allow: []string{"*", "* WITH *"}}, declared...) {
			t.Errorf("%q is not allowed", licenses)
		}
		if violates(LicenseRule{Unknown: true}, declared...) {
			t.Errorf("%q is unknown", licenses)
		}
	}
}

func TestLicenseRuleThatSaysNothingIsStrict(t *testing.T) {
	if !violates(LicenseRule{}, "MIT") {
		t.Error("it lets pass")
	}
}

func TestParseLicenses(t *testing.T) {
	p, err := Parse("p.yaml", []byte(minimal+`licenses:
  - name: a
    effect: warn
    deny: [GPL-*, "AGPL-3.0-only"]
    package: pkg:npm/*
  - name: b
    allow: [MIT]
  - {name: c, unknown: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []LicenseRule{
		{Name: "a", Position: at(5, 5), Effect: Warn, Deny: []string{"GPL-*", "AGPL-3.0-only"}, Package: "pkg:npm/*"},
		{Name: "b", Position: at(9, 5), Allow: []string{"MIT"}},
		{Name: "c", Position: at(11, 5), Unknown: true},
	}
	if diff := cmp.Diff(want, p.Licenses); diff != "" {
		t.Error(diff)
	}

	for rule, want := range map[string]string{
		"{name: all, unknown: true}":              `5:12: another rule on line 3 is named "all"`,
		"{unknown: true}":                         `5:5: a rule about licenses has no "name", which is mandatory`,
		"{name: a}":                               `5:5: a rule about licenses has 0 of the keys deny, allow, unknown: expected exactly one`,
		"{name: a, deny: [MIT], allow: [MIT]}":    `5:5: a rule about licenses has 2 of the keys deny, allow, unknown: expected exactly one`,
		"{name: a, unknown: false}":               `5:24: "unknown": "false" can only be true: omit the key instead`,
		"{name: a, deny: []}":                     `5:21: "deny" is empty: nothing would be denied`,
		"{name: a, allow: []}":                    `5:22: "allow" is empty: nothing would be allowed`,
		"{name: a, deny: GPL-*}":                  `5:21: "deny" is text: expected a list`,
		"{name: a, deny: [MIT], package: lodash}": `5:37: "package": pattern "lodash" matches no package URL: a package URL begins with "pkg:"`,
	} {
		got := problems(t, minimal+"licenses:\n  - "+rule+"\n")
		if diff := cmp.Diff([]string{"p.yaml:" + want}, got); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
	}
}

// TestMisspelledLicenseIsAnError checks that a misspelled license is an error. A misspelled license
// in a deny list would never match, so every license would pass.
func TestMisspelledLicenseIsAnError(t *testing.T) {
	for pattern, want := range map[string]string{
		"GPL-3":                 `"GPL-3" is not a license of the SPDX list: did you mean "GPL-3.0"?`,
		"Apache2.0":             `"Apache2.0" is not a license of the SPDX list: did you mean "Apache-2.0"?`,
		"BSD-3-Claus":           `"BSD-3-Claus" is not a license of the SPDX list: did you mean "BSD-3-Clause"?`,
		"GLP-*":                 `pattern "GLP-*" matches no license of the SPDX list`,
		"MIT OR Zlib":           `"MIT OR Zlib" is not a license of the SPDX list or a pattern: write one license for each item`,
		"(MIT)":                 `"(MIT)" is not a license of the SPDX list or a pattern: write one license for each item`,
		"NOASSERTION":           `"NOASSERTION" is not a license of the SPDX list: write one of its identifiers, a pattern with * or a LicenseRef`,
		"GPL-2.0-only WITH foo": `"foo" is not an exception of the SPDX list`,
		"GPL-* WITH foo*":       `"foo*" is not an exception of the SPDX list`,
	} {
		got := problems(t, minimal+"licenses:\n  - {name: a, deny: [\""+pattern+"\"]}\n")
		if diff := cmp.Diff([]string{`p.yaml:5:22: "deny": ` + want}, got); diff != "" {
			t.Errorf("%s: %s", pattern, diff)
		}
	}
	for _, pattern := range []string{"*", "MIT", "*-only", "LicenseRef-x", "LicenseRef-*", "GPL-2.0", "GPL-2.0+", "GPL-* WITH *", "GPL-2.0-only WITH AdditionRef-x"} {
		if err := spdx.CheckPattern(pattern); err != nil {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

// TestPackageWithoutPURLIsNotSkipped checks that rules apply to packages without a purl, although
// patterns are compared with purls.
func TestPackageWithoutPURLIsNotSkipped(t *testing.T) {
	p := blockAll()
	p.Licenses = []LicenseRule{{Name: "l", Unknown: true, Package: "pkg:npm/lodash@4.*"}}
	in := cleanInput()
	in.Platforms[0].Packages[0].PURL = ""
	d := p.Evaluate(in, now)
	denied(t, d, "license l")
	if d.Violations[0].Package == nil || d.Violations[0].Package.Name != "lodash" {
		t.Errorf("package %+v", d.Violations[0].Package)
	}
	p.Licenses[0].Package = "pkg:npm/lodash@5.*"
	passed(t, p.Evaluate(in, now))
}

func TestExceptionCoversALicense(t *testing.T) {
	p := blockAll(Exception{Rule: "l", Package: "pkg:npm/lodash", Reason: "r", Owner: "o", Expires: now.Add(1)})
	p.Licenses = []LicenseRule{{Name: "l", Unknown: true}}
	d := p.Evaluate(cleanInput(), now)
	passed(t, d)
	if len(d.Excepted) != 1 || d.Excepted[0].Package == nil {
		t.Errorf("excepted: %+v", d.Excepted)
	}
	denied(t, p.Evaluate(cleanInput(), now.Add(1)), "license l")
}

func TestLicenseMessageIsBounded(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint("license text ", i, strings.Repeat(" é", 10_000)))
	}
	if text := licenseText(many); len(text) > 2000 || !strings.HasSuffix(text, "95 more") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}
