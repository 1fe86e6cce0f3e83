// Package spdx reads SPDX license expressions and matches their licenses with patterns.
//
// [NewDeclared] reads the licenses that a package declares. [Declared.Hits] checks them against
// [Patterns]. Both OR and "or later" let the user choose a license.
package spdx

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

// Limits of a license expression. A larger expression is not parsed: declared licenses are text
// from the image, and sometimes a whole license text.
const (
	MaxExpression = 16 << 10 // in bytes
	MaxDepth      = 50       // maximum depth of nested parentheses
)

// Expression is an SPDX license expression, as defined in
// https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/. It is one license, or several
// expressions joined by OR or AND.
//
// go-spdx has a parser, too, but it does not return the parsed expression. It also limits neither
// the depth nor the number of choices that it multiplies out.
type Expression struct {
	license  License
	operands []Expression // empty if the expression is a single license
	choice   bool         // true if OR joins the operands, false if AND joins them
}

// Hits reports whether the user cannot avoid a license that is bad: whichever operand of each OR
// the user chooses, at least one of the licenses that then apply is bad.
func (x *Expression) Hits(bad func(*License) bool) bool {
	if len(x.operands) == 0 {
		return bad(&x.license)
	}
	hits := func(operand Expression) bool { return operand.Hits(bad) }
	if x.choice {
		return !slices.ContainsFunc(x.operands, func(operand Expression) bool { return !hits(operand) })
	}
	return slices.ContainsFunc(x.operands, hits)
}

// License is one license in an expression, without operators. All text is in lower case, because
// SPDX ignores the letter case of identifiers.
type License struct {
	// id is the identifier without "+". For identifiers in the SPDX list, it is also without
	// "-only" or "-or-later". The deprecated GPL-2.0 equals GPL-2.0-only, and GPL-2.0+ equals
	// GPL-2.0-or-later.
	id        string
	later     bool   // later versions may be chosen, too
	exception string // the license exception after WITH, or empty
	// Known means that the SPDX list has the license and its exception. A LicenseRef is also known,
	// because the SBOM has its text.
	Known bool
}

// NewLicense returns the license with an identifier and the exception after WITH, which may be
// empty.
func NewLicense(id, exception string) License {
	id = strings.ToLower(id)
	l := License{id: id, exception: strings.ToLower(exception)}
	list := spdxList()
	if base, ok := strings.CutSuffix(id, "+"); ok {
		l.id, l.later = base, true
	}
	if list.licenses[l.id] {
		if base, ok := strings.CutSuffix(l.id, "-or-later"); ok {
			l.id, l.later = base, true
		}
		l.id = strings.TrimSuffix(l.id, "-only")
	}
	l.Known = (isReference(l.id) || list.has(l.id)) &&
		(l.exception == "" || list.exceptions[l.exception] || strings.HasPrefix(l.exception, "additionref-"))
	return l
}

// isReference reports whether an identifier is a LicenseRef, which refers to a license text in an
// SBOM.
func isReference(id string) bool {
	return strings.HasPrefix(id, "licenseref-") || strings.HasPrefix(id, "documentref-") && strings.Contains(id, ":licenseref-")
}

// names returns all names of the license, in lower case.
func (l *License) names() []string {
	switch list := spdxList(); {
	case l.later && list.licenses[l.id+"-or-later"]:
		return []string{l.id + "-or-later", l.id + "+"}
	case l.later:
		return []string{l.id + "+"}
	case list.licenses[l.id+"-only"]:
		return []string{l.id + "-only", l.id}
	}
	return []string{l.id}
}

// versions returns the license itself and its later versions in the SPDX list: "or later" lets the
// user choose among them.
func (l *License) versions() []License {
	one := *l
	one.later = false
	versions := []License{one}
	list := spdxList()
	if at, ok := list.ranges[l.id]; ok {
		for _, id := range list.families[at.family][at.version+1:] {
			one.id = id
			versions = append(versions, one)
		}
	}
	return versions
}

// atLeast reports whether l is the license with this id or a later version of it.
func (l *License) atLeast(id string) bool {
	list := spdxList()
	from, ok := list.ranges[id]
	at, ok2 := list.ranges[l.id]
	if !ok || !ok2 {
		return l.id == id
	}
	return at.family == from.family && at.version >= from.version
}

// licenseList is the SPDX list of licenses. All text except names is in lower case.
type licenseList struct {
	names                []string        // the names of the licenses as the SPDX list writes them, sorted
	licenses, exceptions map[string]bool // names in the SPDX list, including deprecated ones
	families             [][]string      // the ids of each license family in ascending order of version, without "-only"
	ranges               map[string]licenseVersion
}

type licenseVersion struct{ family, version int }

