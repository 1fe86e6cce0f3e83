package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
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

// ProvenanceRule requires a signature or a provenance statement by a trusted signer in the staging
// registry. Every platform must have it. A signature or statement about an index counts for all of
// its platforms.
type ProvenanceRule struct {
	// Name identifies the rule in exceptions. Mandatory, unique among all rules of the policy.
	// Example: "name: built by our workflow".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image that violates the rule. Default: block. Example:
	// "effect: warn".
	Effect Effect `json:"effect"`
	// Signers lists names of the policy's signers. One of them must have signed. Mandatory.
	// Example: "signers: [ci]".
	Signers []string `json:"signers"`
	// Type sets the required evidence: slsa or signature. Default: slsa. Example: "type:
	// signature".
	Type ProvenanceType `json:"type,omitempty"`
	// Builder requires a builder id in the provenance that matches this pattern. Not allowed with
	// "type: signature". Default: any builder. Example: "builder:
	// https://github.com/example/builds/*".
	Builder string `json:"builder,omitempty"`
	// Source requires a source repository that matches this pattern. The pattern is compared with
	// the URL that the builder states, without "git+" at the start and "@ref" at the end. Not
	// allowed with "type: signature". Default: any source. Example: "source:
	// https://github.com/example/*".
	Source string `json:"source,omitempty"`
}

// ProvenanceMatch is a rule about provenance and the attestation that satisfied it.
type ProvenanceMatch struct {
	Rule        string               `json:"rule"`
	Position    Position             `json:"position,omitzero"`
	Platform    string               `json:"platform"`
	Attestation evidence.Attestation `json:"attestation"`
}

func (d *decoder) provenance(to *[]ProvenanceRule, lines map[string]int) reader {
	return d.list(maxItems, func(n *yaml.Node) {
		r := ProvenanceRule{Position: d.position(n)}
		d.mapping(n, "a rule about provenance",
			mandatory("name", d.unique(&r.Name, "rule", lines)),
			optional("effect", d.effect(&r.Effect)),
			mandatory("signers", d.texts(&r.Signers, func(string) error { return nil }, "list at least one signer")),
			optional("type", d.provenanceType(&r.Type)),
			optional("builder", d.text(&r.Builder)),
			optional("source", d.text(&r.Source)),
		)
		if r.Type == ProvenanceSignature && r.Builder+r.Source != "" {
			d.problem(n, "a signature states no builder and no source: want type slsa")
		}
		*to = append(*to, r)
	})
}

func (d *decoder) provenanceType(to *ProvenanceType) reader {
	return scalar(d, to, "slsa or signature", func(s string) (ProvenanceType, error) {
		switch t := ProvenanceType(s); t {
		case ProvenanceSLSA, ProvenanceSignature:
			return t, nil
		}
		return "", fmt.Errorf("unknown type of provenance %q: want %s or %s", s, ProvenanceSLSA, ProvenanceSignature)
	}, "!!str")
}

// provenance compares the attestations of a platform with the rules.
func (e *evaluation) provenance(p *evidence.Platform) {
	for i := range e.policy.Provenance {
		r := &e.policy.Provenance[i]
		signed := e.about(p)
		at := slices.IndexFunc(signed, func(a *evidence.Attestation) bool { return e.lacks(r, a) == "" })
		if at >= 0 {
			e.Provenance = append(e.Provenance, ProvenanceMatch{Rule: r.Name, Position: r.Position, Platform: p.Platform, Attestation: *signed[at]})
			continue
		}
		e.reportRule(r.Effect, Violation{
			Kind: KindProvenance, Rule: r.Name, Position: r.Position, Platform: p.Platform, Check: string(r.Type),
			Message: fmt.Sprintf("no %s by %s is there: %s", r.what(), strings.Join(r.Signers, " or "), e.instead(r, signed)),
		}, nil)
	}
}

// about returns the attestations about a platform or the index that lists it.
func (e *evaluation) about(p *evidence.Platform) []*evidence.Attestation {
	var out []*evidence.Attestation
	for i := range e.in.Attestations {
		a := &e.in.Attestations[i]
		if a.Subject != "" && (a.Subject == p.Digest || a.Subject == e.in.Image.Digest) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, compareAttestations)
	return out
}

func compareAttestations(a, b *evidence.Attestation) int {
	return cmp.Or(
		strings.Compare(a.Digest, b.Digest),
		strings.Compare(a.Subject, b.Subject),
		strings.Compare(a.PredicateType, b.PredicateType),
		compareSigners(&a.Signer, &b.Signer),
	)
}

func (r *ProvenanceRule) what() string {
	if r.Type == ProvenanceSignature {
		return "signature"
	}
	return "SLSA provenance"
}

// lacks returns how an attestation fails to satisfy the rule, or "".
func (e *evaluation) lacks(r *ProvenanceRule, a *evidence.Attestation) string {
	by := " by " + a.Signer.String()
	switch {
	case r.Type == ProvenanceSignature && a.PredicateType != "", r.Type != ProvenanceSignature && a.Provenance == nil:
		return fmt.Sprintf("there is a %s%s", cmp.Or(a.PredicateType, "signature"), by)
	case !e.signers.has(r.Signers, a.Signer):
		return "it is" + by
	case r.Type == ProvenanceSignature:
		return ""
	case !matchesStated(r.Builder, a.Provenance.Builder):
		return "that" + by + " names " + stated("builder", a.Provenance.Builder)
	case !matchesStated(r.Source, a.Provenance.Source):
		return "that" + by + " names " + stated("source", a.Provenance.Source)
	}
	return ""
}

// matchesStated reports whether a stated value matches. An empty value matches no pattern, not even
// "*".
func matchesStated(pattern, value string) bool {
	return pattern == "" || value != "" && match.NewGlob(pattern).Match(value)
}

func stated(what, value string) string {
	if value == "" {
		return "no " + what
	}
	return fmt.Sprintf("the %s %q", what, value)
}

// maxInstead limits how many attestations a message describes.
const maxInstead = 3

// instead describes the attestations that exist but do not satisfy the rule.
func (e *evaluation) instead(r *ProvenanceRule, signed []*evidence.Attestation) string {
	var said []string
	for _, a := range signed {
		if text := e.lacks(r, a); !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	if len(said) > maxInstead {
		said = append(said[:maxInstead], fmt.Sprintf("and %d more", len(said)-maxInstead))
	}
	switch n := e.in.Unverified; {
	case n == 1:
		said = append(said, "one more verifies for no signer")
	case n > 1:
		said = append(said, fmt.Sprintf("%d more verify for no signer", n))
	}
	if len(said) == 0 {
		return "nothing is signed"
	}
	return strings.Join(said, "; ")
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
