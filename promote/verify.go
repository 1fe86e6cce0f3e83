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

	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// Trust states what a promoted image must prove. The zero value trusts no signer, so every
// verification fails.
//
// Decisions by several policies and for several tags are stored side by side. Policy, PolicyName
// and Tag select the decisions that count. For each policy and tag only the newest decision counts.
// Every decision that counts must be a pass and must not be too old.
type Trust struct {
	// Trust lists the trusted signers. Every signature and statement must be signed by one of them.
	trust.Trust
	// MaxAge is the maximum age of the decision. Default: the limit that its policy sets, if any.
	MaxAge time.Duration
	// Policy is the digest of the policy that the image must have passed. Default: any policy.
	Policy string
	// PolicyFile names the policy of Policy in messages. Default: "the given policy".
	PolicyFile string
	// PolicyName is the name of the policy that the image must have passed, in any version.
	// Default: any policy.
	PolicyName string
	// Tag is the tag that the image must have been promoted for. Default: any tag. Verify sets it
	// from a reference with a tag.
	Tag string
	// AnyTag also accepts a decision for a tag other than the tag of the reference. Use it if the
	// tag was moved to the image without promoting the image again.
	AnyTag bool
	// Repository is the repository that the image must be signed for. It is needed if the image is
	// read from a mirror or a pull-through cache. The image and its statements are still read from
	// the repository of the reference. Default: the repository of the reference.
	Repository name.Repository
	// AllowOverride accepts a denial with an override that has not expired. The record then has the
	// override.
	AllowOverride bool
	// bothLimits makes the limit of the policy apply in addition to MaxAge.
	bothLimits bool
	// Predicates are the types of additional statements that the image must have. For an index,
	// either the index itself or each of its platforms must have such a statement.
	Predicates []string
}

// signedFor returns the repository that an image must be signed for if it is read from the
// repository read.
func (t Trust) signedFor(read name.Repository) name.Repository {
	if t.Repository == (name.Repository{}) {
		return read
	}
	return t.Repository
}

// VerifyError reports that an image was readable but does not prove that it passed. For example, a
// statement is missing, has no trusted signer, is about another image, or is too old.
type VerifyError struct {
	Ref    string
	Reason string
	// Overridden is true if the image would be accepted with AllowOverride: it was denied and has a
	// valid override.
	Overridden bool
	// Unsigned is true if the image has no signature at all.
	Unsigned bool
	// OtherRepository is true if a trusted signer signed the digest for another repository.
	OtherRepository bool
	// Overtaken is true if the decision is stored, but another writer has removed it from the
	// attachment list. Promoting again restores it.
	Overtaken bool
	// OtherPolicy is true if the image has decisions for the tag, but with another content of the
	// policy.
	OtherPolicy bool
}

// Error names the image and the reason.
func (e *VerifyError) Error() string { return fmt.Sprintf("verifying %s: %s", e.Ref, e.Reason) }

// otherName returns the repository that an image in the repository read was signed for. It returns
// "" if both are the same.
func (t Trust) otherName(read name.Repository) string {
	if want := t.signedFor(read); want.Name() != read.Name() {
		return want.Name()
	}
	return ""
}

// verifyCurrent verifies a digest in each format that the promoter stores. It also checks that no
// newer decision is stored in another format.
func (s snapshot) verifyCurrent(ctx context.Context, ref name.Digest, t Trust) (*Record, error) {
	record, err := s.verifyOwn(ctx, ref, t)
	if err != nil || s.v.opts.Format == trust.Both || s.v.opts.OnlyFormat {
		return record, err
	}
	other := trust.Bundle
	if s.v.opts.Format == trust.Bundle {
		other = trust.Legacy
	}
	found, err := s.read(ctx, ref, other)
	if err != nil || len(found.envelopes) == 0 {
		return record, err
	}
	all, err := s.verify(ctx, ref, t, trust.Both)
	if err == nil && all.Decision.Digest != record.Decision.Digest {
		err = &VerifyError{Ref: ref.String(), Reason: "a newer decision is stored in the format " + other.String()}
	}
	return record, err
}

// verifyOwn verifies a digest against the promoter's own key, separately in each format that the
// promoter stores. Evidence that is complete in one format may be incomplete in the other.
func (s snapshot) verifyOwn(ctx context.Context, ref name.Digest, own Trust) (*Record, error) {
	if s.v.opts.Format != trust.Both {
		return s.verify(ctx, ref, own, s.v.opts.Format)
	}
	if _, err := s.verify(ctx, ref, own, trust.Bundle); err != nil {
		return nil, err
	}
	return s.verify(ctx, ref, own, trust.Legacy)
}

