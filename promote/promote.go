// Package promote leads from an Approval to the approved registry, and back.
//
// [Promoter.Promote] copies by digest, signs, attests, reads everything back
// and verifies it, and only then writes the tags: whoever stops it, at
// whatever point, leaves each tag absent, where it was, or on a digest that is
// complete. Running it again finishes what is missing. [Verify] is its mirror:
// it proves from the approved registry alone that an image passed.
//
// The package decides nothing. It takes no image, only an Approval, and those
// come from package gate alone.
package promote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// Options are what a Promoter works with. Those without a stated default must
// be set.
type Options struct {
	// Signer signs the image and its statements.
	Signer *trust.Signer
	// Now tells the time.
	Now func() time.Time

	// Format is the form or the forms in which signatures and statements are
	// stored; the zero value is trust.Legacy.
	Format trust.Format
	// MoveTag lets an approved tag that names another digest be moved. The
	// default is to refuse.
	MoveTag bool
	// Keychain and Transport reach the approved registries. Nil means no
	// credentials and http.DefaultTransport.
	Keychain  authn.Keychain
	Transport http.RoundTripper
	// UserAgent is sent to the registries; empty means the library's.
	UserAgent string
	// Inline is the size of an SBOM in bytes up to which it is signed as a whole; a
	// larger one is a file beside the image, and its digest is signed. 0 means 8 MiB.
	Inline int
	// Parallel bounds how many blobs are sent at once; 0 means 4.
	Parallel int
	// Progress is told what happens. Nil means nobody.
	Progress gate.Progress
}

// Promoter writes to approved registries.
type Promoter struct {
	opts   Options
	remote []remote.Option
	trust  Trust
	takes  Carry
	ahead  *Ahead // what was read ahead; nil for nothing
}

// New validates the options.
func New(opts Options) (*Promoter, error) {
	switch {
	case opts.Signer == nil:
		return nil, errors.New("no signer")
	case opts.Now == nil:
		return nil, errors.New("no clock")
	}
	opts = opts.withDefaults()
	own := Trust{Trust: opts.Signer.Trust()}
	return &Promoter{opts: opts, trust: own, remote: remoteOptions(opts)}, nil
}

func (o Options) withDefaults() Options {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Inline == 0 {
		o.Inline = defaultInline
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	return o
}

// TagConflictError says that an approved tag already names another digest.
type TagConflictError struct {
	Tag        name.Tag
	Have, Want v1.Hash
}

// Error names the tag and both digests.
func (e *TagConflictError) Error() string {
	return fmt.Sprintf("approved tag %s already names %s: not moved to %s", e.Tag, e.Have, e.Want)
}

// Promote brings the approved image to every destination, as one transaction:
// no tag is written before all destinations are complete and verified. The
// records are in the order of the tags. What was denied and let through by an
// override is signed as a denial, with the override beside it.
//
// On an error the records are those of the tags that have been written: none,
// unless it was a tag that could not be written.
func (p *Promoter) Promote(ctx context.Context, a *gate.Approval, tags ...name.Tag) ([]*Record, error) {
	if err := p.accept(a, tags); err != nil {
		return nil, err
	}
	img := a.Image()
	if _, err := p.checkTags(ctx, img.Digest, tags); err != nil {
		return nil, err
	}
	// Everything is signed before the first byte is written: a signer that
	// fails leaves the registries as they were.
	seals := make([][]sealed, len(tags))
	for i, tag := range tags {
		var err error
		if seals[i], err = p.prepare(ctx, a, tag.Context()); err != nil {
			return nil, err
		}
	}
	records := make([]*Record, len(tags))
	for i, tag := range tags {
		done := p.opts.Progress.Start(gate.Push, tag.String())
		record, err := p.stage(ctx, a, tag.Context(), seals[i])
		done(err)
		if err != nil {
			return nil, err
		}
		records[i] = record
	}
	for i, tag := range tags {
		if err := p.tag(ctx, img, tag); err != nil {
			return records[:i], err
		}
		records[i].Tag = tag.TagStr()
	}
	return records, nil
}

// stage makes one destination complete but for its tag, and proves it.
func (p *Promoter) stage(ctx context.Context, a *gate.Approval, repo name.Repository, seals []sealed) (*Record, error) {
	var copied Copied
	var ready []*trust.Ready
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		copied, err = p.copy(gctx, a.Image(), repo)
		return err
	})
	group.Go(func() (err error) {
		if ready, err = p.ready(repo, seals); err != nil {
			return err
		}
		return p.upload(gctx, ready)
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := p.attach(ctx, repo, seals, ready); err != nil {
		return nil, err
	}
	record, err := p.readBack(ctx, a, repo)
	if err != nil {
		return nil, err
	}
	record.Copied = copied
	return record, nil
}

// accept refuses what must not be promoted, before any request is made.
func (p *Promoter) accept(a *gate.Approval, tags []name.Tag) error {
	if !a.Valid() {
		return errors.New("no approval: nothing is promoted")
	}
	if err := a.Confirm(); err != nil {
		return err
	}
	if until := a.Decision().Until; !until.IsZero() && !p.opts.Now().Before(until) {
		return fmt.Errorf("the approval ended at %s: check the image again", until.Format(time.RFC3339))
	}
	if o := a.Override(); o != nil && !p.opts.Now().Before(o.Expires) {
		return fmt.Errorf("the override ended on %s", o.Expires.Format(time.RFC3339))
	}
	if len(tags) == 0 {
		return errors.New("no approved reference")
	}
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t.Name()] {
			return fmt.Errorf("approved reference %s is given twice", t)
		}
		if evidenceTag.MatchString(t.TagStr()) {
			return fmt.Errorf("approved reference %s is where the evidence about another image is kept", t)
		}
		seen[t.Name()] = true
	}
	return nil
}

