package policy

import (
	"slices"
	"strings"
)

// Inheritance says against which image findings count as inherited.
type Inheritance string

const (
	// InheritNothing lets every finding count.
	InheritNothing Inheritance = ""
	// InheritApproved compares with the image that is now under the approved
	// tag.
	InheritApproved Inheritance = "approved"
)

// Baseline is what was found in the image that is now under the approved tag; of
// several tags with different images, what was found in each of them.
type Baseline struct {
	// Digests are those of the images, "sha256:<hex>", each once.
	Digests  []string          `json:"digests"`
	Findings []BaselineFinding `json:"findings"`
}

// BaselineFinding is a finding as far as it tells whether another image has it
// too.
type BaselineFinding struct {
	// Platform is that of the finding; empty stands for any.
	Platform string   `json:"platform,omitempty"`
	ID       string   `json:"id"`
	Aliases  []string `json:"aliases,omitempty"`
	// Type and Name are those of the package. Its version does not matter: a
	// finding that an update did not repair is no new one.
	Type string `json:"type"`
	Name string `json:"name"`
}

// UsesBaseline reports whether what the approved image has can matter to the
// policies, for the images of a repository.
func (s Set) UsesBaseline(repository string) bool {
	return slices.ContainsFunc(s, func(p *Policy) bool { return p != nil && p.forImage(repository).Baseline != InheritNothing })
}

// And is what both baselines have. One that is nil has nothing, and so nothing is
// common: the answer is nil then.
func (b *Baseline) And(o *Baseline) *Baseline {
	if b == nil || o == nil {
		return nil
	}
	both := &Baseline{Digests: slices.Clone(b.Digests), Findings: []BaselineFinding{}}
	for _, digest := range o.Digests {
		if !slices.Contains(both.Digests, digest) {
			both.Digests = append(both.Digests, digest)
		}
	}
	known := newInherited(o)
	for _, f := range b.Findings {
		// Of its names only those under which both know it: another could stand
		// for what one of them does not have.
		names := slices.DeleteFunc(append([]string{f.ID}, f.Aliases...), func(id string) bool {
			return !known.names(f.Platform, f.Type, f.Name, strings.ToLower(id))
		})
		if len(names) > 0 {
			f.ID, f.Aliases = names[0], names[1:]
			both.Findings = append(both.Findings, f)
		}
	}
	return both
}

// Lookup returns a function that reports whether the baseline has a finding of a
// platform too, as Evaluate compares them. That does not say that the finding may
// be inherited. Nothing is in a nil baseline.
func (b *Baseline) Lookup() func(platform string, f *Finding) bool {
	known := newInherited(b)
	return func(platform string, f *Finding) bool {
		return known.names(platform, f.Package.Type, f.Package.Name, lowerIDs(f.ID, f.Aliases)...)
	}
}

// inherited looks findings up in a baseline.
type inherited map[inheritedKey]bool

type inheritedKey struct{ platform, id, packageType, packageName string }

func newInherited(b *Baseline) inherited {
	if b == nil {
		return nil
	}
	known := make(inherited, len(b.Findings))
	for _, f := range b.Findings {
		for _, id := range lowerIDs(f.ID, f.Aliases) {
			if id != "" {
				known[inheritedKey{f.Platform, id, f.Type, f.Name}] = true
			}
		}
	}
	return known
}

// has reports whether the baseline has s too. What is known to be exploited is
// never old news.
func (known inherited) has(s *subject) bool {
	return s.KEV == nil && known.names(s.platform.Platform, s.Package.Type, s.Package.Name, s.ids...)
}

// names reports whether the baseline has one of the ids, in lower case, for the
// package.
func (known inherited) names(platform, packageType, packageName string, ids ...string) bool {
	return len(known) > 0 && slices.ContainsFunc(ids, func(id string) bool {
		return known[inheritedKey{platform, id, packageType, packageName}] || known[inheritedKey{"", id, packageType, packageName}]
	})
}
