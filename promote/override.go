package promote

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy"
)

// OverrideType returns the predicate type of an override. An override allows a denied image. No
// standard defines such a type, so its name begins with the identifier of the verifier.
func OverrideType(verifier string) string { return verifier + overrideSuffix }

const overrideSuffix = "/override/v1"

// overridePredicate is an override of one decision about one image in one repository, signed by the
// gate's signer. It proves that the policy allowed the override. It does not prove the identity of
// the approver.
type overridePredicate struct {
	// The overridden decision, identified by the SHA-256 of its payload.
	Decision resource `json:"decision"`
	// Digest of the index or manifest that was evaluated.
	Image string `json:"image"`
	// Approved repository, as in resourceUri of the decision.
	ResourceURI string `json:"resourceUri"`
	policy.GrantedOverride
}

// newOverride returns the override of an approval's decision. The override names the decision by
// its digest. The approval must have an override.
func newOverride(a *gate.Approval, repo name.Repository, decision resource, now time.Time) overridePredicate {
	return overridePredicate{Decision: decision, Image: a.Image().Digest.String(), ResourceURI: resourceURI(repo),
		GrantedOverride: a.Decision().Grant(*a.Override(), now)}
}

// overridden returns the attached statement that overrides the denial d. The override must name
// exactly this decision and must not have expired.
func (pr *proof) overridden(d signedDecision, now time.Time) (attached, *policy.GrantedOverride, error) {
	reasons := append([]string{}, pr.reasons...)
	for _, a := range pr.evidence {
		if why := unknownOverride(a.PredicateType, d.Verifier.ID); why != "" {
			reasons = append(reasons, why)
		}
		if a.PredicateType != OverrideType(d.Verifier.ID) {
			continue
		}
		var o overridePredicate
		err := json.Unmarshal(a.predicate, &o)
		if err == nil {
			err = o.check(d, now)
		}
		if err == nil {
			return a, &o.GrantedOverride, nil
		}
		reasons = append(reasons, err.Error())
	}
	return attached{}, nil, fmt.Errorf("the decision is %s, and the image has no valid override signed by a trusted signer%s", d.Result, because(reasons))
}

// check requires that an override matches the decision that it overrides, and that it is complete
// and current.
func (o overridePredicate) check(d signedDecision, now time.Time) error {
	switch {
	case "sha256:"+o.Decision.Digest["sha256"] != d.Digest:
		return errors.New("an override is for a different decision")
	case o.Image != d.Basis.Image:
		return fmt.Errorf("an override is for the different image %s", o.Image)
	case o.ResourceURI != d.ResourceURI:
		return fmt.Errorf("an override is for the different repository %s", o.ResourceURI)
	case strings.TrimSpace(o.Reason) == "" || strings.TrimSpace(o.Approver) == "":
		return errors.New("an override has no reason or no approver")
	case o.Granted.IsZero():
		return errors.New("an override does not state when it was granted")
	case clock.IsAhead(o.Granted, now):
		return fmt.Errorf("an override was granted in the future, at %s, but the clock of this machine shows %s: check both clocks",
			o.Granted.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case !now.Before(o.Expires):
		return fmt.Errorf("the override expired on %s", o.Expires.Format(time.RFC3339))
	}
	return nil
}

// sameOverride reports whether the signed override grants the requested one.
func sameOverride(signed *policy.GrantedOverride, asked *policy.Override) bool {
	return asked != nil && signed.Reason == asked.Reason && signed.Approver == asked.Approver && signed.Expires.Equal(asked.Expires)
}
