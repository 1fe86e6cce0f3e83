// Package promote copies an approved image to the approved registry, and verifies it there.
//
// Two calls:
//
//   - [Promoter.Promote] copies the image by digest, signs and attests it, reads everything back,
//     verifies it, and only then writes the tags. If interrupted, it leaves each tag
//     absent, unchanged, or on a complete, verified digest. Running it again adds what is missing.
//   - [Verifier.Verify] is the counterpart: it proves from the approved registry alone that an
//     image passed. A Verifier needs no signing key.
//
// The package makes no decisions. Promote accepts only an Approval, never an image, and only
// package gate creates Approvals. The zero [Trust] trusts no signer, so Verify fails with it.
//
// Both return a [Record]: the signed decision and the statements that it lists, as read from the
// registry. The error types are [TagConflictError], [PartialError], [SigningError] and
// [VerifyError]. All other errors come from a registry.
package promote

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/trust"
)

// Options configure a Promoter. A field without a stated default is required.
type Options struct {
	// VerifierOptions configure reading from the approved registries. Their Format also selects how
	// signatures and statements are stored.
	VerifierOptions
	// Signer signs the image and its statements.
	Signer *trust.Signer
	// Inline is the maximum size in bytes of an SBOM that is signed as a whole. A larger SBOM is
	// stored as a blob next to the image, and only its digest is signed. Default: 8 MiB.
	Inline int
	// Locks serializes promoters in one process that write to the same repositories. Without Locks
	// the result is also correct, but promoting takes longer.
	Locks *attach.WriteLocks
	// Memory notes which repositories of a registry have a blob, so that a later promotion to another
	// repository of the registry can mount the blob. Default: none.
	Memory Memory
	// Progress receives progress events. Default: none.
	Progress gate.Progress
	// BeforeTag is called once, after every destination is complete and verified, and before the
	// first tag is written. The records do not have tags yet. An error ends the promotion and
	// leaves all tags unchanged. Default: none.
	BeforeTag func(context.Context, *Promoter, []*Record) error
}

// Promoter writes to approved registries.
type Promoter struct {
	opts     Options
	verifier *Verifier
	trust    Trust // the promoter's own signer, the only trusted one
	plan     CopyPlan
}

// New returns a Promoter, or an error if a required option is missing.
func New(opts Options) (*Promoter, error) {
	if opts.Signer == nil {
		return nil, errors.New("no signer given")
	}
	verifier, err := NewVerifier(opts.VerifierOptions)
	if err != nil {
		return nil, err
	}
	opts.VerifierOptions = verifier.opts
	if opts.Inline == 0 {
		opts.Inline = defaultInline
	}
	if opts.Progress == nil {
		opts.Progress = gate.NoProgress{}
	}
	return &Promoter{opts: opts, verifier: verifier, trust: Trust{Trust: opts.Signer.Trust()}}, nil
}

// TagConflictError reports that an approved tag already points to another digest.
type TagConflictError struct {
	Tag        name.Tag
	Have, Want v1.Hash
}

// Error names the tag and both digests.
func (e *TagConflictError) Error() string {
	return fmt.Sprintf("approved tag %s already names %s: not moved to %s", e.Tag, e.Have, e.Want)
}

// PartialError reports that some tags were written before writing a tag failed. Each written tag is
// on a complete, verified digest. Promoting again writes the other tags.
type PartialError struct {
	Written []name.Tag
	Err     error
}

// Error returns the reason and the tags that were written.
func (e *PartialError) Error() string {
	var written []string
	for _, tag := range e.Written {
		written = append(written, tag.String())
	}
	return fmt.Sprintf("%v; already promoted: %s", e.Err, strings.Join(written, ", "))
}

// Unwrap returns the reason why writing a tag failed.
func (e *PartialError) Unwrap() error { return e.Err }

// destination is a repository, with the tags that the image gets there.
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
// With a *PartialError it returns the records of the tags that were written. With any other error
// it returns no records.
func (p *Promoter) Promote(ctx context.Context, a *gate.Approval, tags ...name.Tag) ([]*Record, error) {
	if err := p.accept(a, tags); err != nil {
		return nil, err
	}
	img := a.Image()
	if _, err := p.verifier.CheckTags(ctx, img.Digest, tags...); err != nil {
		return nil, err
	}
	to := destinations(tags)
	// Sign everything before the first write, so that the registries are unchanged if the signer
	// fails.
	signed := make([]signedDestination, len(to))
	for i, d := range to {
		var err error
		if err = p.checkReadable(ctx, img.Digest, d.repo); err != nil {
			return nil, err
		}
		if signed[i], err = p.sign(ctx, a, d); err != nil {
			return nil, err
		}
	}
	records := map[string]*Record{} // records, by repository
	for i, d := range to {
		pctx, done := p.opts.Progress.Start(ctx, gate.Step{Image: a.Input().Image.Reference, Stage: gate.Push, Subject: d.tags[0].String()})
		record, err := p.write(pctx, a, d, signed[i])
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

// accept validates the approval and the destinations before any request is sent.
func (p *Promoter) accept(a *gate.Approval, tags []name.Tag) error {
	if !a.Valid() {
		return errors.New("no approval given")
	}
	if err := a.Confirm(); err != nil {
		return err
	}
	if until := a.Decision().Until; !until.IsZero() && !p.opts.Now().Before(until) {
		return fmt.Errorf("the approval expired at %s: check the image again", until.Format(time.RFC3339))
	}
	if o := a.Override(); o != nil && !p.opts.Now().Before(o.Expires) {
		return fmt.Errorf("the override expired on %s", o.Expires.Format(time.RFC3339))
	}
	if len(tags) == 0 {
		return errors.New("no approved reference given")
	}
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t.Name()] {
			return fmt.Errorf("approved reference %s is given twice", t)
		}
		if evidenceTag.MatchString(t.TagStr()) {
			return fmt.Errorf("invalid approved reference %s: tags of this form are reserved for signatures and statements", t)
		}
		seen[t.Name()] = true
	}
	return nil
}

// evidenceTag matches the tags that store signatures and statements, and the referrers fallback
// tags.
var evidenceTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\..*)?$`)
