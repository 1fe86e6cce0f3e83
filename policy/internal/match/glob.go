// Package match matches texts, package URLs and image names with patterns. "*" is the only wildcard
// and matches any characters.
package match

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Glob is a pattern, split at its stars; "*" matches any characters. Matching takes time linear in
// pattern and text: each part is searched once, at its leftmost place.
type Glob []string

// NewGlob compiles a pattern.
func NewGlob(pattern string) Glob { return strings.Split(pattern, "*") }

// Match reports whether the pattern matches all of s.
func (g Glob) Match(s string) bool {
	first, last := g[0], g[len(g)-1]
	if len(g) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range g[1 : len(g)-1] {
		_, after, found := strings.Cut(s, part)
		if !found {
			return false
		}
		s = after
	}
	return true
}

// PURL is a package URL or a pattern for package URLs, split into parts and percent-decoded. The
// zero value of an optional part means that it is absent. See
// https://github.com/package-url/purl-spec.
type PURL struct {
	Name       string // the text before the name: scheme, type and namespace
	Version    Part
	Qualifiers []Qualifier
	Subpath    Part
}

// Part is an optional part of a package URL.
type Part struct {
	Present bool
	Text    string
}

// Qualifier is one key=value of a package URL. The key is in lower case.
type Qualifier struct{ Key, Value string }

// SplitPURL splits a package URL, or a pattern for package URLs. It splits from the right, as the
// specification requires.
func SplitPURL(s string) PURL {
	var p PURL
	if before, after, ok := cutLast(s, '#'); ok {
		s, p.Subpath = before, Part{true, decodePercent(after)}
	}
	if before, after, ok := cutLast(s, '?'); ok {
		s = before
		for q := range strings.SplitSeq(after, "&") {
			key, value, _ := strings.Cut(q, "=")
			p.Qualifiers = append(p.Qualifiers, Qualifier{strings.ToLower(key), decodePercent(value)})
		}
	}
	// An "@" after a slash begins an npm scope that is not percent-encoded.
	for i := len(s) - 1; i > 0; i-- {
		if s[i] == '@' && s[i-1] != '/' {
			s, p.Version = s[:i], Part{true, decodePercent(s[i+1:])}
			break
		}
	}
	p.Name = decodePercent(s)
	return p
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// decodePercent decodes %XX. An encoded star stays encoded, because a decoded one would be a
// wildcard. An encoded percent sign stays encoded, because "%252A" would otherwise become an
// encoded star. Invalid encodings are not changed.
func decodePercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
		if high < 0 || low < 0 {
			b.WriteByte(s[i])
			continue
		}
		switch c := byte(high<<4 | low); c {
		case '*':
			b.WriteString("%2A")
		case '%':
			b.WriteString("%25")
		default:
			b.WriteByte(c)
		}
		i += 2
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// PURLPattern matches package URLs part by part, so that a star in the name cannot match across the
// version. A part that the pattern omits matches any value.
type PURLPattern struct {
	Any           bool
	name, version Glob // nil matches any name or version
	qualifiers    []qualifierPattern
	subpath       Glob
}

type qualifierPattern struct {
	key   string
	value Glob
}

// NewPURLPattern compiles a pattern. The empty pattern matches everything.
func NewPURLPattern(s string) PURLPattern {
	if s == "" {
		return PURLPattern{Any: true}
	}
	parts := SplitPURL(s)
	p := PURLPattern{name: NewGlob(parts.Name)}
	if parts.Version.Present {
		p.version = NewGlob(parts.Version.Text)
	}
	if parts.Subpath.Present {
		p.subpath = NewGlob(parts.Subpath.Text)
	}
	for _, q := range parts.Qualifiers {
		p.qualifiers = append(p.qualifiers, qualifierPattern{q.Key, NewGlob(q.Value)})
	}
	return p
}

// Match reports whether the pattern matches u.
func (p PURLPattern) Match(u PURL) bool {
	if p.Any {
		return true
	}
	if !p.name.Match(u.Name) ||
		p.version != nil && !(u.Version.Present && p.version.Match(u.Version.Text)) ||
		p.subpath != nil && !(u.Subpath.Present && p.subpath.Match(u.Subpath.Text)) {
		return false
	}
	for _, q := range p.qualifiers {
		if !q.matchAny(u.Qualifiers) {
			return false
		}
	}
	return true
}

func (p qualifierPattern) matchAny(qualifiers []Qualifier) bool {
	for _, q := range qualifiers {
		if q.Key == p.key && p.value.Match(q.Value) {
			return true
		}
	}
	return false
}

// CheckPURLPattern returns an error for a pattern that matches no package URL, and for a pattern
// that is probably a mistake, such as an "@" without a version.
func CheckPURLPattern(s string) error {
	if !strings.HasPrefix(s, "pkg:") && !strings.HasPrefix(s, "*") {
		return fmt.Errorf(`pattern %q matches no package URL: a package URL begins with "pkg:"`, s)
	}
	p := SplitPURL(s)
	if p.Version.Present && p.Version.Text == "" {
		return errors.New(`has no version after "@": omit the "@" to match any version`)
	}
	if p.Subpath.Present && p.Subpath.Text == "" {
		return errors.New(`has no subpath after "#": omit the "#" to match any subpath`)
	}
	for _, q := range p.Qualifiers {
		if q.Key == "" || q.Value == "" || strings.Contains(q.Key, "*") {
			return errors.New(`has no key=value after "?": in a package URL, "?" begins the qualifiers and is not a wildcard`)
		}
	}
	return nil
}

// Any reports whether one of the patterns matches s. "*" matches any characters.
func Any(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return NewGlob(p).Match(s) })
}

// CoversPURL reports whether a pattern matches everything that the pattern other matches. A star in
// other is compared as a character: a pattern that matches the star matches any text in its place.
func CoversPURL(pattern, other string) bool { return NewPURLPattern(pattern).Match(SplitPURL(other)) }

// Type returns the type in lower case, or "" if the purl has none.
func (u PURL) Type() string {
	rest, ok := strings.CutPrefix(u.Name, "pkg:")
	if !ok {
		return ""
	}
	purlType, _, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	return strings.ToLower(purlType)
}

// LiteralPURL returns a pattern without wildcards: a star is a plain character.
func LiteralPURL(s string) PURLPattern {
	parts := SplitPURL(s)
	p := PURLPattern{name: Glob{parts.Name}}
	if parts.Version.Present {
		p.version = Glob{parts.Version.Text}
	}
	if parts.Subpath.Present {
		p.subpath = Glob{parts.Subpath.Text}
	}
	for _, q := range parts.Qualifiers {
		p.qualifiers = append(p.qualifiers, qualifierPattern{q.Key, Glob{q.Value}})
	}
	return p
}
