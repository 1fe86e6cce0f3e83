package cli

import (
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// comparison is the approved image that a check uses as its baseline.
type comparison struct {
	ref   name.Reference // nil without a baseline
	trust promote.Trust
}

// comparedWith reads --baseline and the signers that the baseline image must have. Without
// --baseline it returns the zero comparison.
func comparedWith(c *cli.Context) (comparison, error) {
	approved := c.String("baseline")
	if approved == "" {
		return comparison{}, nil
	}
	ref, err := parseApproved(approved, name.ParseReference)
	if err != nil {
		return comparison{}, usagef("--baseline %q: want registry/repository with a tag or digest: %v", approved, err)
	}
	with := comparison{ref: ref}
	with.trust.Trust, err = trusted(c)
	return with, err
}

// addBaseline adds the findings of the baseline image to the external evidence. If the flag and the
// policies disagree about a baseline, it adds a caution to the report.
func addBaseline(c *cli.Context, with comparison, wanted bool, beside *gate.ExternalEvidence, out *output) error {
	switch {
	case with.ref == nil && wanted:
		out.caution("nothing is inherited: the policy compares with the approved image, and --baseline names none")
		return nil
	case with.ref == nil:
		return nil
	case !wanted:
		out.caution("--baseline %s has no effect: no policy compares with the approved image", with.ref)
		return nil
	}
	v, err := newVerifier(c)
	if err != nil {
		return err
	}
	baseline, missing, err := v.Baseline(c.Context, with.ref, with.trust)
	if err != nil {
		return err
	}
	beside.Baseline = baseline
	out.inherits(baseline, missing)
	return nil
}

// inherits adds a caution with the reason if no finding can be inherited from the approved image.
func (o *output) inherits(baseline *policy.Baseline, missing string) {
	if baseline == nil {
		o.caution("nothing is inherited from the approved image: %s", missing)
	}
}

// newVerifier returns a verifier that reads approved registries.
func newVerifier(c *cli.Context) (*promote.Verifier, error) {
	opts, err := verifierOptions(c)
	if err != nil {
		return nil, err
	}
	return promote.NewVerifier(opts)
}

func verifierOptions(c *cli.Context) (promote.Options, error) {
	reach, err := registryAccess(c)
	return promote.Options{Now: time.Now, Keychain: reach.keychain, Transport: reach.transport, UserAgent: userAgent()}, err
}
