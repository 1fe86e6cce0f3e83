package cli

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/promote"
)

// baselineFlag returns the baseline image given with --baseline, and its trusted signers from the
// other flags. If --baseline is not given, it returns nil.
func baselineFlag(c *cli.Context) (*run.Baseline, error) {
	approved := c.String("baseline")
	if approved == "" {
		return nil, nil
	}
	ref, err := reference.Approved(approved)
	if err != nil {
		return nil, exit.Usage(fmt.Errorf("--baseline %w", err))
	}
	out := &run.Baseline{Ref: ref}
	if out.Trust.Trust, err = trusted(c); err != nil {
		return nil, err
	}
	opts, err := verifierOptions(c)
	if err != nil {
		return nil, err
	}
	out.Verifier, err = promote.NewVerifier(opts)
	return out, err
}

// verifierOptions returns the options for reading approved registries.
func verifierOptions(c *cli.Context) (promote.VerifierOptions, error) {
	reach, err := registryAccess(c)
	return promote.VerifierOptions{Now: time.Now, Keychain: reach.keychain, Transport: reach.transport, UserAgent: userAgent()}, err
}
