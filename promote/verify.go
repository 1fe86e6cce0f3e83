package promote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// Trust says what a promoted image must prove. Its zero value accepts nobody.
//
// Decisions by several policies and for several tags are kept side by side. Policy,
// PolicyName and Tag select those that count; of each policy and tag it is the
// newest. Each of these must be a pass, and at least one must not be too old.
type Trust struct {
	// Trust lists the keys of which one must have signed everything.
	trust.Trust
	// MaxAge bounds the age of the decision. 0 means the limit that its policy has
	// set, if any.
	MaxAge time.Duration
	// Policy is the digest of the policy by which the image must have
	// passed; empty means any.
	Policy string
	// PolicyName is the name of that policy, whatever its version; empty means any.
	PolicyName string
	// Tag is the tag for which the image must have passed; empty means any. Verify
	// sets it from a reference with a tag.
	Tag string
	// AnyTag accepts a decision for another tag than that of the reference: somebody
	// has moved the tag without promoting the image again.
	AnyTag bool
	// Repository is the repository for which the image was signed, if it is read from
	// another one: a mirror or a pull-through cache. The image and its statements are
	// read from the reference, and must be signed for exactly this repository. The
	// zero value means the repository of the reference.
	Repository name.Repository
	// AllowOverride accepts a denial that an override lets through, as long as
	// that lasts. The record says so.
	AllowOverride bool
	// bothLimits applies the limit of the policy as well as MaxAge.
	bothLimits bool
	// Predicates are the types of statements that the image must carry besides:
	// of an index, the index itself or each of its platforms.
	Predicates []string
}

// signedFor returns the repository for which an image must be signed that is read from
// this one.
func (t Trust) signedFor(read name.Repository) name.Repository {
	if t.Repository == (name.Repository{}) {
		return read
	}
	return t.Repository
}

// VerifyError says that an image could be read and does not prove what it
// should: something is missing, is signed by nobody who is trusted, is about
// something else, or is too old.
type VerifyError struct {
	Ref    string
	Reason string
	// Overridden: nothing is wrong but that the image was denied, and that the
	// override which let it through is not accepted.
	Overridden bool
	// OtherRepository: a trusted signer signed the digest for another repository.
	OtherRepository bool
	// Overtaken: the decision is stored, and another writer has removed it from the list
	// of statements. Storing it again restores it.
	Overtaken bool
}

// Error names the image and what is wrong.
func (e *VerifyError) Error() string { return fmt.Sprintf("verifying %s: %s", e.Ref, e.Reason) }

// Verifier reads approved registries and believes only what is signed.
type Verifier struct{ p Promoter }

// NewVerifier returns a Verifier. Of the options it uses Now, Keychain, Transport,
// UserAgent and Parallel, Format with OnlyFormat, and MoveTag for CheckTags.
func NewVerifier(opts Options) (*Verifier, error) {
	if opts.Now == nil {
		return nil, errors.New("no clock")
	}
	opts = opts.withDefaults()
	return &Verifier{Promoter{opts: opts, remote: remoteOptions(opts)}}, nil
}

// CheckTags tells before anything is done whether every tag names the digest
// already. For the first that names another one it returns a *TagConflictError,
// unless tags may be moved. It only reads.
func (v *Verifier) CheckTags(ctx context.Context, want v1.Hash, tags ...name.Tag) (there bool, err error) {
	return v.p.checkTags(ctx, want, tags)
}

// reads is the form or the forms in which statements are looked for.
func (p *Promoter) reads() trust.Format {
	if p.opts.OnlyFormat {
		return p.opts.Format
	}
	return trust.Both
}

