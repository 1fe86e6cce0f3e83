package cli

import (
	"fmt"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// maxReason is the maximum length in characters of an error that may quote registry content.
// maxLeft is the number of skipped attestations that are listed. Anyone with push access to the
// staging registry can attach thousands of items.
const (
	maxReason = 300
	maxLeft   = 100
)

// carry selects the attestations that are copied from the staging registry with an approved image.
// If no policy copies attestations, it reads nothing.
func (p *promotion) carry(to *promote.Promoter, src gate.Source, policies policy.Set, a *gate.Approval) (*promote.Promoter, error) {
	if src.Transport != gate.Registry || !policies.CopiesAny(src.Repository()) {
		return to, nil
	}
	makers, err := believed(p.cli, policies)
	if err != nil {
		return nil, err
	}
	reach, err := registryAccess(p.cli)
	if err != nil {
		return nil, err
	}
	items, err := attestations.List(p.cli.Context, src.Ref.Context(), promote.Digests(a), makers, reach.options()...)
	if err != nil {
		return nil, registry.NewError(registry.Staging, fmt.Sprintf("reading what is signed about %s", src), err)
	}
	c := promote.CopyPlan{TrustedSigners: makers}
	for _, i := range items {
		reason := ""
		switch {
		case i.Err != nil:
			reason = fmt.Sprintf("%.*s", maxReason, i.Err)
		case !policies.Copies(src.Repository(), i.PredicateType, i.Signer):
			reason = "the policy does not carry it"
		default:
			c.Copy = append(c.Copy, promote.AttestationCopy{Form: i.Form, Signature: i.Signature, Envelope: i.Envelope,
				CopiedAttestation: promote.CopiedAttestation{PredicateType: i.PredicateType, Subject: i.Subject, Digest: i.Digest, Format: i.Form.String(), Signer: i.Signer}})
			continue
		}
		c.Skip = append(c.Skip, promote.SkippedAttestation{PredicateType: i.PredicateType, Subject: i.Subject, Digest: i.Digest, Format: i.Form.String(), Reason: reason})
	}
	if more := len(c.Skip) - maxLeft; more > 0 {
		c.Skip = append(c.Skip[:maxLeft], promote.SkippedAttestation{Reason: fmt.Sprintf("and %d more", more)})
	}
	return to.WithCopyPlan(c), nil
}
