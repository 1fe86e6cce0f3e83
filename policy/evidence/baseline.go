package evidence

import (
	"slices"
	"strings"
)

// Baseline holds the findings of the current approved image. If the destination tags name different
// images, it holds the findings that all these images have.
type Baseline struct {
	// Digests lists the digests of the images, "sha256:<hex>", each once.
	Digests  []string          `json:"digests"`
	Findings []BaselineFinding `json:"findings"`
}

// BaselineFinding identifies a finding, to find out whether another image also has it.
type BaselineFinding struct {
	// Platform is the platform of the finding. Empty means any platform.
	Platform string   `json:"platform,omitempty"`
	ID       string   `json:"id"`
	Aliases  []string `json:"aliases,omitempty"`
	// Type and Name identify the package. The version is not compared: a finding that an update did
	// not fix is not a new finding.
	Type string `json:"type"`
	Name string `json:"name"`
}

// And returns the findings that both baselines have. It returns nil if either is nil.
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
		// Keep only the ids that both baselines have. Any other id could match a finding that one
		// of the images does not have.
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

// Lookup returns a function that reports whether the baseline has a finding on a platform. Evaluate
// uses the same function. A finding in the baseline can still block, for example if it is known to
// be exploited. A nil baseline has no findings.
func (b *Baseline) Lookup() func(platform string, f *Finding) bool {
	known := newInherited(b)
	return func(platform string, f *Finding) bool {
		return known.names(platform, f.Package.Type, f.Package.Name, lowerIDs(f.ID, f.Aliases)...)
	}
}

// inherited is the set of findings in a baseline. It has one key for each id and alias of a
// finding.
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

// names reports whether the baseline has one of the ids, in lower case, for the package.
func (known inherited) names(platform, packageType, packageName string, ids ...string) bool {
	return len(known) > 0 && slices.ContainsFunc(ids, func(id string) bool {
		return known[inheritedKey{platform, id, packageType, packageName}] || known[inheritedKey{"", id, packageType, packageName}]
	})
}
