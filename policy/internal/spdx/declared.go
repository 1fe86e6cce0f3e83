package spdx

import "slices"

// Declared has the licenses that a package declares.
type Declared struct {
	expressions []Expression // the license expressions that could be parsed
	Unread      bool         // true if the package declares no license, or if some could not be parsed
}

// NewDeclared parses the texts that a package declares.
func NewDeclared(texts []string) Declared {
	d := Declared{Unread: len(texts) == 0}
	for _, text := range texts {
		x, err := Parse(text)
		if err != nil {
			d.Unread = true
			continue
		}
		d.expressions = append(d.expressions, x)
	}
	return d
}

// Hits reports whether the user of the package cannot avoid a license that is bad. One declared
// expression that does not offer such a choice is enough, because all declared expressions apply.
// See [Expression.Hits].
func (d *Declared) Hits(bad func(*License) bool) bool {
	return slices.ContainsFunc(d.expressions, func(x Expression) bool { return x.Hits(bad) })
}
