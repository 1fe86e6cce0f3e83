package gate

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/policy"
)

// Approval is the proof that an image may be promoted: that it passed or, as
// [Approval.Override] says, that it did not and somebody let it through by the
// policies' leave. Only this package can make one, from a decision; the zero value
// proves nothing and is refused.
type Approval struct {
	result   *Result
	override *policy.Override
	policies policy.Set
	tool     Tool
	// digests are those of the image and its platforms as they were judged.
	// What the accessors hand out belongs to the caller too, who might change
	// it; [Approval.Confirm] holds it against these.
	digests []v1.Hash
}

// approve notes what was judged, and approves it if it passed.
func (r *Result) approve(opts Options) {
	if len(r.Image.Platforms) == 0 {
		return
	}
	r.now, r.judged = opts.Now, newApproval(opts, r)
	if r.Decision.Passed && len(r.Decision.Violations) == 0 {
		r.Approval = r.judged
	}
}

// Override lets an image through that was denied, if every policy allows o now.
// The denial stays what it is, and whatever the Approval leads to must say so.
//
// A pass needs no override, and a judgement as of a later instant has none: both
// are errors, as is an o that a policy does not allow. Who approves is what the
// caller says; nobody has verified it here.
func (r *Result) Override(o policy.Override) (*Approval, error) {
	switch {
	case r.judged == nil:
		return nil, errors.New("nothing was judged as of now: there is nothing to override")
	case r.Approval != nil:
		return nil, errors.New("the image passed: there is nothing to override")
	}
	if err := r.judged.policies.CheckOverride(o, r.now()); err != nil {
		return nil, err
	}
	a := *r.judged
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

// Confirm recomputes the digests of everything that would be promoted, and
// returns an error unless they are those that were judged.
func (a *Approval) Confirm() error {
	img := a.result.Image
	if len(a.digests) != len(img.Platforms)+1 || len(a.result.SBOMs) != len(img.Platforms) || len(a.result.Input.Platforms) != len(img.Platforms) {
		return errors.New("the approval is for another number of platforms")
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

// Valid reports whether the approval came from a decision.
func (a *Approval) Valid() bool { return a != nil && a.result != nil }

// Override is how the image was let through although it was denied; nil where it
// passed.
func (a *Approval) Override() *policy.Override {
	if a.override == nil {
		return nil
	}
	o := *a.override
	return &o
}

// Image is what was judged, with its verified bytes.
func (a *Approval) Image() *Image { return a.result.Image }

// SBOMs has one for each platform, in the order of Image().Platforms.
func (a *Approval) SBOMs() []*SBOM { return a.result.SBOMs }

// Input is the evidence that was judged.
func (a *Approval) Input() policy.Input { return a.result.Input }

// Decision is how it was judged.
func (a *Approval) Decision() policy.Decision { return a.result.Decision }

// Policies are by what it was judged.
func (a *Approval) Policies() policy.Set { return a.policies }

// Tool is who judged.
func (a *Approval) Tool() Tool { return a.tool }

// Times returns when the check started and finished.
func (a *Approval) Times() (started, finished time.Time) {
	return a.result.Started, a.result.Finished
}
