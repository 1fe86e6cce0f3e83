package signed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/order"
)

// Requirement is a signature or a SLSA provenance statement that an image must have.
type Requirement struct {
	// Signature requires a signature instead of a statement.
	Signature bool
	// Signers lists names of trusted signers. One of them must have signed.
	Signers []string
	// Builder and Source are patterns for the values that a statement names. Empty matches any.
	Builder, Source string
}

// About returns the attestations about a platform or the index that lists it.
func About(in *evidence.Input, p *evidence.Platform) []*evidence.Attestation {
	var out []*evidence.Attestation
	for i := range in.Attestations {
		a := &in.Attestations[i]
		if a.Subject != "" && (a.Subject == p.Digest || a.Subject == in.Image.Digest) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, order.CompareAttestations)
	return out
}

func (r *Requirement) what() string {
	if r.Signature {
		return "signature"
	}
	return "SLSA provenance"
}

// Lacks returns the reason why an attestation does not meet the requirement, or "" if the
// attestation meets it.
func (r *Requirement) Lacks(known Signers, a *evidence.Attestation) string {
	by := " by " + a.Signer.String()
	switch {
	case r.Signature && a.PredicateType != "", !r.Signature && a.Provenance == nil:
		return fmt.Sprintf("found a %s%s", cmp.Or(a.PredicateType, "signature"), by)
	case !known.Has(r.Signers, a.Signer):
		return "found one" + by
	case r.Signature:
		return ""
	case !matchesStated(r.Builder, a.Provenance.Builder):
		return "found one" + by + " with " + stated("builder", a.Provenance.Builder)
	case !matchesStated(r.Source, a.Provenance.Source):
		return "found one" + by + " with " + stated("source", a.Provenance.Source)
	}
	return ""
}

// matchesStated reports whether a value in a statement matches the pattern. An empty pattern
// matches any value. An empty value matches no pattern except the empty one, not even "*".
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

// Missing returns the message of the violation if no attestation meets the requirement. unverified
// is the number of attestations that no trusted signer signed.
func (r *Requirement) Missing(known Signers, attestations []*evidence.Attestation, unverified int) string {
	return fmt.Sprintf("the image has no %s by %s: %s", r.what(), strings.Join(r.Signers, " or "), r.instead(known, attestations, unverified))
}

// instead describes the attestations that exist but do not meet the requirement.
func (r *Requirement) instead(known Signers, attestations []*evidence.Attestation, unverified int) string {
	var said []string
	for _, a := range attestations {
		if text := r.Lacks(known, a); !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	if len(said) > maxInstead {
		said = append(said[:maxInstead], fmt.Sprintf("and %d more", len(said)-maxInstead))
	}
	switch n := unverified; {
	case n == 1:
		said = append(said, "1 attestation verifies for none of the signers")
	case n > 1:
		said = append(said, fmt.Sprintf("%d attestations verify for none of the signers", n))
	}
	if len(said) == 0 {
		return "found no attestations"
	}
	return strings.Join(said, "; ")
}
