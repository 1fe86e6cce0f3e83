package promote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
)

// checkReadable returns an error if the attachment lists of the image are unreadable in either
// format. In that case, verifying the promoted image would fail, too.
func (p *Promoter) checkReadable(ctx context.Context, digest v1.Hash, repo name.Repository) error {
	if p.opts.OnlyFormat {
		return nil
	}
	ref := repo.Digest(digest.String())
	// Before the first push to a repository, some registries refuse all requests for it. Ignore
	// that error.
	if err := attach.CanList(ctx, ref, p.verifier.with(ctx)...); err != nil && !registry.IsBeforeFirstPush(ctx, repo, err, p.verifier.with(ctx)...) {
		return registry.NewError(registry.Approved, "reading the referrers of "+ref.String(), err)
	}
	return nil
}

// write completes one destination and verifies it. It does not write the tags.
func (p *Promoter) write(ctx context.Context, a *gate.Approval, to destination, signed signedDestination) (*Record, error) {
	var copied Copied
	var encoded []*attach.Prepared
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		copied, err = p.copy(gctx, a.Image(), to.repo)
		return err
	})
	group.Go(func() (err error) {
		if encoded, err = p.encode(to.repo, signed.items); err != nil {
			return err
		}
		return p.upload(gctx, encoded)
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	record, attached, err := p.attachAndRead(ctx, a, to, signed, encoded)
	switch {
	case attached != nil && (err != nil || !p.replaces(ctx, a, to, record)):
		return nil, attached
	case err != nil:
		return nil, err
	case attached == nil && record.Decision.Digest != signed.decision:
		return nil, &SigningError{Doing: "reading back the decision for " + to.repo.String(), Err: &attach.NewerError{List: to.repo.Digest(a.Image().Digest.String()).String(), Kind: DecisionType}}
	}
	record.Copied = copied
	return record, nil
}

// attachAndRead stores the signed items and reads them back. A concurrent promoter that writes to
// the same attachment list may remove this promoter's items, and restores them with its next
// request. If attachAndRead reads the list in between, it stores the items again.
//
// attached is the registry's reason for refusing to change an attachment list, or nil.
func (p *Promoter) attachAndRead(ctx context.Context, a *gate.Approval, to destination, signed signedDestination, encoded []*attach.Prepared) (record *Record, attached, err error) {
	for attempt := 1; ; attempt++ {
		attached = p.attach(ctx, to.repo, signed.items, encoded)
		var refused *attach.RefusedError
		if attached != nil && !errors.As(attached, &refused) {
			return nil, nil, attached
		}
		record, err = p.readBack(ctx, a, to)
		var invalid *VerifyError
		if !errors.As(err, &invalid) || !invalid.Overtaken || attempt == maxOvertaken {
			return record, attached, err
		}
		if err := clock.Sleep(ctx, overtakenDelay<<attempt); err != nil {
			return nil, nil, err
		}
	}
}

// attachAndRead makes at most maxOvertaken attempts. The pauses between them begin with twice
// overtakenDelay and double each time, so the last attempt starts after about three seconds.
const (
	maxOvertaken   = 5
	overtakenDelay = 100 * time.Millisecond
)

// replaces reports whether a stored decision can be used instead of the new one, which the registry
// refuses to store. This is possible if an interrupted earlier run made the same decision on the
// same basis and wrote no tag. If a tag exists already, the result is false, because the promotion
// was meant to renew its decision.
func (p *Promoter) replaces(ctx context.Context, a *gate.Approval, to destination, record *Record) bool {
	in := a.Input()
	external, err := ExternalEvidenceDigest(gate.ExternalEvidence{VEX: in.VEX, Attestations: in.Attestations, Unverified: in.Unverified})
	if err != nil || a.Override() != nil || record.Override != nil {
		return false
	}
	basis := Basis{Repository: in.Image.Repository, Policy: a.Policies().Digest(), Database: in.Database.Digest, ExternalEvidence: external, Tool: a.Tool()}
	if !record.isCurrent(basis, p.opts.Now()) {
		return false
	}
	for _, tag := range to.tags {
		if have, err := p.verifier.tagged(ctx, tag); err != nil || have != (v1.Hash{}) {
			return false
		}
	}
	return true
}

// readBack verifies the statements that attach has just written, and checks that every blob of the
// image can be pulled.
func (p *Promoter) readBack(ctx context.Context, a *gate.Approval, to destination) (*Record, error) {
	img, repo := a.Image(), to.repo
	s := p.verifier.snapshot(nil) // The new snapshot is empty, so everything is read again.
	for _, other := range img.Others() {
		d, err := s.manifest(ctx, repo.Digest(other.Descriptor.Digest.String()))
		if err != nil {
			return nil, err
		}
		if err := s.checkBlobs(ctx, repo, d); err != nil {
			return nil, err
		}
	}
	if err := p.checkUnlisted(ctx, img, repo); err != nil {
		return nil, err
	}
	var record *Record
	for _, tag := range to.tags {
		one, err := s.verifyCurrent(ctx, repo.Digest(img.Digest.String()), p.own(a.Policies().Title(), tag.TagStr(), a.Override()))
		if err != nil {
			return nil, err
		}
		if record != nil && record.Decision.Digest != one.Decision.Digest {
			return nil, &SigningError{Doing: "reading back the decision for " + tag.String(), Err: &attach.NewerError{List: tag.String(), Kind: DecisionType}}
		}
		record = one
	}
	return record, nil
}

// own returns the requirements for the promoter's own promotion: a signature by its own signer, and
// a decision by the named policy and for the tag. A denial is accepted only if o is not nil.
func (p *Promoter) own(policyName, tag string, o *policy.Override) Trust {
	own := p.trust
	own.PolicyName, own.Tag, own.AllowOverride = policyName, tag, o != nil
	return own
}

// checkUnlisted returns an error if the approved repository has a SOCI index that the image names
// but that was not evaluated. Nodes would use the table of contents of that SOCI index instead of
// the scanned layers.
func (p *Promoter) checkUnlisted(ctx context.Context, img *gate.Image, repo name.Repository) error {
	for _, digest := range img.Unlisted {
		ref := repo.Digest(digest.String())
		_, err := remote.Get(ref, p.verifier.with(ctx)...)
		if err == nil {
			return fmt.Errorf("promoting %s to %s: the image names the SOCI index %s, which is in that repository and was not evaluated: "+
				"nodes would use the table of contents of that SOCI index; delete the SOCI index first", img.Digest, repo, digest)
		}
		if !registry.IsNotFound(err) {
			return registry.NewError(registry.Approved, "looking for "+ref.String(), err)
		}
	}
	return nil
}
