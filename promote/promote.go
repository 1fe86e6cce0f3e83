// Package promote leads from an Approval to the approved registry, and back.
//
// [Promoter.Promote] copies by digest, signs, attests, reads everything back
// and verifies it, and only then writes the tags. Interrupted at any point, it
// leaves each tag absent, unchanged, or on a complete, verified digest. Running it
// again adds what is missing. [Verifier.Verify] is its mirror: it proves from the
// approved registry alone that an image passed.
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
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
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
	// OnlyFormat reads statements in that form alone. The default is to fail if those
	// of another form cannot be read, because a newer decision may be among them.
	OnlyFormat bool
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
	// Turns is shared by promoters in one process that write to the same repositories.
	// Nil is correct too, and slower.
	Turns *trust.Turns
	// Parallel bounds how many blobs are sent at once; 0 means 4.
	Parallel int
	// Progress is told what happens. Nil means nobody.
	Progress gate.Progress
	// BeforeTag is called once, when every destination is complete and was read
	// back, and before the first tag is written. An error ends the promotion with
	// all tags as they were. The records have no tags yet. Nil does nothing.
	BeforeTag func(context.Context, *Promoter, []*Record) error
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

// PartialError says that some of several tags were written and the next one was not.
// Each written tag is on a complete, verified digest. Promoting again writes the rest.
type PartialError struct {
	Written []name.Tag
	Err     error
}

// Error names the tags that were written.
func (e *PartialError) Error() string {
	var written []string
	for _, tag := range e.Written {
		written = append(written, tag.String())
	}
	return fmt.Sprintf("%v; already promoted: %s", e.Err, strings.Join(written, ", "))
}

// Unwrap returns why the next tag was not written.
func (e *PartialError) Unwrap() error { return e.Err }

// destination is a repository and the tags in it that the image gets.
type destination struct {
	repo name.Repository
	tags []name.Tag
}

func (d destination) tagNames() []string {
	var out []string
	for _, tag := range d.tags {
		out = append(out, tag.TagStr())
	}
	slices.Sort(out)
	return out
}

// destinations groups tags by repository, in the order of the tags.
func destinations(tags []name.Tag) []destination {
	var out []destination
	for _, tag := range tags {
		i := slices.IndexFunc(out, func(d destination) bool { return d.repo.Name() == tag.Context().Name() })
		if i < 0 {
			i, out = len(out), append(out, destination{repo: tag.Context()})
		}
		out[i].tags = append(out[i].tags, tag)
	}
	return out
}

// Promote brings the approved image to every destination. No tag is written before
// all destinations are complete and verified. The records are in the order of the
// tags. A denial that an override lets through is signed as a denial, together with
// the override.
//
// On an error the records are those of the tags that have been written. There are
// none, unless the error is a *PartialError.
func (p *Promoter) Promote(ctx context.Context, a *gate.Approval, tags ...name.Tag) ([]*Record, error) {
	if err := p.accept(a, tags); err != nil {
		return nil, err
	}
	img := a.Image()
	if _, err := p.checkTags(ctx, img.Digest, tags); err != nil {
		return nil, err
	}
	to := destinations(tags)
	// Everything is signed before the first byte is written: a signer that
	// fails leaves the registries as they were.
	signed := make([]prepared, len(to))
	for i, d := range to {
		var err error
		if err = p.checkReadable(ctx, img.Digest, d.repo); err != nil {
			return nil, err
		}
		if signed[i], err = p.prepare(ctx, a, d); err != nil {
			return nil, err
		}
	}
	records := map[string]*Record{} // by repository
	for i, d := range to {
		done := p.opts.Progress.Start(gate.Push, d.tags[0].String())
		record, err := p.stage(ctx, a, d, signed[i])
		done(err)
		if err != nil {
			return nil, err
		}
		records[d.repo.Name()] = record
	}
	if err := p.beforeTag(ctx, tags, records); err != nil {
		return nil, err
	}
	var out []*Record
	for i, tag := range tags {
		if err := p.tag(ctx, img, tag); err != nil {
			if i > 0 {
				err = &PartialError{Written: tags[:i], Err: err}
			}
			return out, err
		}
		record := *records[tag.Context().Name()]
		record.Tag = tag.TagStr()
		out = append(out, &record)
	}
	return out, nil
}

// beforeTag calls [Options.BeforeTag] with the record of each tag.
func (p *Promoter) beforeTag(ctx context.Context, tags []name.Tag, records map[string]*Record) error {
	if p.opts.BeforeTag == nil {
		return nil
	}
	var complete []*Record
	for _, tag := range tags {
		complete = append(complete, records[tag.Context().Name()])
	}
	return p.opts.BeforeTag(ctx, p, complete)
}

