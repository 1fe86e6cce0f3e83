package trust

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/registry"
)

// Attachments are the signatures and statements that are attached to a digest.
type Attachments struct {
	Signatures []Signature
	Envelopes  []Envelope
	// Copied holds statements that only the copy of the list has: another writer has overwritten
	// the list. Read fills this field; writing ignores it.
	Copied []Envelope
}

// Attach stores attachments by a trusted signer in the registry, in each form that the format
// selects: first the signatures, then the statements. It refuses attachments by other signers and
// signatures of the wrong form. The image must exist for bundles, which refer to it; for the legacy
// form it need not.
//
// Attachments by others are kept. A signature over the same document or an envelope over the same
// statement is not stored twice. An existing statement of ours with the same type and first subject
// is older, and is replaced.
//
// If the registry refuses to change a tag, the error is a *RefusedError. If it does not delete
// bundles, replaced bundles stay.
func Attach(ctx context.Context, own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, opts ...remote.Option) error {
	return AttachAll(ctx, own, f, repo, digest, a, Copies{}, Writing{}, opts...)
}

// Copy holds attachments by other signers, to be stored together with our own, each in the form
// that it was read in. TrustedSigners must trust their signers. They replace nothing, not even items of the
// same type about the same subject, and none is stored twice.
type Copies struct {
	TrustedSigners  Trust
	Legacy, Bundles Attachments
}

func (a Copies) sort() (legacy, bundles []signed, err error) {
	if legacy, _, err = a.TrustedSigners.sort(Legacy, a.Legacy); err != nil {
		return nil, nil, err
	}
	_, bundles, err = a.TrustedSigners.sort(Bundle, a.Bundles)
	return legacy, bundles, err
}

// AttachAll is like Attach and stores along in the same writes: a registry with immutable tags
// accepts only one write.
func AttachAll(ctx context.Context, own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, along Copies, how Writing, opts ...remote.Option) error {
	r, err := Prepare(own, f, repo, digest, a, along, how)
	if err != nil {
		return err
	}
	return r.Attach(ctx, opts...)
}

// Prepared holds encoded attachments for AttachAll. Encoding is a separate step, because SBOMs have
// megabytes and encoding them takes as long as sending them.
type Prepared struct {
	ref                   name.Digest
	digest                v1.Hash
	all                   writers
	signatures, envelopes []claimed // stored in tags
	bundles               []signed
}

// Prepare verifies and encodes all attachments. It contacts no registry.
func Prepare(own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, along Copies, how Writing) (*Prepared, error) {
	ref := repo.Digest(digest.String())
	own.places, along.TrustedSigners.places = how.Places, nil
	legacy, bundles, err := own.sort(f, a)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", ref, err)
	}
	along.TrustedSigners.keepAll = true
	moreLegacy, moreBundles, err := along.sort()
	if err != nil {
		return nil, fmt.Errorf("attaching to %s what goes along: %w", ref, err)
	}
	r := &Prepared{ref: ref, digest: digest, all: writers{[]Trust{own, along.TrustedSigners}, how.Locks, how.Now}, bundles: append(bundles, moreBundles...)}
	for _, s := range append(legacy, moreLegacy...) {
		e, err := s.layer()
		if err != nil {
			return nil, fmt.Errorf("attaching to %s: %w", ref, err)
		}
		if s.envelope == nil {
			r.signatures = append(r.signatures, claimed{e, s.claim})
		} else {
			r.envelopes = append(r.envelopes, claimed{e, s.claim})
		}
	}
	return r, nil
}

// Upload sends the blobs that Attach will store in tags, but not the tags, so that Attach has less
// to send. It does nothing for a tag that exists already, because existing entries may be kept
// instead of these.
func (r *Prepared) Upload(ctx context.Context, opts ...remote.Option) error {
	repo := r.ref.Context()
	opts = registry.With(ctx, opts)
	for tag, entries := range map[name.Tag][]claimed{
		signatureTag(repo, r.digest):   r.signatures,
		attestationTag(repo, r.digest): r.envelopes,
	} {
		if len(entries) == 0 {
			continue
		}
		if _, err := remote.Get(tag, opts...); err == nil {
			continue // Attach reports the error, if any
		}
		for _, e := range entries {
			if err := remote.WriteLayer(repo, e.entry, opts...); err != nil {
				return fmt.Errorf("writing %s: %w", tag, err)
			}
		}
	}
	return nil
}

// Attach stores the attachments, see the function Attach.
func (r *Prepared) Attach(ctx context.Context, opts ...remote.Option) error {
	opts = registry.With(ctx, opts)
	if len(r.signatures)+len(r.envelopes) > 0 {
		if err := r.attachTags(ctx, opts); err != nil {
			return err
		}
	}
	return r.all.attachBundles(ctx, r.ref, r.bundles, opts)
}

