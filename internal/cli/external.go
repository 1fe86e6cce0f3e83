package cli

import (
	"context"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// newEvidence loads the policies and calls evidenceFor for the VEX documents and attestations.
func newEvidence(c *cli.Context, out *output.Writer) (e run.Evidence, err error) {
	if e.Policies, err = loadPolicies(c); err != nil {
		return e, err
	}
	out.Policies(e.Policies)
	return evidenceFor(c, e.Policies)
}

// evidenceFor loads the VEX documents, and prepares reading attestations from the staging registry
// as the policies require.
func evidenceFor(c *cli.Context, policies policy.Set) (e run.Evidence, err error) {
	e.Policies = policies
	if e.VEX, err = loadVEX(c); err != nil {
		return e, err
	}
	reach, err := registryAccess(c)
	if err != nil {
		return e, err
	}
	e.Staging = run.StagingRegistry{Remote: reach.options(), Trust: func(_ context.Context, signers []policy.SignerRule) (trust.Trust, error) {
		return policySigners(c, signers)
	}}
	return e, nil
}

// policySigners returns a Trust in the signers that policies name.
func policySigners(c *cli.Context, signers []policy.SignerRule) (trust.Trust, error) {
	root, err := trustedRoot(c, slices.ContainsFunc(signers, func(s policy.SignerRule) bool { return s.Key == "" }), "")
	if err != nil {
		return trust.Trust{}, err
	}
	t, err := attestations.TrustIn(signers, root)
	if err != nil {
		return trust.Trust{}, exit.Usage(err)
	}
	return t, nil
}
