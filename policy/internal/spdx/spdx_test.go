package spdx

import (
	"strings"
	"testing"
)

// denied reports whether the user of a package with these declared licenses cannot avoid the denied
// licenses.
func denied(patterns []string, licenses ...string) bool {
	d := NewDeclared(licenses)
	return d.Hits(NewPatterns(patterns).Deny)
}

// allowed reports whether the user of a package with these declared licenses can choose only
// allowed licenses.
func allowed(patterns []string, licenses ...string) bool {
	p, d := NewPatterns(patterns), NewDeclared(licenses)
	return !d.Unread && !d.Hits(func(l *License) bool { return !p.Allow(l) })
}

func isUnknown(licenses ...string) bool {
	d := NewDeclared(licenses)
	return d.Unread || d.Hits(func(l *License) bool { return !l.Known })
}

// TestChoiceIsNotAWayOut checks that a package is denied if each alternative of a license
// expression includes a denied license. If a package declares several licenses, all of them apply.
func TestChoiceIsNotAWayOut(t *testing.T) {
	for _, test := range []struct {
		pattern  string
		licenses []string
		want     bool
	}{
		{"GPL-2.0-only", []string{"GPL-2.0"}, true},
		{"GPL-2.0-only", []string{"gpl-2.0-only"}, true},
		{"GPL-*", []string{"GPL-3.0-or-later OR MIT"}, false},
		{"GPL-*", []string{"GPL-3.0-or-later AND MIT"}, true},
		{"GPL-*", []string{"MIT", "GPL-3.0-only"}, true},
		{"GPL-*", []string{"GPL-2.0-only OR GPL-3.0-only"}, true},
		{"GPL-2.0-only", []string{"GPL-2.0-only WITH Classpath-exception-2.0"}, true},
		{"GPL-2.0-only WITH Classpath-exception-2.0", []string{"GPL-2.0-only"}, false},
		{"GPL-2.0-or-later", []string{"GPL-3.0-only"}, true},
		{"GPL-3.0-or-later", []string{"GPL-2.0-only"}, false},
		{"MIT", []string{"not an expression ("}, false},
	} {
		if got := denied([]string{test.pattern}, test.licenses...); got != test.want {
			t.Errorf("%s denies %q: %v", test.pattern, test.licenses, got)
		}
	}
}

func TestUnreadableLicenseIsNotAllowed(t *testing.T) {
	for license, want := range map[string]bool{
		"MIT": true, "MIT OR Zlib": true, "MIT AND Zlib": false, "Zlib": false,
		"MIT WITH Classpath-exception-2.0": false, "some text": false, "": false,
	} {
		if got := allowed([]string{"MIT"}, license); got != want {
			t.Errorf("%q: %v", license, got)
		}
	}
	if allowed([]string{"*"}) {
		t.Error("a package that declares none is allowed")
	}
}

func TestUnknownLicense(t *testing.T) {
	for license, want := range map[string]bool{"MIT": false, "LicenseRef-a": false, "MTI": true, "MIT OR MTI": false, "MIT AND MTI": true, "": true} {
		if got := isUnknown(license); got != want {
			t.Errorf("%q: %v", license, got)
		}
	}
}

func TestPatternsThatMatchNothingAreRefused(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"MIT": true, "GPL-*": true, "GPL-2.0-or-later": true, "GPL-2.0-only WITH Classpath-exception-2.0": true, "LicenseRef-a": true,
		"MTI": false, "MIT OR Zlib": false, "(MIT)": false,
	} {
		if err := CheckPattern(pattern); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	if !Denies([]string{"gpl-*"}, "GPL-2.0-only") || Denies([]string{"GPL-2.0-only"}, "GPL-*") {
		t.Error("a pattern denies another only if it matches everything that the other matches")
	}
}

func TestLicenseExpressionIsBounded(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("(", depth) + "MIT" + strings.Repeat(")", depth) }
	long := func(size int) string { return "MIT" + strings.Repeat(" ", size-len("MIT")) }
	for _, s := range []string{nested(MaxDepth), long(MaxExpression), strings.Repeat("(MIT) AND ", 1000) + "MIT"} {
		if _, err := Parse(s); err != nil {
			t.Errorf("%.20q...: %v", s, err)
		}
	}
	for _, s := range []string{nested(MaxDepth + 1), long(MaxExpression + 1), strings.Repeat("(", MaxExpression)} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%.20q... is read", s)
		}
	}
	// This expression has 2^800 combinations of alternatives, so a check of each combination would
	// never end.
	if denied([]string{"MIT"}, strings.Repeat("(MIT OR Zlib) AND ", 800)+"Zlib") {
		t.Error("denied")
	}
}

func FuzzLicenseExpression(f *testing.F) {
	for _, s := range []string{"MIT", "MIT OR GPL-2.0+ AND Zlib", "((GPL-2.0-only WITH Classpath-exception-2.0))", "DocumentRef-a:LicenseRef-b", "NONE", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all := []string{"*", "* WITH *"}
		unknown := isUnknown(s)
		if allowed(all, s) == unknown {
			t.Errorf("%q: what is allowed by * must be what is known: %v", s, unknown)
		}
		if _, err := Parse(s); err != nil {
			if !unknown || denied([]string{"*"}, s) {
				t.Errorf("%q is no expression and yet known or denied", s)
			}
			return
		}
		if !denied([]string{"*"}, s) {
			t.Errorf("%q: * denies all", s)
		}
		// Joining an expression with itself by AND must not change the result.
		both := denied([]string{"MIT"}, s)
		if nested := denied([]string{"MIT"}, "("+s+") AND ("+s+")"); nested != both && len(s) < MaxExpression/4 && !strings.Contains(s, strings.Repeat("(", 10)) {
			t.Errorf("%q: denied %v, and twice the same %v", s, both, nested)
		}
		if !denied([]string{"MIT"}, s, "MIT") {
			t.Errorf("%q hides another license", s)
		}
	})
}