// verify verifies a reference and returns its record.
func (s snapshot) verify(ctx context.Context, ref name.Reference, t Trust, in trust.Format) (*Record, error) {
	proof, err := s.proveAll(ctx, ref, t, in)
	if err != nil {
		return nil, err
	}
	record := proof.record()
	record.source = &s
	return record, nil
}

// proveAll resolves the reference once. It verifies the digest and, for an index, also each of its
// platforms, because a node may pull a platform directly.
func (s snapshot) proveAll(ctx context.Context, ref name.Reference, t Trust, in trust.Format) (*proof, error) {
	root, err := s.manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	platforms, err := platformsOf(root)
	if err != nil {
		return nil, &VerifyError{Ref: ref.String(), Reason: err.Error()}
	}
	top, err := s.prove(ctx, ref.Context(), root.Digest, platforms, t, in)
	if err != nil {
		return nil, err
	}
	if top.decision.Basis.Image == root.Digest.String() {
		if err := top.complete(); err != nil {
			return nil, err
		}
	}
	if err := s.checkDocuments(ctx, top); err != nil {
		return nil, err
	}
	if !root.MediaType.IsIndex() {
		if err := s.checkBlobs(ctx, ref.Context(), root); err != nil {
			return nil, err
		}
		return top, top.require(t.Predicates, func() ([]*proof, error) { return nil, nil })
	}
	below, err := s.provePlatforms(ctx, top, platforms, t, in)
	if err != nil {
		return nil, err
	}
	return top, top.require(t.Predicates, func() ([]*proof, error) { return below, nil })
}

// provePlatforms verifies each platform of an index, and checks that each platform can be pulled.
func (s snapshot) provePlatforms(ctx context.Context, index *proof, platforms []v1.Hash, t Trust, in trust.Format) ([]*proof, error) {
	var out []*proof
	for _, digest := range platforms {
		platform, err := s.manifest(ctx, index.ref.Context().Digest(digest.String()))
		if err != nil {
			return nil, err
		}
		if err := s.checkBlobs(ctx, index.ref.Context(), platform); err != nil {
			return nil, err
		}
		one, err := s.provePlatform(ctx, index.ref, digest, t, in)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// checkBlobs checks that the config and all layers of a manifest can be pulled.
func (s snapshot) checkBlobs(ctx context.Context, repo name.Repository, d *remote.Descriptor) error {
	m, err := v1.ParseManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return &VerifyError{Ref: repo.Digest(d.Digest.String()).String(), Reason: fmt.Sprintf("parsing the manifest: %v", err)}
	}
	for _, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		err := s.checkBlob(ctx, repo, b)
		if registry.IsNotFound(err) {
			return &VerifyError{Ref: repo.Digest(d.Digest.String()).String(), Reason: fmt.Sprintf("blob %s of the image is missing in the registry", b.Digest)}
		}
		if err != nil {
			return registry.NewError(registry.Approved, fmt.Sprintf("looking for blob %s of %s", b.Digest, repo), err)
		}
	}
	return nil
}

// platformsOf returns the digests of the images of an index, or the digest of the image itself.
func platformsOf(d *remote.Descriptor) ([]v1.Hash, error) {
	if !d.MediaType.IsIndex() {
		return []v1.Hash{d.Digest}, nil
	}
	index, err := registry.ParseIndex(d.Manifest)
	if err != nil {
		return nil, fmt.Errorf("parsing the index: %w", err)
	}
	for _, child := range index.Other {
		return nil, fmt.Errorf("the index lists %s with media type %q, which is not an image", child.Digest, child.MediaType)
	}
	var out []v1.Hash
	for _, child := range index.Platforms {
		out = append(out, child.Digest)
	}
	if len(out) == 0 {
		return nil, errors.New("the index lists no image")
	}
	return out, nil
}

func (s snapshot) checkBlob(ctx context.Context, repo name.Repository, want v1.Descriptor) error {
	have, err := s.blobSize(ctx, repo.Digest(want.Digest.String()))
	if err != nil {
		return err
	}
	if have != want.Size {
		return fmt.Errorf("the blob has %d bytes in the registry, but the manifest lists %d", have, want.Size)
	}
	return nil
}