// evidenceTag matches the tags under which signatures and referrers are kept.
var evidenceTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\..*)?$`)

// checkTags returns a *TagConflictError for the first tag that names another
// digest, unless tags may be moved, and else whether every one names this digest
// already. It only reads.
func (p *Promoter) checkTags(ctx context.Context, want v1.Hash, tags []name.Tag) (there bool, err error) {
	there = len(tags) > 0
	for _, tag := range tags {
		have, err := p.tagged(ctx, tag)
		if err != nil {
			return false, err
		}
		if have != (v1.Hash{}) && have != want && !p.opts.MoveTag {
			return false, &TagConflictError{Tag: tag, Have: have, Want: want}
		}
		there = there && have == want
	}
	return there, nil
}

// tagged returns the digest that a tag names, or none where it does not exist.
func (p *Promoter) tagged(ctx context.Context, tag name.Tag) (v1.Hash, error) {
	d, err := remote.Head(tag, p.with(ctx)...)
	if isNotFound(err) {
		return v1.Hash{}, nil
	}
	if err != nil {
		return v1.Hash{}, gate.NewRegistryError(gate.Approved, "reading tag "+tag.String(), err)
	}
	return d.Digest, nil
}

// tag is the commit point. Registries cannot compare and swap, so it looks
// once more before it writes, and reads back what it wrote.
func (p *Promoter) tag(ctx context.Context, img *gate.Image, tag name.Tag) error {
	have, err := p.tagged(ctx, tag)
	if err != nil {
		return err
	}
	if have == img.Digest {
		return nil
	}
	if have != (v1.Hash{}) && !p.opts.MoveTag {
		return &TagConflictError{Tag: tag, Have: have, Want: img.Digest}
	}
	if err := remote.Put(tag, manifest{img.Manifest, img.MediaType}, p.with(ctx)...); err != nil {
		return gate.NewRegistryError(gate.Approved, "writing tag "+tag.String(), err)
	}
	back, err := remote.Get(tag, p.with(ctx)...) // whose digest is computed, not what a header says
	if err != nil {
		return gate.NewRegistryError(gate.Approved, "reading back tag "+tag.String(), err)
	}
	if back.Digest != img.Digest {
		return gate.NewRegistryError(gate.Approved, "writing tag "+tag.String(),
			fmt.Errorf("it names %s afterwards, not %s", back.Digest, img.Digest))
	}
	return nil
}

// Basis is what a decision depends on beside the image: judging the same
// digest on the same basis again gives the same result, until it ends.
type Basis struct {
	// Repository is where the image comes from: exceptions may be for one
	// repository and not for another with the same image.
	Repository string
	Policy     string // digest of the policy
	Database   string // digest of the vulnerability database
	Beside     string // of the evidence beside the image, see BesideDigest
	Tool       gate.Tool
	// Override is what would let the image through were it denied; nil for
	// nothing.
	Override *policy.Override
}

// Promoted reports whether every tag already names the digest and carries
// complete, verified evidence of a pass on this very basis that has not ended, or
// of a denial that the override of the basis lets through and that lasts still.
// Then there is nothing to do, and the records say what is there. A destination
// that is merely incomplete is reported as false; one that cannot be read is an
// error. What was read ahead is not read again; nil is fine.
func (p *Promoter) Promoted(ctx context.Context, digest v1.Hash, basis Basis, ahead *Ahead, tags ...name.Tag) ([]*Record, bool, error) {
	reader := *p
	p, reader.ahead = &reader, ahead
	var records []*Record
	for _, tag := range tags {
		have, err := p.tagged(ctx, tag)
		if err != nil {
			return nil, false, err
		}
		if have != digest {
			return nil, false, nil
		}
		record, err := p.verifyOwn(ctx, tag.Context().Digest(digest.String()), p.own(basis.Override))
		var unproven *VerifyError
		if errors.As(err, &unproven) || isNotFound(err) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if !record.stands(basis, p.opts.Now()) {
			return nil, false, nil
		}
		if there, err := p.isCarried(ctx, tag.Context(), record.Decision.Basis.Carried); err != nil || !there {
			return nil, false, err
		}
		record.Tag, record.Repeated = tag.TagStr(), true
		records = append(records, record)
	}
	return records, len(tags) > 0, nil
}