// has reports whether the list has a license with this id, in the form of License.id.
func (list *licenseList) has(id string) bool {
	return list.licenses[id] || list.licenses[id+"-only"] || list.licenses[id+"-or-later"]
}

var spdxList = sync.OnceValue(func() *licenseList {
	list := &licenseList{licenses: map[string]bool{}, exceptions: map[string]bool{}, ranges: map[string]licenseVersion{}}
	list.names = slices.Sorted(slices.Values(slices.Concat(spdxlicenses.GetLicenses(), spdxlicenses.GetDeprecated())))
	for _, name := range list.names {
		list.licenses[strings.ToLower(name)] = true
	}
	for _, name := range spdxlicenses.GetExceptions() {
		list.exceptions[strings.ToLower(name)] = true
	}
	for i, family := range spdxlicenses.LicenseRanges() {
		var ids []string
		for j, names := range family {
			for _, name := range names {
				id := strings.TrimSuffix(strings.ToLower(name), "-only")
				if strings.HasSuffix(id, "-or-later") {
					continue // go-spdx lists this name next to the latest version, but it is not a version itself
				}
				list.ranges[id] = licenseVersion{i, j}
				if len(ids) == j {
					ids = append(ids, id)
				}
			}
		}
		list.families = append(list.families, ids)
	}
	return list
})

// Parse reads a license expression. It refuses the special values NONE and NOASSERTION.
func Parse(s string) (Expression, error) {
	if len(s) > MaxExpression {
		return Expression{}, fmt.Errorf("longer than %d bytes", MaxExpression)
	}
	p := expressionParser{tokens: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))}
	x, err := p.choice()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("found %q, expected an operator", p.tokens[0])
	}
	if err != nil {
		return Expression{}, err
	}
	return x, nil
}

// expressionParser consumes tokens from the front.
type expressionParser struct {
	tokens []string
	depth  int
}

// operator skips the next token if it is the given operator, and reports whether it did. SPDX
// allows operators in upper case and in lower case.
func (p *expressionParser) operator(upper, lower string) bool {
	if len(p.tokens) == 0 || p.tokens[0] != upper && p.tokens[0] != lower {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *expressionParser) choice() (Expression, error) { return p.joined("OR", "or", p.both) }
func (p *expressionParser) both() (Expression, error)   { return p.joined("AND", "and", p.simple) }

// joined parses one or more operands that are separated by the same operator, such as "a AND b AND
// c". operand parses one of them.
func (p *expressionParser) joined(upper, lower string, operand func() (Expression, error)) (Expression, error) {
	x, err := operand()
	if err != nil || !p.operator(upper, lower) {
		return x, err
	}
	x = Expression{choice: upper == "OR", operands: []Expression{x}}
	for {
		next, err := operand()
		if err != nil {
			return Expression{}, err
		}
		x.operands = append(x.operands, next)
		if !p.operator(upper, lower) {
			return x, nil
		}
	}
}

func (p *expressionParser) simple() (Expression, error) {
	if p.operator("(", "(") {
		if p.depth++; p.depth > MaxDepth {
			return Expression{}, fmt.Errorf("more than %d levels of parentheses", MaxDepth)
		}
		x, err := p.choice()
		p.depth--
		if err == nil && !p.operator(")", ")") {
			err = errors.New("a parenthesis is not closed")
		}
		return x, err
	}
	id, err := p.identifier("a license")
	if err != nil {
		return Expression{}, err
	}
	exception := ""
	if p.operator("WITH", "with") {
		if exception, err = p.identifier("an exception"); err == nil && strings.HasSuffix(exception, "+") {
			err = fmt.Errorf("%q is not an exception", exception)
		}
		if err != nil {
			return Expression{}, err
		}
	}
	return Expression{license: NewLicense(id, exception)}, nil
}

func (p *expressionParser) identifier(what string) (string, error) {
	if len(p.tokens) == 0 {
		return "", fmt.Errorf("the expression ends, expected %s", what)
	}
	token := p.tokens[0]
	switch strings.ToUpper(token) {
	case "AND", "OR", "WITH", "NONE", "NOASSERTION":
		return "", fmt.Errorf("found %q, expected %s", token, what)
	}
	if !isIdentifier(token) {
		return "", fmt.Errorf("%q is not an identifier", token)
	}
	p.tokens = p.tokens[1:]
	return token, nil
}

// isIdentifier reports whether s has the syntax of an identifier, with an optional "+" at the end,
// or of a reference to an identifier in another document.
func isIdentifier(s string) bool {
	s = strings.TrimSuffix(s, "+")
	if document, id, ok := strings.Cut(s, ":"); ok {
		lower := strings.ToLower(document + ":" + id)
		if !strings.HasPrefix(lower, "documentref-") || !strings.Contains(lower, ":licenseref-") && !strings.Contains(lower, ":additionref-") {
			return false
		}
		s = document + id
	}
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.')
	})
}