// Verify proves from the approved registry alone that the image passed: it is
// signed for this very repository, or for the one that t names, and for the digest, every statement is there, signed,
// about it and listed in the decision, and the decision is a pass or, if t allows
// it, a denial that an override lets through. A *VerifyError means that the image does
// not prove this. With any other error it is unknown.
func (v *Verifier) Verify(ctx context.Context, ref name.Reference, t Trust) (*Record, error) {
	tag, ok := ref.(name.Tag)
	if ok && !t.AnyTag {
		t.Tag = tag.TagStr()
	}
	record, err := v.p.verify(ctx, ref, t, v.p.reads())
	if err != nil {
		return nil, err
	}
	if ok {
		record.Tag = tag.TagStr()
	}
	record.SignedFor = t.otherName(ref.Context())
	return record, nil
}

// otherName returns the repository for which an image was signed that was read from
// this one; empty if it is the same.
func (t Trust) otherName(read name.Repository) string {
	if want := t.signedFor(read); want.Name() != read.Name() {
		return want.Name()
	}
	return ""
}

// readBack verifies what has just been written, and that every byte of the
// image is there to be pulled.
func (p *Promoter) readBack(ctx context.Context, a *gate.Approval, to destination) (*Record, error) {
	img, repo := a.Image(), to.repo
	for _, a := range img.Others() {
		d, err := p.readManifest(ctx, repo.Digest(a.Descriptor.Digest.String()))
		if err != nil {
			return nil, err
		}
		if err := p.blobsOf(ctx, repo, d); err != nil {
			return nil, err
		}
	}
	if err := p.checkUnlisted(ctx, img, repo); err != nil {
		return nil, err
	}
	var record *Record
	for _, tag := range to.tags {
		one, err := p.standing(ctx, repo.Digest(img.Digest.String()), p.own(a.Policies().Title(), tag.TagStr(), a.Override()))
		if err != nil {
			return nil, err
		}
		if record != nil && record.Decision.Digest != one.Decision.Digest {
			return nil, &SealError{Doing: "reading back the decision for " + tag.String(), Err: &trust.NewerError{List: tag.String(), Kind: DecisionType}}
		}
		record = one
	}
	return record, nil
}

// own is what the promoter demands of its own work: signed by itself, by the policy of
// this name and for this tag, and a denial only if it is to be overridden.
func (p *Promoter) own(policyName, tag string, o *policy.Override) Trust {
	own := p.trust
	own.PolicyName, own.Tag, own.AllowOverride = policyName, tag, o != nil
	return own
}

// standing proves a digest in each form in which the promoter stores, and that no newer
// decision is stored in another form.
func (p *Promoter) standing(ctx context.Context, ref name.Digest, t Trust) (*Record, error) {
	record, err := p.verifyOwn(ctx, ref, t)
	if err != nil || p.opts.Format == trust.Both || p.opts.OnlyFormat {
		return record, err
	}
	other := trust.Bundle
	if p.opts.Format == trust.Bundle {
		other = trust.Legacy
	}
	found, err := p.read(ctx, ref, other)
	if err != nil || len(found.envelopes) == 0 {
		return record, err
	}
	all, err := p.verify(ctx, ref, t, trust.Both)
	if err == nil && all.Decision.Digest != record.Decision.Digest {
		err = &VerifyError{Ref: ref.String(), Reason: "a newer decision is stored as " + other.String()}
	}
	return record, err
}

// verifyOwn proves a digest by the promoter's own key, in each form in which it
// stores: what is complete in one of them may be missing in the other.
func (p *Promoter) verifyOwn(ctx context.Context, ref name.Digest, own Trust) (*Record, error) {
	if p.opts.Format != trust.Both {
		return p.verify(ctx, ref, own, p.opts.Format)
	}
	if _, err := p.verify(ctx, ref, own, trust.Bundle); err != nil {
		return nil, err
	}
	return p.verify(ctx, ref, own, trust.Legacy)
}

func (p *Promoter) hasBlob(ctx context.Context, repo name.Repository, digest v1.Hash, want int64) error {
	l, err := remote.Layer(repo.Digest(digest.String()), p.with(ctx)...)
	if err != nil {
		return err
	}
	have, err := l.Size() // a HEAD request
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("it has %d bytes there, not %d", have, want)
	}
	return nil
}

