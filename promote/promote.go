// Package promote copies an approved image to the approved registry, and verifies it there.
//
// [Promoter.Promote] copies by digest, signs, attests, reads everything back and verifies it, and
// only then writes the tags. Interrupted at any point, it leaves each tag absent, unchanged, or on
// a complete, verified digest. Running it again adds what is missing. [Verifier.Verify] is the
// counterpart: it proves from the approved registry alone that an image passed.
//
// The package makes no decisions. It accepts only an Approval, never an image, and only package
// gate creates Approvals.
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
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// Options configure a Promoter. A field without a stated default is required.
type Options struct {
	// Signer signs the image and its statements.
	Signer *trust.Signer
	// Now returns the current time.
	Now func() time.Time

	// Format selects how signatures and statements are stored. The zero value is
	// trust.Legacy.
	Format trust.Format
	// OnlyFormat reads statements in that form alone. The default is to fail if statements in the
	// other form are unreadable, because a newer decision may be among them.
	OnlyFormat bool
	// MoveTag allows moving an approved tag that names another digest. The default is to refuse.
	MoveTag bool
	// Keychain and Transport are used for the approved registries. Nil means no credentials and
	// http.DefaultTransport.
	Keychain  authn.Keychain
	Transport http.RoundTripper
	// UserAgent is sent to the registries. Empty means the default of the registry library.
	UserAgent string
	// Inline is the largest size in bytes of an SBOM that is signed as a whole. A larger SBOM is
	// stored as a blob next to the image, and its digest is signed. 0 means 8 MiB.
	Inline int
	// Locks serializes promoters in one process that write to the same repositories. Nil is also
	// correct, but slower.
	Locks *attach.WriteLocks
	// Parallel limits how many blobs are sent at once. 0 means 4.
	Parallel int
	// Progress receives progress events. Nil discards them.
	Progress gate.Progress
	// BeforeTag is called once, after every destination is complete and read back, and before the
	// first tag is written. An error ends the promotion and leaves all tags unchanged. The records
	// have no tags yet. Nil does nothing.
	BeforeTag func(context.Context, *Promoter, []*Record) error
}

// Promoter writes to approved registries.
type Promoter struct {
	opts       Options
	remote     []remote.Option
	trust      Trust
	plan       CopyPlan
	prefetched *Prefetched // attachments that were prefetched; nil if there are none
}

// New returns a Promoter, or an error if a required option is missing.
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

// TagConflictError reports that an approved tag already names another digest.
type TagConflictError struct {
	Tag        name.Tag
	Have, Want v1.Hash
}

// Error names the tag and both digests.
func (e *TagConflictError) Error() string {
	return fmt.Sprintf("approved tag %s already names %s: not moved to %s", e.Tag, e.Have, e.Want)
}

// PartialError reports that some of several tags were written and the next one was not. Each
// written tag is on a complete, verified digest. Promoting again writes the rest.
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

// Unwrap returns the reason why the next tag was not written.
func (e *PartialError) Unwrap() error { return e.Err }

// destination is a repository and the tags that the image gets there.
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

// destinations groups tags by repository and keeps their order.
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

// Promote copies the approved image to every destination and tags it. No tag is written before all
// destinations are complete and verified. The records are in the order of the tags. A denial with
// an override is signed as a denial, together with the override.
//
// On an error it returns the records of the tags that have been written. There are none, unless the
// error is a *PartialError.
func (p *Promoter) Promote(ctx context.Context, a *gate.Approval, tags ...name.Tag) ([]*Record, error) {
	if err := p.accept(a, tags); err != nil {
		return nil, err
	}
	img := a.Image()
	if _, err := p.checkTags(ctx, img.Digest, tags); err != nil {
		return nil, err
	}
	to := destinations(tags)
	// Everything is signed before the first byte is written: if the signer fails, the registries
	// are unchanged.
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

// beforeTag calls [Options.BeforeTag] with one record for each tag.
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

// checkReadable fails if statements about the image are unreadable in either form: verifying the
// promoted image would fail, too.
func (p *Promoter) checkReadable(ctx context.Context, digest v1.Hash, repo name.Repository) error {
	if p.opts.OnlyFormat {
		return nil
	}
	ref := repo.Digest(digest.String())
	// Some registries refuse all requests about a repository before the first push.
	if err := attach.CanList(ctx, ref, p.with(ctx)...); err != nil && !registry.IsBeforeFirstPush(ctx, repo, err, p.with(ctx)...) {
		return registry.NewError(registry.Approved, "reading the referrers of "+ref.String(), err)
	}
	return nil
}

// stage completes one destination, except for its tags, and verifies it.
func (p *Promoter) stage(ctx context.Context, a *gate.Approval, to destination, signed prepared) (*Record, error) {
	var copied Copied
	var ready []*attach.Prepared
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
		return nil, &SigningError{Doing: "reading back the decision for " + to.repo.String(), Err: &attach.NewerError{List: to.repo.Digest(a.Image().Digest.String()).String(), Kind: DecisionType}}
	}
	record.Copied = copied
	return record, nil
}

