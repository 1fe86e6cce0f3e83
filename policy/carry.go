package policy

import (
	"errors"
	"slices"

	"gopkg.in/yaml.v3"
)

// CarryRule copies attestations from the staging registry to the approved registry: statements of
// one type, or signatures, by trusted signers. All other attestations are skipped.
type CarryRule struct {
	Position Position `json:"position"`
	// Type sets the predicate type of the statements, or "signature" for signatures of the image.
	// Types that imagegate itself attests are never copied, even from a trusted signer. Mandatory.
	// Example: "type: https://slsa.dev/provenance/v1".
	Type string `json:"type"`
	// Signers lists names of the policy's signers. One of them must have signed. Mandatory.
	// Example: "signers: [ci]".
	Signers []string `json:"signers"`
}

// CarrySignature is the type of a CarryRule for signatures.
const CarrySignature = "signature"

func (d *decoder) carry(to *[]CarryRule) reader {
	return d.list(maxItems, func(n *yaml.Node) {
		r := CarryRule{Position: d.position(n)}
		d.mapping(n, "a rule about what is carried",
			mandatory("type", d.carried(&r.Type)),
			mandatory("signers", d.texts(&r.Signers, func(string) error { return nil }, "nobody would do")),
		)
		*to = append(*to, r)
	})
}

func (d *decoder) carried(to *string) reader {
	return scalar(d, to, "a predicate type, or signature", func(s string) (string, error) {
		if s == "" {
			return "", errors.New("the type is empty")
		}
		return s, nil
	}, "!!str")
}

// Carries reports whether every policy copies an attestation by a signer about an image of a
// repository. Adding a policy can only skip more. predicateType is empty for a signature.
func (s Set) Carries(repository, predicateType string, by Signatory) bool {
	what := predicateType
	if what == "" {
		what = CarrySignature
	}
	for _, p := range s {
		if p == nil || !p.forImage(repository).carries(what, by) {
			return false
		}
	}
	return len(s) > 0
}

func (p *Policy) carries(what string, by Signatory) bool {
	known := compileSigners(p.Signers)
	return slices.ContainsFunc(p.Carry, func(r CarryRule) bool { return r.Type == what && known.has(r.Signers, by) })
}

// CarriesAny reports whether every policy has a rule that copies attestations for the images of a
// repository.
func (s Set) CarriesAny(repository string) bool {
	return len(s) > 0 && !slices.ContainsFunc(s, func(p *Policy) bool { return p == nil || len(p.forImage(repository).Carry) == 0 })
}
