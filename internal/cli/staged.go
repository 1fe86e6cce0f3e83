package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// addStaged adds the attestations of a pinned image in the staging registry to the external
// evidence. It reads only attestations of the signers that the policies trust, and nothing if no
// policy uses signed evidence or the image is not in a registry.
func addStaged(c *cli.Context, src gate.Source, policies policy.Set, beside *gate.ExternalEvidence) error {
	if src.Transport != gate.Registry || !policies.UsesSigned(src.Repository()) {
		return nil
	}
	makers, err := believed(c, policies)
	if err != nil {
		return err
	}
	ref := src.Ref.Context().Digest(src.Digest.String())
	reach, err := registryAccess(c)
	if err != nil {
		return err
	}
	found, err := attestations.Read(c.Context, ref, makers, reach.options()...)
	var unreadable *attestations.UnreadableError
	if errors.As(err, &unreadable) {
		return err
	}
	if err != nil {
		return registry.NewError(registry.Staging, fmt.Sprintf("reading what is signed about %s", ref), err)
	}
	beside.Attestations, beside.Unverified = found.Attestations, found.Unverified
	beside.VEX = append(beside.VEX, found.VEX...)
	return nil
}

// believed returns the trusted signers of the policies.
func believed(c *cli.Context, policies policy.Set) (trust.Trust, error) {
	signers := policies.Signers()
	root, err := trustedRoot(c, slices.ContainsFunc(signers, func(s policy.SignerRule) bool { return s.Key == "" }))
	if err != nil {
		return trust.Trust{}, err
	}
	t, err := attestations.TrustIn(signers, root)
	if err != nil {
		return trust.Trust{}, usageError{err}
	}
	return t, nil
}
