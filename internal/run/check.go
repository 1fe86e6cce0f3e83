package run

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/promote"
)

// Check is a job that checks images without promoting them.
type Check struct {
	Evidence
	Gate Checker
	// At is the time that the gate uses as the current time when it evaluates the policies.
	// Default: now.
	At time.Time
	// Baseline is the approved image to compare with. Default: none.
	Baseline *Baseline
	// Cataloged is called with the SBOMs of the image, before the report has the decision. Its error
	// ends the job. Default: nothing is done.
	Cataloged func(*gate.Result) error
}

// Baseline is an approved image. If a policy allows it, findings of this image only produce
// warnings.
type Baseline struct {
	Ref name.Reference
	// Trust lists the signers that the approved image must have.
	Trust    promote.Trust
	Verifier *promote.Verifier
}

// Run checks one image and fills in the report. It returns whether the image passed. An error means
// that a decision could not be made.
func (j *Check) Run(ctx context.Context, src gate.Source, r *report.Report) (passed bool, err error) {
	r.At = j.At
	assumed(r, src)
	if j.Policies.UsesSigned(src.Repository()) {
		if src, _, err = j.Gate.Pin(ctx, src); err != nil {
			return false, err
		}
	}
	ext, err := j.collect(ctx, src)
	if err != nil {
		return false, err
	}
	if ext.Baseline, err = j.baseline(ctx, src.Repository(), r); err != nil {
		return false, err
	}
	result, err := j.Gate.Check(ctx, src, ext.ExternalEvidence)
	if err != nil {
		return false, err
	}
	defer func() { err = JoinCleanup(err, result.Close()) }()
	if err := cataloged(j.Cataloged, result); err != nil {
		return false, err
	}
	checked(r, result)
	return result.Decision.Passed, nil
}

// baseline reads the findings of the baseline image. It adds a warning to the report if a policy
// uses a baseline and none is given, or if a baseline is given and no policy uses it.
func (j *Check) baseline(ctx context.Context, repository string, r *report.Report) (*evidence.Baseline, error) {
	wanted := j.Policies.UsesBaseline(repository)
	switch {
	case j.Baseline == nil && wanted:
		caution(r, "no finding is inherited: the policy compares with the approved image, and no baseline is given")
		return nil, nil
	case j.Baseline == nil:
		return nil, nil
	case !wanted:
		caution(r, "the baseline %s has no effect: no policy compares with the approved image", j.Baseline.Ref)
		return nil, nil
	}
	trusted := j.Baseline.Trust
	trusted.MaxAge = j.Policies.BaselineMaxAge(repository)
	baseline, missing, err := j.Baseline.Verifier.Baseline(ctx, j.Baseline.Ref, trusted)
	if err != nil {
		return nil, err
	}
	inherits(r, baseline, missing)
	return baseline, nil
}

// inherits adds a warning with the reason if the approved image cannot be used as a baseline.
func inherits(r *report.Report, baseline *evidence.Baseline, missing string) {
	if baseline == nil {
		caution(r, "no finding is inherited from the approved image: %s", missing)
	}
}
