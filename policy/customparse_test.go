package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCustomProblems checks the messages for invalid policies, and their positions.
func TestCustomProblems(t *testing.T) {
	for _, test := range []struct {
		name, source string
		want         []string
	}{
		{"all at once", `custom:
  - name: one
    each: package
    when: pkg.nam == "a" || pkg.version == 1
  - name: two
    each: platform
    effect: deny
    when: platform.packages.size()
    message: platform.packages.size()
  - each: finding
    when: finding.severity >= 7
    message: nothing
`, []string{
			`4:14: undefined field 'nam'`,
			`4:41: found no matching overload for '_==_' applied to '(string, int)'`,
			`7:13: "effect": unknown effect "deny": expected block or warn`,
			`8:11: the expression is of type int: expected bool`,
			`9:14: the expression is of type int: expected string`,
			`10:5: a custom rule has no "name", which is mandatory`,
			`11:28: found no matching overload for '_>=_' applied to '(Severity, int)'`,
			`12:14: undeclared reference to 'nothing'`,
		}},
		{"keys", `custom:
  - name: one
    each: packages
    when: "true"
  - name: one
    each: package
    when: true
    if: x
  - name: three
    when: pkg.
  - name: four
    each: package
    when: " "
`, []string{
			`3:11: "each": "packages" is not a kind of object: expected finding, package or platform`,
			`5:11: another rule on line 2 is named "one"`,
			`7:11: "when" is a boolean: expected text in quotes`,
			`8:5: unknown key "if" in a custom rule: expected one of name, effect, each, when, message`,
			`9:5: a custom rule has no "each", which is mandatory`,
			`13:11: "when": is blank`,
		}},
		{"no list", "custom: x\n", []string{`1:9: "custom" is text: expected a list`}},

		{"plain", ofPackages(`when: pkg.name == nam`), []string{`4:23: undeclared reference to 'nam'`}},
		{"plain over lines", ofPackages("when: pkg.name\n      ==\n        nam"), []string{`6:9: undeclared reference to 'nam'`}},
		{"single quotes", ofPackages(`when: 'pkg.name == ''é'' + nam'`), []string{`4:32: undeclared reference to 'nam'`}},
		{"single quotes over lines", ofPackages("when: 'pkg.name\n\n      == nam'"), []string{`6:10: undeclared reference to 'nam'`}},
		{"double quotes", ofPackages(`when: "pkg.name == \"\u00e9\x41\" + nam"`), []string{`4:41: undeclared reference to 'nam'`}},
		{"double quotes over lines", ofPackages("when: \"pkg.\\\n        name ==\\n\\t nam\""), []string{`5:21: undeclared reference to 'nam'`}},
		{"literal block", ofPackages("when: |\n        pkg.name ==\n\n          nam\n"), []string{`7:11: undeclared reference to 'nam'`}},
		{"literal block with indentation", ofPackages("when: |2-\n         pkg.name == nam\n"), []string{`5:22: undeclared reference to 'nam'`}},
		{"literal block after blank lines", ofPackages("when: | # why\n\n\n      pkg.name ==\n      nam\n"), []string{`8:7: undeclared reference to 'nam'`}},
		{"folded block", ofPackages("when: >-\n      pkg.name\n      ==\n\n      nam\n"), []string{`8:7: undeclared reference to 'nam'`}},
		{"comment in the expression", ofPackages("when: |\n      // nam\n      nam\n"), []string{`6:7: undeclared reference to 'nam'`}},
		{"returns at the ends of lines", strings.ReplaceAll(ofPackages("when: |\n      pkg.name ==\n      nam\n"), "\n", "\r\n"), []string{`6:7: undeclared reference to 'nam'`}},
		{"flow", "custom: [{name: x, each: package, when: \"nam == ''\"}]\n", []string{`1:42: undeclared reference to 'nam'`}},
		{"several on several lines", ofPackages("when: |\n      a == 1 ||\n      b == 1 || c ==\n         1\n"),
			[]string{`5:7: undeclared reference to 'a'`, `6:7: undeclared reference to 'b'`, `6:17: undeclared reference to 'c'`}},

		{"no syntax", ofPackages(`when: pkg.name == `), []string{`4:22: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}`}},
		{"word of the language", ofPackages(`when: package.name == ""`), []string{`4:11: reserved identifier: package: the package is called "pkg" in expressions`}},
		{"control character", ofPackages(`when: "\e == 1"`), []string{`4:12: Syntax error: token recognition error at: '\x1b'`, `4:15: Syntax error: extraneous input '==' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}`}},
		{"findings of a platform", ofPackages(`when: platform.findings.size() > 0`), []string{`4:19: undefined field 'findings'`}},
		{"suppressed findings", ofPackages(`when: platform.suppressed.size() > 0`), []string{`4:19: undefined field 'suppressed'`}},
		{"licenses of a finding's package", strings.Replace(ofPackages(`when: finding.package.licenses.size() == 0`), "package\n", "finding\n", 1),
			[]string{`4:26: undefined field 'licenses'`}},
		{"finding in a rule about packages", ofPackages(`when: finding.id == ""`), []string{`4:11: undeclared reference to 'finding'`}},
		{"comparison of objects", ofPackages(`when: platform.base == platform.base`), []string{`4:25: Base cannot be compared: compare its fields, or test with has() whether it exists`}},
		{"comparison with null", ofPackages(`when: platform.base != null`), []string{`4:25: Base cannot be compared: compare its fields, or test with has() whether it exists`}},
		{"object in a list", ofPackages(`when: pkg in platform.packages`), []string{`4:15: Package cannot be compared: compare its fields, or test with has() whether it exists`}},
		{"map", ofPackages(`when: '{"a": 1}.size() == 1'`), []string{`4:12: map literals are not allowed: their order is random`}},
		{"new object", ofPackages(`when: Package{name:"x"}.name == ""`), []string{`4:18: objects cannot be created, only read`}},
		{"new message", ofPackages(`when: google.protobuf.Int64Value{value:1} == 1`), []string{`4:37: objects cannot be created, only read`}},
		{"without types", ofPackages(`when: dyn(pkg).nam == ""`), []string{`4:14: undeclared reference to 'dyn'`}},
		{"time zone of the machine", ofPackages(`when: now.getHours("Europe/Berlin") == 1`), []string{`4:23: found no matching overload for 'getHours' applied to 'timestamp.(string)'`}},
		{"regular expression", ofPackages(`when: pkg.name.matches("(")`), []string{"4:28: invalid matches argument"}},
		{"duration", ofPackages(`when: now > now + duration("1 day")`), []string{"4:32: invalid duration argument"}},
		{"timestamp", ofPackages(`when: now > timestamp("tomorrow")`), []string{"4:27: invalid timestamp argument"}},
		{"cost", ofPackages(`when: platform.packages.exists(a, platform.packages.exists(b, a.name == b.version))`), []string{
			`4:11: the expression may cost 2800070003 for a large image, the limit is 1000000: look through a list once, not once for each entry of another list`}},
		{"length", ofPackages(`when: pkg.name == "` + strings.Repeat("a", 16<<10) + `"`), []string{
			`4:11: expression code point size exceeds limit: size: 16398, limit 16384`}},
		{"depth", ofPackages(`when: ` + strings.Repeat("(", 3000) + `true` + strings.Repeat(")", 3000)), []string{
			`4:11: expression recursion limit exceeded: 250`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseCustom(test.source)
			var got []string
			if err != nil {
				for line := range strings.SplitSeq(err.Error(), "\n") {
					got = append(got, strings.TrimPrefix(line, "policy.yaml:"))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s\n%s", test.source, diff)
			}
		})
	}
}

// ofPackages returns the YAML of a policy with one custom rule about packages. lines are the last
// lines of the rule.
func ofPackages(lines string) string {
	return "custom:\n  - name: a rule\n    each: package\n    " + lines + "\n"
}

// TestTooManyCustomRules checks that the number of custom rules is limited.
func TestTooManyCustomRules(t *testing.T) {
	var source strings.Builder
	source.WriteString("custom:\n")
	for i := range maxCustomRules + 1 {
		fmt.Fprintf(&source, "- {name: r%d, each: platform, when: \"true\"}\n", i)
	}
	_, err := parseCustom(source.String())
	if err == nil || err.Error() != `policy.yaml:1002:3: "custom" has more than 1000 items` {
		t.Error(err)
	}
}
