package policy

import (
	"errors"
	"fmt"
	"strings"
)

// glob is a pattern, split at its stars; "*" matches any characters. Matching takes time linear in
// pattern and text: each part is searched once, at its leftmost place.
type glob []string

func newGlob(pattern string) glob { return strings.Split(pattern, "*") }

func (g glob) match(s string) bool {
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

// purl is a package URL or a pattern for one, split into parts and percent-decoded. The zero value
// of an optional part means that it is absent. See https://github.com/package-url/purl-spec.
type purl struct {
	name       string // with scheme, type and namespace
	version    part
	qualifiers []qualifier
	subpath    part
}

type part struct {
	present bool
	text    string
}

type qualifier struct{ key, value string }

// splitPURL splits from the right, as the specification requires.
func splitPURL(s string) purl {
	var p purl
	if before, after, ok := cutLast(s, '#'); ok {
		s, p.subpath = before, part{true, decodePercent(after)}
	}
	if before, after, ok := cutLast(s, '?'); ok {
		s = before
		for q := range strings.SplitSeq(after, "&") {
			key, value, _ := strings.Cut(q, "=")
			p.qualifiers = append(p.qualifiers, qualifier{strings.ToLower(key), decodePercent(value)})
		}
	}
	// An "@" after a slash begins an npm scope that is not percent-encoded.
	for i := len(s) - 1; i > 0; i-- {
		if s[i] == '@' && s[i-1] != '/' {
			s, p.version = s[:i], part{true, decodePercent(s[i+1:])}
			break
		}
	}
	p.name = decodePercent(s)
	return p
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// decodePercent decodes %XX. An encoded star stays encoded, or it would become a wildcard. An
// encoded percent sign stays encoded, too, or "%252A" would become an encoded star. Invalid
// encodings are not changed.
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

// purlPattern matches package URLs part by part, so that a star in the name cannot match across the
// version. A part that the pattern leaves out matches any value.
type purlPattern struct {
	any           bool
	name, version glob // nil matches any
	qualifiers    []qualifierPattern
	subpath       glob
}

type qualifierPattern struct {
	key   string
	value glob
}

// newPURLPattern compiles a pattern. The empty pattern matches everything.
func newPURLPattern(s string) purlPattern {
	if s == "" {
		return purlPattern{any: true}
	}
	parts := splitPURL(s)
	p := purlPattern{name: newGlob(parts.name)}
	if parts.version.present {
		p.version = newGlob(parts.version.text)
	}
	if parts.subpath.present {
		p.subpath = newGlob(parts.subpath.text)
	}
	for _, q := range parts.qualifiers {
		p.qualifiers = append(p.qualifiers, qualifierPattern{q.key, newGlob(q.value)})
	}
	return p
}

func (p purlPattern) match(u purl) bool {
	if p.any {
		return true
	}
	if !p.name.match(u.name) ||
		p.version != nil && !(u.version.present && p.version.match(u.version.text)) ||
		p.subpath != nil && !(u.subpath.present && p.subpath.match(u.subpath.text)) {
		return false
	}
	for _, q := range p.qualifiers {
		if !q.matchAny(u.qualifiers) {
			return false
		}
	}
	return true
}

func (p qualifierPattern) matchAny(qualifiers []qualifier) bool {
	for _, q := range qualifiers {
		if q.key == p.key && p.value.match(q.value) {
			return true
		}
	}
	return false
}

// checkPURLPattern refuses patterns that match no package URL, or that probably do not mean what
// their author intended.
func checkPURLPattern(s string) error {
	if !strings.HasPrefix(s, "pkg:") && !strings.HasPrefix(s, "*") {
		return fmt.Errorf(`pattern %q matches no package URL: they begin with "pkg:"`, s)
	}
	p := splitPURL(s)
	if p.version.present && p.version.text == "" {
		return errors.New(`has no version behind "@": leave the "@" out to match any`)
	}
	if p.subpath.present && p.subpath.text == "" {
		return errors.New(`has no subpath behind "#": leave the "#" out to match any`)
	}
	for _, q := range p.qualifiers {
		if q.key == "" || q.value == "" || strings.Contains(q.key, "*") {
			return errors.New(`has no key=value behind "?", which begins a package URL's qualifiers: only "*" is a wildcard`)
		}
	}
	return nil
}
