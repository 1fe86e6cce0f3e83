package policy

import (
	"slices"

	"github.com/imagegate/imagegate/policy/internal/indexed"
)

// Inheritance selects the image whose findings are inherited.
type Inheritance string

const (
	// InheritNothing inherits no findings.
	InheritNothing Inheritance = ""
	// InheritApproved inherits the findings of the current approved image.
	InheritApproved Inheritance = "approved"
)

// UsesBaseline reports whether the findings of the approved image can affect the result of the
// policies, for the images of a repository.
func (s Set) UsesBaseline(repository string) bool {
	return slices.ContainsFunc(s, func(p *Policy) bool { return p != nil && p.forImage(repository).Baseline != InheritNothing })
}

// inherits reports whether s is inherited: the baseline has it, and it is not known to be
// exploited. Without a baseline, nothing is inherited.
func (e *evaluation) inherits(s *indexed.Finding) bool {
	return e.inherited != nil && s.KEV == nil && e.inherited(s.Platform.Platform, s.Finding)
}
