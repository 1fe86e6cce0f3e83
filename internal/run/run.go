// Package run is the application: it checks, promotes and verifies images.
//
// A job is a [Check], [Promote] or [Verify]. Its Run method handles one image and fills in one
// report. A job keeps no state about an image, so it can run for several images, one after another
// or concurrently. The caller makes the parts of a job: the gate with its policies and database,
// the access to registries, the signer, the clock. So the command line and a server could use the
// same jobs.
//
// The package reads neither flags nor the environment, and prints nothing.
package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/promote"
)

// Checker resolves and checks images. A *gate.Gate is one.
type Checker interface {
	Pin(ctx context.Context, src gate.Source) (gate.Source, v1.Hash, error)
	Check(ctx context.Context, src gate.Source, external gate.ExternalEvidence) (*gate.Result, error)
}

// Staging reads the attachments of an image, for policies that evaluate attachments.
// [StagingRegistry] implements it.
type Staging interface {
	// Attached returns the attachments of an image and its platforms. For each, it verifies whether
	// one of the signers signed it.
	Attached(ctx context.Context, image name.Digest, signers []policy.SignerRule) (*attestations.Attached, error)
}

// StagingRegistry reads the attachments of an image from the image's own registry.
type StagingRegistry struct {
	// Remote are the options for requests to the registry.
	Remote []remote.Option
	// Trust returns a Trust in the signers of the policies. It is called only if a policy evaluates
	// attachments, because it may download a trusted root.
	Trust func(ctx context.Context, signers []policy.SignerRule) (trust.Trust, error)
}

// Attached implements [Staging]. It reads each attachment list once.
func (s StagingRegistry) Attached(ctx context.Context, image name.Digest, signers []policy.SignerRule) (*attestations.Attached, error) {
	trusted, err := s.Trust(ctx, signers)
	if err != nil {
		return nil, err
	}
	found, err := attestations.Read(ctx, image, trusted, s.Remote...)
	if err != nil {
		return nil, registry.NewError(registry.Staging, fmt.Sprintf("reading the attestations of %s", image), err)
	}
	return found, nil
}

// Evidence configures the sources of the external evidence about an image.
type Evidence struct {
	// Policies decide which external evidence is read. They must be the policies of the gate.
	Policies policy.Set
	// VEX has the unsigned VEX statements from files that the user gave. Default: none.
	VEX []evidence.VEXStatement
	// Staging reads the attachments of the image. It is required if a policy evaluates attachments.
	Staging Staging
}

// external is the external evidence about one image, together with the attachments that contain it.
type external struct {
	gate.ExternalEvidence
	attached *attestations.Attached // nil if no policy evaluates attachments
	approved *promote.Prefetched    // attachments of the approved image; nil if there is none
}

// collect reads the external evidence about a resolved image: the VEX statements from files, and
// the attachments in the staging registry if a policy evaluates them. It does not read the
// baseline.
func (e Evidence) collect(ctx context.Context, src gate.Source) (external, error) {
	out := external{ExternalEvidence: gate.ExternalEvidence{VEX: e.VEX}}
	if src.Transport != gate.Registry || !e.Policies.UsesSigned(src.Repository()) {
		return out, nil
	}
	if e.Staging == nil {
		return out, errors.New("a policy uses attestations from the staging registry, but no source for them is configured")
	}
	image := src.Ref.Context().Digest(src.Digest.String())
	var err error
	if out.attached, err = e.Staging.Attached(ctx, image, e.Policies.Signers()); err != nil {
		return out, err
	}
	found, err := out.attached.Evidence()
	if err != nil {
		return out, fmt.Errorf("reading the attestations of %s: %w", image, err)
	}
	out.Attestations, out.Unverified = found.Attestations, found.Unverified
	out.VEX = append(out.VEX[:len(out.VEX):len(out.VEX)], found.VEX...)
	return out, nil
}

// UnwrittenError means that the image passed or was promoted, but a report or a statement could not
// be written afterwards.
type UnwrittenError struct {
	// Promoted is true if the image is in the approved registry.
	Promoted bool
	Err      error
}

// Error states whether the image passed or was promoted, and the cause.
func (e *UnwrittenError) Error() string {
	done := "passed"
	if e.Promoted {
		done = "promoted"
	}
	return done + ", but not everything was written: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *UnwrittenError) Unwrap() error { return e.Err }

// JoinCleanup joins a cleanup error to the error of a job. The error of the job stays part of the
// result.
func JoinCleanup(err, cleanup error) error {
	if cleanup == nil {
		return err
	}
	return errors.Join(err, fmt.Errorf("cleaning up: %w", cleanup))
}

// cataloged calls a function with the SBOMs of an image, unless the function is nil.
func cataloged(call func(*gate.Result) error, result *gate.Result) error {
	if call == nil {
		return nil
	}
	return call(result)
}

// caution adds a warning to a report. Unlike other warnings, it does not come from a policy rule.
func caution(r *report.Report, format string, args ...any) {
	r.Cautions = append(r.Cautions, fmt.Sprintf(format, args...))
}

// assumed adds a warning if the reference of an image has neither tag nor digest.
func assumed(r *report.Report, src gate.Source) {
	if src.AssumesTag() {
		caution(r, "%s has neither a tag nor a digest, so the tag latest is used: name the tag or the digest", src)
	}
}