// Writing controls how statements are stored. With the zero value, a statement replaces the older
// ones of its type and subject.
type Writing struct {
	// Places relates our own statements to each other. Nil means the zero Place for each.
	Places Places
	// Now returns the current time, so that a statement from the future is not the newest. With
	// nil, every time is accepted.
	Now func() time.Time
	// Locks is a write lock for the writers that share it. Without it, nothing is locked: writers
	// that overwrite each other detect this and repeat their work.
	Locks *WriteLocks
}

// writers store attachments. They recognize attachments by the signers in trusts; the first of
// these is our own.
type writers struct {
	trusts []Trust
	locks  *WriteLocks
	now    func() time.Time
}

// AttachDocument stores a file as a referrer of a digest, with mediaType as its media type. The
// file itself is not signed: a statement that names its digest is.
func AttachDocument(ctx context.Context, repo name.Repository, digest v1.Hash, mediaType string, body []byte, opts ...remote.Option) error {
	ref := repo.Digest(digest.String())
	opts = registry.With(ctx, opts)
	shelf, err := newReferrerShelf(ref, opts)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	subject, err := shelf.subject(ctx)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	e, err := newReferrer(body, mediaType, nil, subject)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	// The identity key is unique, so the file replaces nothing.
	sum := sha256.Sum256(body)
	return writers{}.store(ctx, shelf, []claimed{{e, claim{kind: mediaType, about: string(sum[:]), says: sum}}})
}

// signed is an attachment of our own that is about to be stored.
type signed struct {
	claim     claim
	signature Signature // in the legacy form
	envelope  Envelope  // nil for a signature in the legacy form
}

// sort verifies all attachments and returns them by the form that they are stored in.
func (t Trust) sort(f Format, a Attachments) (legacy, bundles []signed, err error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	for _, s := range a.Signatures {
		if s.Statement == nil {
			if !f.legacy() {
				return nil, nil, fmt.Errorf("a signature of the legacy form is not stored as a %s", f)
			}
			c, err := t.claimOfSignature(s)
			if err != nil {
				return nil, nil, err
			}
			legacy = append(legacy, signed{claim: c, signature: s})
			continue
		}
		if !f.bundle() {
			return nil, nil, fmt.Errorf("a signature for a bundle is not stored in the %s form", f)
		}
		b, err := t.asBundle(s.Statement)
		if err != nil {
			return nil, nil, err
		}
		bundles = append(bundles, b)
	}
	for _, e := range a.Envelopes {
		if f.legacy() {
			c, _, err := t.claimOfEnvelope(e)
			if err != nil {
				return nil, nil, err
			}
			legacy = append(legacy, signed{claim: c, envelope: e})
		}
		if f.bundle() {
			b, err := t.asBundle(e)
			if err != nil {
				return nil, nil, err
			}
			bundles = append(bundles, b)
		}
	}
	return legacy, bundles, nil
}

func (t Trust) asBundle(e Envelope) (signed, error) {
	c, by, err := t.claimOfEnvelope(e)
	if err != nil {
		return signed{}, err
	}
	b, err := e.bundled(by.Key)
	if err != nil {
		return signed{}, err
	}
	return signed{claim: c, envelope: b}, nil
}

func (r *Prepared) attachTags(ctx context.Context, opts []remote.Option) error {
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", r.ref, err)
	}
	repo := r.ref.Context()
	if err := r.all.store(ctx, newTagShelf(signatureTag(repo, r.digest), puller, opts), r.signatures); err != nil {
		return err
	}
	return r.all.store(ctx, newTagShelf(attestationTag(repo, r.digest), puller, opts), r.envelopes)
}

// layer encodes the attachment as a layer of a tag.
func (s signed) layer() (entry, error) {
	if s.envelope == nil {
		sig, err := base64.StdEncoding.DecodeString(s.signature.Base64)
		if err != nil {
			return entry{}, err
		}
		annotations, err := toAnnotations(s.signature.Bundle, sig)
		if err != nil {
			return entry{}, err
		}
		annotations[signatureAnnotation] = s.signature.Base64
		return newEntry(s.signature.Payload, signatureLayer, annotations)
	}
	plain, err := s.envelope.DSSE()
	if err != nil {
		return entry{}, err
	}
	annotations, err := s.envelope.annotations(plain)
	if err != nil {
		return entry{}, err
	}
	annotations[signatureAnnotation], annotations[predicateAnnotation] = "", s.claim.kind
	return newEntry(plain, envelopeLayer, annotations)
}

func (t writers) attachBundles(ctx context.Context, ref name.Digest, all []signed, opts []remote.Option) error {
	if len(all) == 0 {
		return nil
	}
	shelf, err := newReferrerShelf(ref, opts)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	subject, err := shelf.subject(ctx)
	if err != nil {
		return fmt.Errorf("attaching to %s: %w", ref, err)
	}
	bundles := make([]claimed, len(all))
	for i, s := range all {
		e, err := newBundle(s.envelope, s.claim.kind, subject)
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", ref, err)
		}
		bundles[i] = claimed{e, s.claim}
	}
	return t.store(ctx, shelf, bundles)
}
