package promote

import (
	"context"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// Carry is what was found beside the image where it was staged: what goes with it
// into approved registries, as it is, and what is left behind.
type Carry struct {
	// Makers are those whom the policies believe; what goes along verifies for one
	// of them.
	Makers trust.Trust
	Along  []Carried
	Left   []Left
}

// Carried is one thing that goes along.
type Carried struct {
	CarriedAs
	// Form is that in which it was stored and is again: Legacy or Bundle.
	Form trust.Format
	// Signature or Envelope is what is stored.
	Signature *trust.Signature
	Envelope  trust.Envelope
}

// CarriedAs is how the signed decision names something that went along.
type CarriedAs struct {
	// PredicateType is empty for a signature.
	PredicateType string `json:"predicateType,omitempty"`
	// Subject is the digest that it is stored beside, Digest that of what was
	// signed.
	Subject string           `json:"subject"`
	Digest  string           `json:"digest"`
	Format  string           `json:"format"`
	Signer  policy.Signatory `json:"signer"`
}

// Left is something that was left behind.
type Left struct {
	PredicateType string `json:"predicateType,omitempty"`
	Subject       string `json:"subject"`
	Digest        string `json:"digest,omitempty"`
	Format        string `json:"format"`
	Reason        string `json:"reason"`
}

// Carrying returns a Promoter that takes this along. What it attests itself it does
// not take from elsewhere: who trusts it would believe it of the approved image.
func (p *Promoter) Carrying(c Carry) *Promoter {
	along := c.Along
	c.Along = nil
	for _, one := range along {
		if p.isOwn(one) {
			c.Left = append(c.Left, Left{one.PredicateType, one.Subject, one.Digest, one.Format, "the gate itself signs that"})
			continue
		}
		c.Along = append(c.Along, one)
	}
	carrying := *p
	carrying.takes = c
	return &carrying
}

// isOwn tells whether something is of a kind that this Promoter makes, and by its own
// signer.
func (p *Promoter) isOwn(c Carried) bool {
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

// along is what goes beside one digest.
func (p *Promoter) along(digest v1.Hash) trust.Along {
	out := trust.Along{Makers: p.takes.Makers}
	for _, c := range p.takes.Along {
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

// digestsOf are those of the image and, of an index, of its platforms.
func digestsOf(img *gate.Image) []v1.Hash {
	out := []v1.Hash{img.Digest}
	if img.IsIndex() {
		for _, p := range img.Platforms {
			out = append(out, p.Digest)
		}
	}
	return out
}

// Digests are those of what an approval is about: the image and, of an index, its
// platforms.
func Digests(a *gate.Approval) []v1.Hash { return digestsOf(a.Image()) }

// carriedAs is what the decision says went along, in an order of its own.
func (c Carry) carriedAs() []CarriedAs {
	var out []CarriedAs
	for _, one := range c.Along {
		out = append(out, one.CarriedAs)
	}
	slices.SortFunc(out, func(a, b CarriedAs) int {
		return strings.Compare(a.Subject+a.PredicateType+a.Digest+a.Format, b.Subject+b.PredicateType+b.Digest+b.Format)
	})
	return slices.Compact(out)
}

// isCarried reports whether everything that a decision says went along is there.
func (p *Promoter) isCarried(ctx context.Context, repo name.Repository, all []CarriedAs) (bool, error) {
	have := map[string]map[string]bool{} // by subject and form, what was signed
	for _, c := range all {
		key := c.Subject + " " + c.Format
		if have[key] == nil {
			form, err := trust.ParseFormat(c.Format)
			if err != nil {
				return false, nil //nolint:nilerr // no form that this one writes
			}
			found, err := trust.Read(ctx, form, repo.Digest(c.Subject), p.with(ctx)...)
			if err != nil {
				return false, gate.NewRegistryError(gate.Approved, "reading the signatures of "+repo.Digest(c.Subject).String(), err)
			}
			have[key] = payloadsOf(found)
		}
		if !have[key][c.Digest] {
			return false, nil
		}
	}
	return true, nil
}

func payloadsOf(a trust.Attachments) map[string]bool {
	out := map[string]bool{}
	add := func(payload []byte, err error) {
		if err == nil {
			out["sha256:"+payloadDigest(payload)] = true
		}
	}
	for _, s := range a.Signatures {
		if s.Statement == nil {
			add(s.Payload, nil)
			continue
		}
		add(s.Statement.Payload())
	}
	for _, e := range a.Envelopes {
		add(e.Payload())
	}
	return out
}
