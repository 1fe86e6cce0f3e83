package policy

import (
	"cmp"
	"errors"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
)

// DefaultBaselineMaxAge is used for a policy without baselineMaxAge.
const DefaultBaselineMaxAge = 90 * 24 * time.Hour

// DecisionRule limits how long a decision is valid.
type DecisionRule struct {
	Position Position `json:"position,omitzero"`
	// MaxAge limits the age of a decision by this policy: "verify" refuses an older decision. The
	// flag "--max-age" of "verify" overrides this limit. Default: no limit. Example: "maxAge: 7d".
	MaxAge time.Duration `json:"maxAge,omitempty"`
}

// Title returns the name of the policy: Name, or the file name without the folder.
func (p *Policy) Title() string {
	return cmp.Or(p.Name, path.Base(filepath.ToSlash(p.File)))
}

// Title returns the names of the policies in order, joined by " + ". A name cannot contain " + ".
func (s Set) Title() string {
	var names []string
	for _, p := range s {
		if p != nil {
			names = append(names, p.Title())
		}
	}
	return strings.Join(names, " + ")
}

// DecisionMaxAge returns the lowest limit on the age of a decision, or 0 if the policies set none.
func (s Set) DecisionMaxAge() time.Duration {
	least := time.Duration(0)
	for _, p := range s {
		if p != nil && p.Decision.MaxAge > 0 && (least == 0 || p.Decision.MaxAge < least) {
			least = p.Decision.MaxAge
		}
	}
	return least
}

// BaselineMaxAge returns the lowest limit on the age of the decision about the approved image, for
// the images of a repository.
func (s Set) BaselineMaxAge(repository string) time.Duration {
	least := DefaultBaselineMaxAge
	for i, p := range s {
		if p == nil {
			continue
		}
		if limit := cmp.Or(p.forImage(repository).BaselineMaxAge, DefaultBaselineMaxAge); i == 0 || limit < least {
			least = limit
		}
	}
	return least
}

func (d *decoder) decision(r *DecisionRule) strict.Reader {
	return func(key, n *yaml.Node) {
		r.Position = d.position(key)
		d.Mapping(n, strict.Quoted(key), strict.Optional("maxAge", d.Duration(&r.MaxAge)))
	}
}

// policyName matches valid policy names. The characters are limited, because names are compared as
// text and used in command lines.
var policyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$`)

func checkPolicyName(s string) (string, error) {
	if !policyName.MatchString(s) {
		return "", errors.New("expected 1 to 100 letters, digits and . _ / -, beginning with a letter or digit")
	}
	return s, nil
}

func (d *decoder) policyName(to *string) strict.Reader {
	return strict.Scalar(d.Decoder, to, "a name", checkPolicyName, "!!str")
}