// attachAndRead stores the signed items and reads them back. A concurrent promoter that writes the
// same list may remove our items; its next request restores them. If the list is read in between,
// attachAndRead stores the items again.
//
// attached is the reason why the registry refuses to change a list, or nil.
func (p *Promoter) attachAndRead(ctx context.Context, a *gate.Approval, to destination, signed prepared, ready []*attach.Prepared) (record *Record, attached, err error) {
	for attempt := 1; ; attempt++ {
		attached = p.attach(ctx, to.repo, signed.seals, ready)
		var refused *attach.RefusedError
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

// With these values, the last attempt happens after about three seconds.
const (
	maxOvertaken   = 5
	overtakenDelay = 100 * time.Millisecond
)

// replaces reports whether a stored decision can serve instead of the new one, which the registry
// refuses to store. It can if an interrupted earlier run decided the same on the same basis and
// wrote no tag. If a tag exists already, the old decision would not renew it: that is a failure.
func (p *Promoter) replaces(ctx context.Context, a *gate.Approval, to destination, record *Record) bool {
	in := a.Input()
	beside, err := ExternalEvidenceDigest(gate.ExternalEvidence{VEX: in.VEX, Attestations: in.Attestations, Unverified: in.Unverified})
	if err != nil || a.Override() != nil || record.Override != nil {
		return false
	}
	basis := Basis{Repository: in.Image.Repository, Policy: a.Policies().Digest(), Database: in.Database.Digest, ExternalEvidence: beside, Tool: a.Tool()}
	if !record.isCurrent(basis, p.opts.Now()) {
		return false
	}
	for _, tag := range to.tags {
		if have, err := p.tagged(ctx, tag); err != nil || have != (v1.Hash{}) {
			return false
		}
	}
	return true
}

// accept rejects an invalid approval or destination before any request is made.
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

// evidenceTag matches the tags that hold signatures and referrers.
var evidenceTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\..*)?$`)

// checkTags reads all tags. It returns a *TagConflictError for the first tag that names another
// digest, unless tags may be moved. Otherwise, there reports whether every tag already names this
// digest.
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

// tagged returns the digest that a tag names, or the zero Hash if the tag does not exist. The
// digest is computed from the manifest, because the header of a HEAD response may be stale or
// missing.
func (p *Promoter) tagged(ctx context.Context, tag name.Tag) (v1.Hash, error) {
	d, err := remote.Get(tag, p.with(ctx)...)
	if err == nil {
		return d.Digest, nil
	}
	absent, err := registry.IsAbsent(ctx, tag, err, p.with(ctx)...)
	if absent {
		return v1.Hash{}, nil
	}
	return v1.Hash{}, registry.NewError(registry.Approved, "reading tag "+tag.String(), err)
}

// tag is the commit point. Registries have no compare-and-swap, so tag reads the tag again before
// it writes, and reads back the result.
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
		return registry.NewError(registry.Approved, "writing tag "+tag.String(), err)
	}
	back, err := remote.Get(tag, p.with(ctx)...) // Get hashes the body and ignores the header
	if err != nil {
		return registry.NewError(registry.Approved, "reading back tag "+tag.String(), err)
	}
	if back.Digest != img.Digest {
		return registry.NewError(registry.Approved, "writing tag "+tag.String(),
			fmt.Errorf("it names %s afterwards, not %s", back.Digest, img.Digest))
	}
	return nil
}

// Basis is everything that a decision depends on, except the image itself. Evaluating the same
// digest on the same basis again gives the same result, until the decision ends.
type Basis struct {
	// Repository is the source of the image: an exception may apply to one repository and not to
	// another with the same image.
	Repository       string
	Policy           string // digest of the policy
	PolicyName       string // name of the policy, shared by its earlier versions
	Database         string // digest of the vulnerability database
	ExternalEvidence string // digest of the external evidence, see ExternalEvidenceDigest
	Tool             gate.Tool
	// Override would let the image through if it were denied. Nil means none.
	Override *policy.Override
}

// Promoted reports whether there is nothing to do: every tag already names the digest and has
// complete, verified evidence on this very basis. The evidence must show a pass that has not ended,
// or a denial with the override of the basis that is still in force. The records describe the
// existing evidence.
//
// An incomplete destination is reported as false; an unreadable one is an error. Prefetched
// attachments in ahead are not read again; ahead may be nil.
func (p *Promoter) Promoted(ctx context.Context, digest v1.Hash, basis Basis, ahead *Prefetched, tags ...name.Tag) ([]*Record, bool, error) {
	reader := *p
	p, reader.prefetched = &reader, ahead
	var records []*Record
	for _, tag := range tags {
		have, err := p.tagged(ctx, tag)
		if err != nil {
			return nil, false, err
		}
		if have != digest {
			return nil, false, nil
		}
		record, err := p.verifyCurrent(ctx, tag.Context().Digest(digest.String()), p.own(basis.PolicyName, tag.TagStr(), basis.Override))
		var unproven *VerifyError
		if errors.As(err, &unproven) || registry.IsNotFound(err) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if !record.isCurrent(basis, p.opts.Now()) {
			return nil, false, nil
		}
		if there, err := p.hasCopies(ctx, tag.Context(), record.Decision.Basis.CopiedAttestations); err != nil || !there {
			return nil, false, err
		}
		record.Tag, record.Repeated = tag.TagStr(), true
		records = append(records, record)
	}
	return records, len(tags) > 0, nil
}
