package promote

import (
	"context"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy/evidence"
)

// CopyPlan has the signatures and attestations of the image in the staging registry. The items in
// Copy are copied unchanged to the approved registries. The items in Skip are not copied.
type CopyPlan struct {
	// TrustedSigners are the signers that the policies trust. Each copied item must verify against
	// one of them.
	TrustedSigners trust.Trust
	Copy           []AttestationCopy
	Skip           []SkippedAttestation
}

// AttestationCopy is a signature or attestation to copy.
type AttestationCopy struct {
	CopiedAttestation
	// Form is the signature format, in staging and in the copy: Legacy or Bundle.
	Form trust.Format
	// Signature or Envelope is the item to store. Exactly one of them is set.
	Signature *trust.Signature
	Envelope  trust.Envelope
}

// CopiedAttestation is the entry in the signed decision for a copied item.
type CopiedAttestation struct {
	// Predicate type of the attestation. Absent for a signature.
	PredicateType string `json:"predicateType,omitempty"`
	// Digest of the manifest that the signature or attestation is attached to.
	Subject string `json:"subject"`
	// SHA-256 of the signed content.
	Digest string `json:"digest"`
	// Signature format: legacy or bundle.
	Format string `json:"format"`
	// Trusted signer of the signature or attestation.
	Signer evidence.Signer `json:"signer"`
}

// SkippedAttestation is the entry in the signed decision for an item that was not copied.
type SkippedAttestation struct {
	// Predicate type of the attestation. Absent for a signature.
	PredicateType string `json:"predicateType,omitempty"`
	// Digest of the manifest that the signature or attestation is attached to.
	Subject string `json:"subject"`
	// SHA-256 of the signed content. Absent if the content was not readable.
	Digest string `json:"digest,omitempty"`
	// Signature format: legacy or bundle.
	Format string `json:"format"`
	// Reason why the signature or attestation was not copied.
	Reason string `json:"reason"`
}

// WithCopyPlan returns a Promoter that copies the items in c.Copy. It skips items that look like
// its own statements. Verifiers that trust its signer would accept these items as statements about
// the approved image.
func (p *Promoter) WithCopyPlan(c CopyPlan) *Promoter {
	all := c.Copy
	c.Copy = nil
	for _, one := range all {
		if p.isOwn(one) {
			c.Skip = append(c.Skip, SkippedAttestation{one.PredicateType, one.Subject, one.Digest, one.Format, "imagegate signs statements of this type itself"})
			continue
		}
		c.Copy = append(c.Copy, one)
	}
	out := *p
	out.plan = c
	return &out
}

// isOwn reports whether an item looks like a statement of this Promoter: the Promoter writes
// statements of this type, and its own signer signed the item.
func (p *Promoter) isOwn(c AttestationCopy) bool {
	if c.Signature == nil && c.PredicateType != DecisionType && c.PredicateType != ReferenceType && !slices.Contains(platformTypes, c.PredicateType) &&
		!strings.HasSuffix(c.PredicateType, overrideSuffix) {
		return false
	}
	for _, key := range p.trust.Keys {
		if trust.Fingerprint(key) == c.Signer.Key {
			return true
		}
	}
	return slices.ContainsFunc(p.trust.Identities, func(i trust.Identity) bool {
		return c.Signer.Key == "" && i.Issuer == c.Signer.Issuer && i.Subject == c.Signer.Subject
	})
}

// copiesFor returns the items to copy that are attached to one digest.
func (p *Promoter) copiesFor(digest v1.Hash) attach.Copies {
	out := attach.Copies{TrustedSigners: p.plan.TrustedSigners}
	for _, c := range p.plan.Copy {
		to := &out.Legacy
		if c.Form == trust.Bundle {
			to = &out.Bundles
		}
		switch {
		case c.Subject != digest.String():
		case c.Signature != nil:
			to.Signatures = append(to.Signatures, *c.Signature)
		default:
			to.Envelopes = append(to.Envelopes, c.Envelope)
		}
	}
	return out
}

// entries returns the decision's entries for the copied items, sorted and without duplicates.
func (c CopyPlan) entries() []CopiedAttestation {
	var out []CopiedAttestation
	for _, one := range c.Copy {
		out = append(out, one.CopiedAttestation)
	}
	slices.SortFunc(out, func(a, b CopiedAttestation) int {
		return strings.Compare(a.Subject+a.PredicateType+a.Digest+a.Format, b.Subject+b.PredicateType+b.Digest+b.Format)
	})
	return slices.Compact(out)
}

// hasCopies reports whether the repository has every copied item that a decision lists.
func (s snapshot) hasCopies(ctx context.Context, repo name.Repository, all []CopiedAttestation) (bool, error) {
	have := map[string]map[string]bool{} // digests of the signed content that is stored, by subject and format
	for _, c := range all {
		key := c.Subject + " " + c.Format
		if have[key] == nil {
			form, err := trust.ParseFormat(c.Format)
			if err != nil {
				return false, nil //nolint:nilerr // an unknown format: this version does not write it
			}
			found, err := s.read(ctx, repo.Digest(c.Subject), form)
			if err != nil {
				return false, err
			}
			have[key] = payloadsOf(found)
		}
		if !have[key][c.Digest] {
			return false, nil
		}
	}
	return true, nil
}

// payloadsOf returns the digests of the signed content of all items in f.
func payloadsOf(f found) map[string]bool {
	out := map[string]bool{}
	add := func(payload []byte, err error) {
		if err == nil {
			out["sha256:"+payloadDigest(payload)] = true
		}
	}
	for _, s := range f.signatures {
		if s.Statement == nil {
			add(s.Payload, nil)
			continue
		}
		add(s.Statement.Payload())
	}
	for _, e := range f.envelopes {
		add(e.stored.Payload())
	}
	return out
}