// checkReadable fails if the statements about the image cannot be read in each form:
// verifying the promoted image would fail as well.
func (p *Promoter) checkReadable(ctx context.Context, digest v1.Hash, repo name.Repository) error {
	if p.opts.OnlyFormat {
		return nil
	}
	ref := repo.Digest(digest.String())
	// Some registries refuse to say anything about a repository before the first push.
	if err := trust.CanList(ctx, ref, p.with(ctx)...); err != nil && !registry.IsBeforeFirstPush(ctx, repo, err, p.with(ctx)...) {
		return gate.NewRegistryError(gate.Approved, "reading the referrers of "+ref.String(), err)
	}
	return nil
}

// stage makes one destination complete but for its tags, and proves it.
func (p *Promoter) stage(ctx context.Context, a *gate.Approval, to destination, signed prepared) (*Record, error) {
	var copied Copied
	var ready []*trust.Ready
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		copied, err = p.copy(gctx, a.Image(), to.repo)
		return err
	})
	group.Go(func() (err error) {
		if ready, err = p.ready(to.repo, signed.seals); err != nil {
			return err
		}
		return p.upload(gctx, ready)
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	record, attached, err := p.attachAndRead(ctx, a, to, signed, ready)
	switch {
	case attached != nil && (err != nil || !p.replaces(ctx, a, to, record)):
		return nil, attached
	case err != nil:
		return nil, err
	case attached == nil && record.Decision.Digest != signed.decision:
		return nil, &SealError{Doing: "reading back the decision for " + to.repo.String(), Err: &trust.NewerError{List: to.repo.Digest(a.Image().Digest.String()).String(), Kind: DecisionType}}
	}
	record.Copied = copied
	return record, nil
}

// attachAndRead stores what was signed and reads it back. Another promoter that was about
// to write the same list removes ours from it, and restores it with its next request.
// Whoever reads in between stores it again.
//
// attached is why the registry refuses to change a list, and nil if it does not.
func (p *Promoter) attachAndRead(ctx context.Context, a *gate.Approval, to destination, signed prepared, ready []*trust.Ready) (record *Record, attached, err error) {
	for attempt := 1; ; attempt++ {
		attached = p.attach(ctx, to.repo, signed.seals, ready)
		var refused *trust.RefusedError
		if attached != nil && !errors.As(attached, &refused) {
			return nil, nil, attached
		}
		record, err = p.readBack(ctx, a, to)
		var unproven *VerifyError
		if !errors.As(err, &unproven) || !unproven.Overtaken || attempt == maxOvertaken {
			return record, attached, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(overtakenDelay << attempt):
		}
	}
}

// With these, the last attempt is made after about three seconds.
const (
	maxOvertaken   = 5
	overtakenDelay = 100 * time.Millisecond
)

// replaces reports whether a stored decision can stand in for the new one, which the
// registry refuses to store. An earlier run was interrupted before it wrote a tag: it
// decided the same on the same basis. A tag that is there already would not be
// renewed by it, and that is no success.
func (p *Promoter) replaces(ctx context.Context, a *gate.Approval, to destination, record *Record) bool {
	in := a.Input()
	beside, err := BesideDigest(gate.Beside{VEX: in.VEX, Attestations: in.Attestations, Unverified: in.Unverified})
	if err != nil || a.Override() != nil || record.Override != nil {
		return false
	}
	basis := Basis{Repository: in.Image.Repository, Policy: a.Policies().Digest(), Database: in.Database.Digest, Beside: beside, Tool: a.Tool()}
	if !record.stands(basis, p.opts.Now()) {
		return false
	}
	for _, tag := range to.tags {
		if have, err := p.tagged(ctx, tag); err != nil || have != (v1.Hash{}) {
			return false
		}
	}
	return true
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

// tagged returns the digest that a tag names, or none if it does not exist. It is
// computed from the manifest: the header of a HEAD may be stale, or not there.
func (p *Promoter) tagged(ctx context.Context, tag name.Tag) (v1.Hash, error) {
	d, err := remote.Get(tag, p.with(ctx)...)
	if err == nil {
		return d.Digest, nil
	}
	absent, err := registry.IsAbsent(ctx, tag, err, p.with(ctx)...)
	if absent {
		return v1.Hash{}, nil
	}
	return v1.Hash{}, gate.NewRegistryError(gate.Approved, "reading tag "+tag.String(), err)
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
	PolicyName string // name of the policy, which its earlier versions have too
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
		record, err := p.standing(ctx, tag.Context().Digest(digest.String()), p.own(basis.PolicyName, tag.TagStr(), basis.Override))
		var unproven *VerifyError
		if errors.As(err, &unproven) || registry.IsNotFound(err) {
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
