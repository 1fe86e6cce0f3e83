package policy

// Inheritance says against which image findings count as inherited.
type Inheritance string

const (
	// InheritNothing lets every finding count.
	InheritNothing Inheritance = ""
	// InheritApproved compares with the image that is now under the approved
	// tag.
	InheritApproved Inheritance = "approved"
)

// Baseline is what was found in the image that is now under the approved tag.
type Baseline struct {
	// Digest is that of the image, "sha256:<hex>".
	Digest   string            `json:"digest"`
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
	if len(known) == 0 || s.KEV != nil {
		return false
	}
	for _, id := range s.ids {
		k := inheritedKey{s.platform.Platform, id, s.Package.Type, s.Package.Name}
		if known[k] {
			return true
		}
		if k.platform = ""; known[k] {
			return true
		}
	}
	return false
}
