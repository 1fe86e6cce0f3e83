package trust

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Attachments are what is stored beside a digest.
type Attachments struct {
	Signatures []Signature
	Envelopes  []Envelope
	// Copied are statements that only the copy of the list names: another writer has
	// overwritten the list. Read fills it; nothing writes it.
	Copied []Envelope
}

// Attach stores attachments made by a trusted signer beside a digest, in the
// form or the forms of the format, first the signatures, then the statements.
// What the signer did not make is refused, and so is a signature that is not of
// the format. In the legacy form the image itself need not be there; a bundle
// refers to it, and it must.
//
// Attachments of others stay. Of our own, a signature over the same document and
// an envelope over the same statement are kept instead of adding another, and a
// statement of the same type with the same first subject is replaced: it is older.
//
// A registry that refuses to change a tag fails with a *RefusedError. One that does
// not delete bundles keeps those that were replaced as well.
func Attach(ctx context.Context, own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, opts ...remote.Option) error {
	return AttachAll(ctx, own, f, repo, digest, a, Along{}, Writing{}, opts...)
}

// Along is what others made, to be stored with what is our own: each thing in the
// form in which it was read. Who made it must be trusted. Nothing is replaced by it,
// be it of the same type and about the same, and nothing is stored twice.
type Along struct {
	Makers          Trust
	Legacy, Bundles Attachments
}

func (a Along) sort() (legacy, bundles []signed, err error) {
	if legacy, _, err = a.Makers.sort(Legacy, a.Legacy); err != nil {
		return nil, nil, err
	}
	_, bundles, err = a.Makers.sort(Bundle, a.Bundles)
	return legacy, bundles, err
}

// AttachAll is Attach, and stores what goes along in the same writes: a registry that
// lets no tag be changed takes one.
func AttachAll(ctx context.Context, own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, along Along, how Writing, opts ...remote.Option) error {
	r, err := GetReady(own, f, repo, digest, a, along, how)
	if err != nil {
		return err
	}
	return r.Attach(ctx, opts...)
}

// Ready is what AttachAll stores, as it is stored. SBOMs have megabytes, and making
// it takes as long as sending it.
type Ready struct {
	ref                   name.Digest
	digest                v1.Hash
	all                   writers
	signatures, envelopes []claimed // below tags
	bundles               []signed
}

// GetReady verifies everything that is to be attached, and asks no registry.
func GetReady(own Trust, f Format, repo name.Repository, digest v1.Hash, a Attachments, along Along, how Writing) (*Ready, error) {
	ref := repo.Digest(digest.String())
	own.places, along.Makers.places = how.Places, nil
	legacy, bundles, err := own.sort(f, a)
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", ref, err)
	}
	along.Makers.apart = true
	moreLegacy, moreBundles, err := along.sort()
	if err != nil {
		return nil, fmt.Errorf("attaching to %s what goes along: %w", ref, err)
	}
	r := &Ready{ref: ref, digest: digest, all: writers{[]Trust{own, along.Makers}, how.Turns, how.Now}, bundles: append(bundles, moreBundles...)}
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

// Upload brings to the registry what will be stored below tags, without these: Attach
// then has less to send. It does nothing where there are such tags already, for what
// is there may stay in the place of this.
func (r *Ready) Upload(ctx context.Context, opts ...remote.Option) error {
	repo := r.ref.Context()
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	for tag, entries := range map[name.Tag][]claimed{
		signatureTag(repo, r.digest):   r.signatures,
		attestationTag(repo, r.digest): r.envelopes,
	} {
		if len(entries) == 0 {
			continue
		}
		if _, err := remote.Get(tag, opts...); err == nil {
			continue // an error that matters comes again
		}
		for _, e := range entries {
			if err := remote.WriteLayer(repo, e.entry, opts...); err != nil {
				return fmt.Errorf("writing %s: %w", tag, err)
			}
		}
	}
	return nil
}

// Attach stores it, as the function of that name does.
func (r *Ready) Attach(ctx context.Context, opts ...remote.Option) error {
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	if len(r.signatures)+len(r.envelopes) > 0 {
		if err := r.attachTags(ctx, opts); err != nil {
			return err
		}
	}
	return r.all.attachBundles(ctx, r.ref, r.bundles, opts)
}

// Writing says how statements are stored. The zero value relates none to another.
type Writing struct {
	// Places relates our own statements to each other. Nil relates none.
	Places Places
	// Now tells the time, so that a statement from the future is not the newest. Nil
	// believes every time.
	Now func() time.Time
	// Turns serialises writers that share it. Nil serialises nothing: writers that
	// overwrite each other then find out and repeat their work.
	Turns *Turns
}

// writers store entries. They know the entries of the signers in trusts; those of
// the first are our own.
type writers struct {
	trusts []Trust
	turns  *Turns
	now    func() time.Time
}

// AttachDocument stores a file of one media type beside a digest, as a referrer of it.
// Nobody signs the file: a statement that names its digest does.
func AttachDocument(ctx context.Context, repo name.Repository, digest v1.Hash, mediaType string, body []byte, opts ...remote.Option) error {
	ref := repo.Digest(digest.String())
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
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
	// The claim is its own: nothing is replaced by it.
	sum := sha256.Sum256(body)
	return writers{}.store(ctx, shelf, []claimed{{e, claim{kind: mediaType, about: string(sum[:]), says: sum}}})
}

// signed is something of our own that is to be stored.
type signed struct {
	claim     claim
	signature Signature // of the legacy form
	envelope  Envelope  // nil for that
}

// sort verifies everything and tells what is to be stored in which form.
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

func (r *Ready) attachTags(ctx context.Context, opts []remote.Option) error {
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

// layer is how it is stored below a tag.
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
