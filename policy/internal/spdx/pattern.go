package spdx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/suggest"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// licensePattern matches licenses by name.
type licensePattern struct {
	name      match.Glob
	license   License    // used if the pattern has no star
	exception match.Glob // the pattern after WITH; nil without WITH
}

func newLicensePattern(s string) licensePattern {
	id, exception, with := cutWith(strings.ToLower(s))
	p := licensePattern{name: match.NewGlob(id)}
	if len(p.name) == 1 {
		p.license = NewLicense(id, "")
	}
	if with {
		p.exception = match.NewGlob(exception)
	}
	return p
}

// cutWith splits a pattern at its operator WITH.
func cutWith(s string) (id, exception string, with bool) {
	if f := strings.Fields(s); len(f) == 3 && strings.EqualFold(f[1], "with") {
		return f[0], f[2], true
	}
	return s, "", false
}

// match compares the license with the pattern, and ignores the exceptions after WITH.
func (p *licensePattern) match(l *License) bool {
	if len(p.name) > 1 {
		return slices.ContainsFunc(l.names(), p.name.Match)
	}
	if p.license.later && !l.later {
		return l.atLeast(p.license.id)
	}
	return l.id == p.license.id && l.later == p.license.later
}

func (p *licensePattern) matchException(l *License) bool {
	return l.exception != "" && p.exception.Match(l.exception)
}

// Patterns is a list of patterns for licenses.
type Patterns []licensePattern

// NewPatterns compiles a list of patterns.
func NewPatterns(list []string) Patterns {
	patterns := make(Patterns, len(list))
	for i, s := range list {
		patterns[i] = newLicensePattern(s)
	}
	return patterns
}

// Deny reports whether a pattern matches l. For a license "or later", it also returns true if the
// patterns deny each version that the user can choose.
func (patterns Patterns) Deny(l *License) bool {
	for i := range patterns {
		p := &patterns[i]
		if p.match(l) && (p.exception == nil || p.matchException(l)) {
			return true
		}
	}
	return l.later && !slices.ContainsFunc(l.versions(), func(v License) bool { return !patterns.Deny(&v) })
}

// Allow reports whether a pattern matches l. For a license "or later", it also returns true if the
// patterns allow at least one version that the user can choose. An unknown license is never
// allowed, not even by "*".
func (patterns Patterns) Allow(l *License) bool {
	if !l.Known {
		return false
	}
	for i := range patterns {
		p := &patterns[i]
		if p.match(l) && (p.exception == nil) == (l.exception == "") && (p.exception == nil || p.matchException(l)) {
			return true
		}
	}
	return l.later && slices.ContainsFunc(l.versions(), func(v License) bool { return patterns.Allow(&v) })
}

// CheckPattern returns an error for a pattern that matches no license, such as a misspelled one. In
// a deny list, such a pattern would let everything pass.
func CheckPattern(s string) error {
	list := spdxList()
	id, exception, with := cutWith(strings.ToLower(s))
	if !isIdentifier(strings.ReplaceAll(id, "*", "x")) {
		return fmt.Errorf("%q is not a license of the SPDX list or a pattern: write one license for each item", s)
	}
	p := newLicensePattern(id)
	star := len(p.name) > 1
	switch {
	case !star && !p.license.Known:
		if near := suggest.Nearest(id, list.names); near != "" {
			return fmt.Errorf("%q is not a license of the SPDX list: did you mean %q?", s, near)
		}
		return fmt.Errorf("%q is not a license of the SPDX list: write one of its identifiers, a pattern with * or a LicenseRef", s)
	case star && !isReference(id) && !slices.ContainsFunc(list.names, func(name string) bool {
		l := NewLicense(name, "")
		return slices.ContainsFunc(l.names(), p.name.Match)
	}):
		return fmt.Errorf("pattern %q matches no license of the SPDX list", s)
	}
	if !with || strings.HasPrefix(exception, "additionref-") {
		return nil
	}
	known := match.NewGlob(exception)
	for name := range list.exceptions {
		if known.Match(name) {
			return nil
		}
	}
	return fmt.Errorf("%q is not an exception of the SPDX list", exception)
}

// Denies reports whether patterns deny everything that the pattern other matches.
func Denies(patterns []string, other string) bool {
	if !strings.Contains(other, "*") {
		id, exception, _ := cutWith(strings.ToLower(other))
		license := NewLicense(id, exception)
		return NewPatterns(patterns).Deny(&license)
	}
	other = strings.ToLower(other)
	return slices.ContainsFunc(patterns, func(p string) bool { return match.NewGlob(strings.ToLower(p)).Match(other) })
}
