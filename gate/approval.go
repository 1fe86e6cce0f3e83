package gate

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Approval is the proof that an image may be promoted: the image passed, or every policy allowed an
// override of its denial (see [Approval.Override]). Only this package creates an Approval, from a
// decision. The zero value is not valid and cannot be promoted.
type Approval struct {
	result   *Result
	override *policy.Override
	policies policy.Set
	tool     Tool
	// digests are the digests of the image and its platforms, recorded when the image was
	// evaluated. A caller can modify the values that the accessors return, so [Approval.Confirm]
	// compares these values with digests.
	digests []v1.Hash
}

// approve sets r.basis, and sets r.Approval if the image passed. If the policies were evaluated for
// a later time (Options.At), approve sets neither.
func (r *Result) approve(opts Options) {
	if len(r.Image.Platforms) == 0 || !opts.At.IsZero() {
		return
	}
	r.basis = newApproval(opts, r)
	if r.Decision.Passed && len(r.Decision.Violations) == 0 {
		r.Approval = r.basis
	}
}

// Override returns an Approval for a denied image if every policy currently allows the override o.
// The Decision stays a denial, and everything that uses the Approval must say so.
//
// Override returns an error if the image passed, if the policies were evaluated for a later time,
// or if a policy does not allow o. Override does not verify the approver that o names.
func (r *Result) Override(o policy.Override) (*Approval, error) {
	switch {
	case r.basis == nil:
		return nil, errors.New("cannot override the decision: the policies were evaluated for a later time")
	case r.Approval != nil:
		return nil, errors.New("cannot override the decision: the image passed")
	}
	if err := r.basis.policies.CheckOverride(o, r.now()); err != nil {
		return nil, err
	}
	a := *r.basis
	a.override = &o
	return &a, nil
}

func newApproval(opts Options, r *Result) *Approval {
	a := &Approval{result: r, policies: opts.Policies, tool: opts.Tool, digests: []v1.Hash{r.Image.Digest}}
	for _, p := range r.Image.Platforms {
		a.digests = append(a.digests, p.Digest)
	}
	return a
}

// Confirm computes the digests of the manifests that would be promoted: of the image and of each
// platform. It returns an error if a digest differs from the digest that was evaluated.
func (a *Approval) Confirm() error {
	img := a.result.Image
	if len(a.digests) != len(img.Platforms)+1 || len(a.result.SBOMs) != len(img.Platforms) || len(a.result.Input.Platforms) != len(img.Platforms) {
		return errors.New("the approval covers a different number of platforms than the image has")
	}
	check := func(what string, want v1.Hash, raw []byte, also ...string) error {
		got, _, err := v1.SHA256(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		also = append(also, got.String())
		for _, digest := range also {
			if digest != want.String() {
				return fmt.Errorf("the approval is for %s %s, not for %s", what, want, digest)
			}
		}
		return nil
	}
	if err := check("image", a.digests[0], img.Manifest, img.Digest.String(), a.result.Input.Image.Digest); err != nil {
		return err
	}
	for i, p := range img.Platforms {
		raw, err := p.Image.RawManifest()
		if err != nil {
			return err
		}
		if err := check("platform "+p.Name, a.digests[i+1], raw, p.Digest.String(), a.result.SBOMs[i].Digest.String(),
			a.result.Input.Platforms[i].Digest); err != nil {
			return err
		}
	}
	return nil
}

// Valid reports whether the approval was created from a decision.
func (a *Approval) Valid() bool { return a != nil && a.result != nil }

// Override returns the override that let a denied image through, or nil if the image passed.
func (a *Approval) Override() *policy.Override {
	if a.override == nil {
		return nil
	}
	o := *a.override
	return &o
}

// Image returns the image that was evaluated, with its verified bytes.
func (a *Approval) Image() *Image { return a.result.Image }

// SBOMs returns one SBOM for each platform, in the order of Image().Platforms.
func (a *Approval) SBOMs() []*SBOM { return a.result.SBOMs }

// Input returns the evidence that was evaluated.
func (a *Approval) Input() evidence.Input { return a.result.Input }

// Decision returns the decision about the image.
func (a *Approval) Decision() policy.Decision { return a.result.Decision }

// Policies returns the policies that the image was evaluated against.
func (a *Approval) Policies() policy.Set { return a.policies }

// Tool returns the build of this program that made the decision.
func (a *Approval) Tool() Tool { return a.tool }

// Times returns the start and the end of the check.
func (a *Approval) Times() (started, finished time.Time) {
	return a.result.Started, a.result.Finished
}
