package run

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attestations"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/promote"
)

// Promote is a job that checks images and promotes those that pass.
type Promote struct {
	Evidence
	Gate Checker
	// Approved is used to find earlier promotions of an image.
	Approved *promote.Verifier
	// Promoter waits for the signer, which may still be loading, and returns the promoter.
	Promoter func(context.Context) (*promote.Promoter, error)
	// Database is the digest of the vulnerability database, and Tool the version of imagegate.
	Database string
	Tool     gate.Tool
	// Override lets a denied image through if every policy allows it. Default: none.
	Override *policy.Override
	// Repeated is called if an earlier run already promoted the image. Run returns an error of
	// Repeated as an [UnwrittenError]. Default: nothing is called.
	Repeated func(context.Context, *promote.Promoter, []*promote.Record) error
	// Changed is called when a written tag is added to the report. The caller can then save the
	// report, in case the process crashes. Default: nothing is called.
	Changed func()
	// Cataloged is called with the SBOMs of the image, before the report has the decision. Its error
	// ends the job, before anything is written to the approved registry. Default: nothing is done.
	Cataloged func(*gate.Result) error
}

// Run promotes one image to the tags and fills in the report. It returns whether the image is
// promoted; after a denial, it is not. After an error, the report lists the destinations that were
// written before.
func (j *Promote) Run(ctx context.Context, src gate.Source, tags []name.Tag, r *report.Report) (promoted bool, err error) {
	assumed(r, src)
	src, digest, err := j.Gate.Pin(ctx, src)
	if err != nil {
		return false, err
	}
	ext, done, err := j.earlier(ctx, src, digest, tags, r)
	if err != nil || done {
		return done, err
	}
	if ext.Baseline, err = j.baseline(ctx, src.Repository(), ext.approved, tags, r); err != nil {
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
	// Wait for the key before reporting a denial, so that a key that cannot be opened is always an
	// error.
	to, err := j.Promoter(ctx)
	if err != nil {
		return false, err
	}
	checked(r, result)
	leave := approval(r, result, j.Override)
	if leave == nil {
		return false, nil
	}
	records, err := to.WithCopyPlan(j.copyPlan(src.Repository(), ext.attached)).Promote(ctx, leave, tags...)
	written(r, records) // after an error, records has only the tags that were written before the error
	j.changed()
	return err == nil, err
}

// earlier reads the external evidence about the image. If an earlier run promoted the image on the
// same basis, done is true and the report describes that promotion.
func (j *Promote) earlier(ctx context.Context, src gate.Source, digest v1.Hash, tags []name.Tag, r *report.Report) (ext external, done bool, err error) {
	if digest.Hex == "" { // the digest of an image in an archive is not known yet
		return external{ExternalEvidence: gate.ExternalEvidence{VEX: j.VEX}}, false, nil
	}
	there, err := j.Approved.CheckTags(ctx, digest, tags...)
	if err != nil {
		return ext, false, err
	}
	if ext, err = j.collect(ctx, src); err != nil || !there {
		return ext, false, err
	}
	basis, err := j.basis(src, ext)
	if err != nil {
		return ext, false, err
	}
	ext.approved = j.Approved.Prefetch(ctx, digest, tags...) // reads in the background while the key is opened
	to, err := j.Promoter(ctx)
	if err != nil {
		return ext, false, err
	}
	records, done, err := to.Promoted(ctx, digest, basis, ext.approved, tags...)
	if err != nil || !done {
		return ext, false, err
	}
	repeated(r, records)
	if r.Override == nil {
		unused(r, j.Override)
	}
	j.changed()
	if j.Repeated != nil {
		if err := j.Repeated(ctx, to, records); err != nil {
			return ext, true, &UnwrittenError{Promoted: true, Err: err}
		}
	}
	return ext, true, nil
}

// basis returns everything that a decision about the image depends on: policies, database, external
// evidence, version and override.
func (j *Promote) basis(src gate.Source, ext external) (promote.Basis, error) {
	digest, err := promote.ExternalEvidenceDigest(ext.ExternalEvidence)
	return promote.Basis{Repository: src.Repository(), Policy: j.Policies.Digest(), PolicyName: j.Policies.Title(),
		Database: j.Database, ExternalEvidence: digest, Tool: j.Tool, Override: j.Override}, err
}

// baseline returns the findings of the images that the tags currently point to. It returns nil if
// no policy uses a baseline.
func (j *Promote) baseline(ctx context.Context, repository string, approved *promote.Prefetched, tags []name.Tag, r *report.Report) (*evidence.Baseline, error) {
	if !j.Policies.UsesBaseline(repository) {
		return nil, nil
	}
	to, err := j.Promoter(ctx)
	if err != nil {
		return nil, err
	}
	baseline, missing, err := to.Baseline(ctx, j.Policies.BaselineMaxAge(repository), approved, tags...)
	if err != nil {
		return nil, err
	}
	inherits(r, baseline, missing)
	return baseline, nil
}

func (j *Promote) changed() {
	if j.Changed != nil {
		j.Changed()
	}
}

// approval returns the approval to promote the checked image, or nil if the image is denied. An
// override is not used if the image passed. If a policy does not allow the override, the image
// stays denied. In both cases, the report gets a warning.
func approval(r *report.Report, result *gate.Result, asked *policy.Override) *gate.Approval {
	if result.Approval != nil {
		unused(r, asked)
		return result.Approval
	}
	if asked == nil {
		return nil
	}
	a, err := result.Override(*asked)
	if err != nil {
		caution(r, "the override is refused: %v", err)
		return nil
	}
	return a
}

// unused adds a warning to the report if an override was given but not needed.
func unused(r *report.Report, asked *policy.Override) {
	if asked != nil {
		caution(r, "the override is not used: the image passed")
	}
}

// overridden adds an override to the report, if an override let the denied image through.
func overridden(r *report.Report, g *policy.GrantedOverride) {
	if g == nil || r.Override != nil {
		return
	}
	r.Override = g
	caution(r, "the policy denied this image, and an override lets it through until %s: approver %s, reason: %s",
		g.Expires.Format(time.RFC3339), g.Approver, g.Reason)
}

// maxReason is the maximum length in characters of a reason, which may quote content of the
// registry. maxSkipped is the maximum number of skipped attestations in a report, because anyone
// with push access to the staging registry can attach thousands of items.
const (
	maxReason  = 300
	maxSkipped = 100
)

// copyPlan selects the attachments that are copied from the staging registry with an approved
// image.
func (j *Promote) copyPlan(repository string, found *attestations.Attached) promote.CopyPlan {
	if found == nil || !j.Policies.CopiesAny(repository) {
		return promote.CopyPlan{}
	}
	plan := promote.CopyPlan{TrustedSigners: found.Signers}
	for _, i := range found.Items {
		reason := ""
		switch {
		case i.Err != nil:
			reason = fmt.Sprintf("%.*s", maxReason, i.Err)
		case !j.Policies.Copies(repository, i.PredicateType, i.Signer):
			reason = "the policy does not copy this type or signer"
		default:
			plan.Copy = append(plan.Copy, promote.AttestationCopy{Form: i.Form, Signature: i.Signature, Envelope: i.Envelope,
				CopiedAttestation: promote.CopiedAttestation{PredicateType: i.PredicateType, Subject: i.Subject, Digest: i.Digest, Format: i.Form.String(), Signer: i.Signer}})
			continue
		}
		plan.Skip = append(plan.Skip, promote.SkippedAttestation{PredicateType: i.PredicateType, Subject: i.Subject, Digest: i.Digest, Format: i.Form.String(), Reason: reason})
	}
	if more := len(plan.Skip) - maxSkipped; more > 0 {
		plan.Skip = append(plan.Skip[:maxSkipped], promote.SkippedAttestation{Reason: fmt.Sprintf("and %d more", more)})
	}
	return plan
}
