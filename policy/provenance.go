package policy

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/signed"
)

// ProvenanceType is the kind of evidence that a rule about provenance requires.
type ProvenanceType string

// The kinds of provenance evidence.
const (
	// ProvenanceSLSA is a signed statement of SLSA build provenance, v0.2 or v1.
	ProvenanceSLSA ProvenanceType = "slsa"
	// ProvenanceSignature is a signature of the image, without a statement.
	ProvenanceSignature ProvenanceType = "signature"
)

// ProvenanceRule requires that the image has a signature or a provenance statement by a trusted
// signer in the staging registry. Every platform of the image must have one. A signature or
// statement about an index counts for all platforms of the index.
type ProvenanceRule struct {
	// Name identifies the rule in exceptions. Mandatory, unique among all rules of the policy.
	// Example: "name: built by our workflow".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image that violates the rule. Default: block. Example:
	// "effect: warn".
	Effect Effect `json:"effect"`
	// Signers lists names of entries in the section signers. One of these signers must have made
	// the signature or statement. Mandatory. Example: "signers: [ci]".
	Signers []string `json:"signers"`
	// Type sets the required evidence: a SLSA provenance statement (slsa) or a signature of the
	// image (signature). Default: slsa. Example: "type: signature".
	Type ProvenanceType `json:"type,omitempty"`
	// Builder requires that the builder id in the provenance matches this pattern; "*" matches any
	// characters. Not allowed with "type: signature". Default: any builder. Example: "builder:
	// https://github.com/example/builds/*".
	Builder string `json:"builder,omitempty"`
	// Source requires that the source repository in the provenance matches this pattern; "*"
	// matches any characters. Before the comparison, "git+" at the start and "@ref" at the end of
	// the source URL are removed. Not allowed with "type: signature". Default: any source. Example:
	// "source: https://github.com/example/*".
	Source string `json:"source,omitempty"`
}

// ProvenanceMatch is a rule about provenance, with the attestation that satisfied the rule.
type ProvenanceMatch struct {
	Rule        string               `json:"rule"`
	Position    Position             `json:"position,omitzero"`
	Platform    string               `json:"platform"`
	Attestation evidence.Attestation `json:"attestation"`
}

func (d *decoder) provenance(to *[]ProvenanceRule, lines map[string]int) strict.Reader {
	return d.List(strict.MaxItems, func(n *yaml.Node) {
		r := ProvenanceRule{Position: d.position(n)}
		d.Mapping(n, "a rule about provenance",
			strict.Mandatory("name", d.ruleName(&r.Name, lines)),
			strict.Optional("effect", d.effect(&r.Effect)),
			strict.Mandatory("signers", d.Texts(&r.Signers, func(string) error { return nil }, "list at least one signer")),
			strict.Optional("type", d.provenanceType(&r.Type)),
			strict.Optional("builder", d.Text(&r.Builder)),
			strict.Optional("source", d.Text(&r.Source)),
		)
		if r.Type == ProvenanceSignature && r.Builder+r.Source != "" {
			d.Problem(n, "a signature states neither builder nor source: expected type slsa")
		}
		*to = append(*to, r)
	})
}

func (d *decoder) provenanceType(to *ProvenanceType) strict.Reader {
	return strict.Scalar(d.Decoder, to, "slsa or signature", func(s string) (ProvenanceType, error) {
		switch t := ProvenanceType(s); t {
		case ProvenanceSLSA, ProvenanceSignature:
			return t, nil
		}
		return "", fmt.Errorf("unknown type of provenance %q: expected %s or %s", s, ProvenanceSLSA, ProvenanceSignature)
	}, "!!str")
}

// provenance compares the attestations of a platform with the rules about provenance.
func (e *evaluation) provenance(p *evidence.Platform) {
	for i := range e.policy.Provenance {
		r := &e.policy.Provenance[i]
		required := signed.Requirement{Signature: r.Type == ProvenanceSignature, Signers: r.Signers, Builder: r.Builder, Source: r.Source}
		attestations := signed.About(e.in, p)
		at := slices.IndexFunc(attestations, func(a *evidence.Attestation) bool { return required.Lacks(e.signers, a) == "" })
		if at >= 0 {
			e.Provenance = append(e.Provenance, ProvenanceMatch{Rule: r.Name, Position: r.Position, Platform: p.Platform, Attestation: *attestations[at]})
			continue
		}
		e.reportRule(r.Effect, Violation{
			Kind: KindProvenance, Rule: r.Name, Position: r.Position, Platform: p.Platform, Check: string(r.Type),
			Message: required.Missing(e.signers, attestations, e.in.Unverified),
		}, nil)
	}
}

// usesSigned reports whether signatures or attestations in the staging registry can affect the
// result of the policy.
func (p *Policy) usesSigned() bool {
	return len(p.Provenance) > 0 || len(p.VEX.Signers) > 0 || len(p.CopyAttestations) > 0
}

// UsesSigned reports whether signatures or attestations in the staging registry can affect the
// result of any of the policies, for the images of a repository.
func (s Set) UsesSigned(repository string) bool {
	return slices.ContainsFunc(s, func(p *Policy) bool { return p != nil && p.forImage(repository).usesSigned() })
}
