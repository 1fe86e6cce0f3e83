package attach

import (
	"context"
	"errors"
	"fmt"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/internal/trust"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/registry"
)

// Read is like List, but returns only the signatures and envelopes, without the details of Stored.
func Read(ctx context.Context, f trust.Format, ref name.Digest, opts ...remote.Option) (Attachments, error) {
	stored, err := List(ctx, f, ref, opts...)
	if err != nil {
		return Attachments{}, err
	}
	var out Attachments
	for _, s := range stored {
		switch {
		case s.Copied:
			out.Copied = append(out.Copied, s.Envelope)
		case s.Signature != nil:
			out.Signatures = append(out.Signatures, *s.Signature)
		default:
			out.Envelopes = append(out.Envelopes, s.Envelope)
		}
	}
	return out, nil
}

// List returns all signatures and statements attached to a digest, by any signer, in the signature
// formats that f selects. The result is empty if nothing is attached. List verifies only digests,
// not signatures. It skips other kinds of attachments. An unreadable or too large attachment is an
// error.
//
// An attachment that is stored in both formats is returned twice.
func List(ctx context.Context, f trust.Format, ref name.Digest, opts ...remote.Option) ([]Stored, error) {
	digest, err := v1.NewHash(ref.DigestStr())
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	opts = registry.With(ctx, opts)
	var out []Stored
	if f.HasLegacy() {
		if out, err = listTags(ctx, ref, digest, opts); err != nil {
			return nil, err
		}
	}
	if f.HasBundle() {
		bundles, err := listBundles(ctx, ref, opts)
		if err != nil {
			return nil, err
		}
		out = append(out, bundles...)
	}
	return out, nil
}

// CanList returns an error if the referrers list of a digest is unreadable: bundles that are
// attached to the digest would then stay unknown.
func CanList(ctx context.Context, ref name.Digest, opts ...remote.Option) error {
	list, err := newReferrerStore(ref, registry.With(ctx, opts))
	if err != nil {
		return err
	}
	_, err = list.list(ctx)
	return err
}

func listTags(ctx context.Context, ref name.Digest, digest v1.Hash, opts []remote.Option) ([]Stored, error) {
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return nil, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	var out []Stored
	err = readAll(ctx, &tagStore{tag: signatureTag(ref.Context(), digest), puller: puller, opts: opts}, trust.SignatureLayer, func(a attachment, _ bool, body []byte) {
		// If the signature cannot be parsed, its verification fails later, with the reason.
		s, _ := a.layerOf(body).Signature()
		out = append(out, Stored{Form: trust.Legacy, Signature: &s, annotations: a.desc.Annotations})
	})
	if err != nil {
		return nil, err
	}
	err = readAll(ctx, newTagStore(attestationTag(ref.Context(), digest), puller, opts), trust.EnvelopeLayer, func(a attachment, copied bool, body []byte) {
		env, err := a.envelope(body)
		if err != nil {
			env = body
		}
		out = append(out, Stored{Form: trust.Legacy, Copied: copied, Envelope: env, annotations: a.desc.Annotations})
	})
	return out, err
}

func listBundles(ctx context.Context, ref name.Digest, opts []remote.Option) ([]Stored, error) {
	list, err := newReferrerStore(ref, opts)
	if err != nil {
		return nil, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	var out []Stored
	err = readAll(ctx, list, "", func(_ attachment, copied bool, body []byte) {
		if trust.Envelope(body).UnverifiedType() == trust.SignatureType && !copied {
			out = append(out, Stored{Form: trust.Bundle, Signature: &trust.Signature{Statement: body}})
		} else {
			out = append(out, Stored{Form: trust.Bundle, Copied: copied, Envelope: body})
		}
	})
	return out, err
}

// errVanished reports that an attachment was deleted after its list was read, because another
// writer replaced it with a newer one.
var errVanished = errors.New("another writer deleted the attachment during the read")

// maxReadings is the maximum number of times that an attachment list is read because attachments
// vanish during the read. The pauses between the reads begin with firstBackoff and double each
// time.
const maxReadings = 5

// readAll reads all attachments of one media type in an attachment list. For a referrers list, it
// reads all bundles. It calls add for each attachment. Attachments that exist only in the backup
// copy come last.
func readAll(ctx context.Context, s attachmentStore, kind types.MediaType, add func(a attachment, copied bool, body []byte)) error {
	for reading := 1; ; reading++ {
		read, err := readOnce(ctx, s, kind)
		if errors.Is(err, errVanished) && reading < maxReadings {
			if err := clock.Sleep(ctx, firstBackoff<<(reading-1)); err != nil {
				return fmt.Errorf("reading %s: %w", s, err)
			}
			continue
		}
		for _, r := range read {
			add(r.attachment, r.copied, r.body)
		}
		return err
	}
}

// readAttachment is an attachment with its content.
type readAttachment struct {
	attachment
	copied bool
	body   []byte
}

func readOnce(ctx context.Context, s attachmentStore, kind types.MediaType) ([]readAttachment, error) {
	all, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	listed := len(all)
	if second := s.copyStore(); second != nil {
		copied, err := second.list(ctx)
		if err != nil {
			return nil, err
		}
		all = union(all, copied)
	}
	var out []readAttachment
	var total int64
	for i, a := range all {
		if a.layer == nil && a.desc.MediaType != kind {
			continue
		}
		body, err := a.body(ctx)
		if errors.Is(err, errUnknownKind) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", s, err)
		}
		if total += int64(len(body)); total > maxStored {
			return nil, fmt.Errorf("reading %s: the attachments exceed the limit of %d bytes in total", s, maxStored)
		}
		out = append(out, readAttachment{a, i >= listed, body})
	}
	return out, nil
}