// readManifest gets a manifest; by digest, the library holds it against that.
func (p *Promoter) readManifest(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	d, err := remote.Get(ref, p.with(ctx)...)
	if err != nil {
		return nil, gate.NewRegistryError(gate.Approved, "reading "+ref.String(), err)
	}
	return d, nil
}

// verify proves a reference and tells what it leads to.
func (p *Promoter) verify(ctx context.Context, ref name.Reference, t Trust, in trust.Format) (*Record, error) {
	proof, err := p.proveAll(ctx, ref, t, in)
	if err != nil {
		return nil, err
	}
	return proof.record(), nil
}

// proveAll resolves the reference once, then proves the digest and, of an index,
// each of its platforms, which a node may pull by themselves.
func (p *Promoter) proveAll(ctx context.Context, ref name.Reference, t Trust, in trust.Format) (*proof, error) {
	root, err := p.readManifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	platforms, err := platformsOf(root)
	if err != nil {
		return nil, &VerifyError{Ref: ref.String(), Reason: err.Error()}
	}
	top, err := p.prove(ctx, ref.Context(), root.Digest, platforms, t, in)
	if err != nil {
		return nil, err
	}
	if top.decision.Basis.Image == root.Digest.String() {
		if err := top.complete(); err != nil {
			return nil, err
		}
	}
	if err := p.areReferred(ctx, top); err != nil {
		return nil, err
	}
	if !root.MediaType.IsIndex() {
		if err := p.blobsOf(ctx, ref.Context(), root); err != nil {
			return nil, err
		}
		return top, top.require(t.Predicates, func() ([]*proof, error) { return nil, nil })
	}
	below, err := p.provePlatforms(ctx, top, platforms, t, in)
	if err != nil {
		return nil, err
	}
	return top, top.require(t.Predicates, func() ([]*proof, error) { return below, nil })
}

// provePlatforms proves each platform of an index, and that it can be pulled.
func (p *Promoter) provePlatforms(ctx context.Context, index *proof, platforms []v1.Hash, t Trust, in trust.Format) ([]*proof, error) {
	var out []*proof
	for _, digest := range platforms {
		platform, err := p.readManifest(ctx, index.ref.Context().Digest(digest.String()))
		if err != nil {
			return nil, err
		}
		if err := p.blobsOf(ctx, index.ref.Context(), platform); err != nil {
			return nil, err
		}
		one, err := p.provePlatform(ctx, index.ref, digest, t, in)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// blobsOf finds out whether everything that a manifest lists can be pulled.
func (p *Promoter) blobsOf(ctx context.Context, repo name.Repository, d *remote.Descriptor) error {
	m, err := v1.ParseManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return &VerifyError{Ref: repo.Digest(d.Digest.String()).String(), Reason: fmt.Sprintf("parsing the manifest: %v", err)}
	}
	for _, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		err := p.hasBlob(ctx, repo, b.Digest, b.Size)
		if registry.IsNotFound(err) {
			return &VerifyError{Ref: repo.Digest(d.Digest.String()).String(), Reason: fmt.Sprintf("its blob %s is not there", b.Digest)}
		}
		if err != nil {
			return gate.NewRegistryError(gate.Approved, fmt.Sprintf("looking for blob %s of %s", b.Digest, repo), err)
		}
	}
	return nil
}

// platformsOf lists the images of an index, or the image itself.
func platformsOf(d *remote.Descriptor) ([]v1.Hash, error) {
	if !d.MediaType.IsIndex() {
		return []v1.Hash{d.Digest}, nil
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return nil, fmt.Errorf("parsing the index: %w", err)
	}
	var out []v1.Hash
	for _, child := range index.Manifests {
		if !gate.IsPlatform(child) {
			continue
		}
		out = append(out, child.Digest)
	}
	if len(out) == 0 {
		return nil, errors.New("the index has no image")
	}
	return out, nil
}
