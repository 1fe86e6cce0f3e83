package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/registry"
)

// Read is like List, but omits how the attachments are stored.
func Read(ctx context.Context, f Format, ref name.Digest, opts ...remote.Option) (Attachments, error) {
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

// List returns everything that is attached to a digest in the forms that f selects, by any signer.
// The result is empty if nothing is attached. Apart from digests, nothing is verified. Attachments
// of other kinds are skipped; an unreadable or too large attachment is an error.
//
// An attachment that is stored in both forms is returned twice.
func List(ctx context.Context, f Format, ref name.Digest, opts ...remote.Option) ([]Stored, error) {
	digest, err := v1.NewHash(ref.DigestStr())
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	opts = registry.With(ctx, opts)
	var out []Stored
	if f.legacy() {
		if out, err = listTags(ctx, ref, digest, opts); err != nil {
			return nil, err
		}
	}
	if f.bundle() {
		bundles, err := listBundles(ctx, ref, opts)
		if err != nil {
			return nil, err
		}
		out = append(out, bundles...)
	}
	return out, nil
}

// CanList returns an error if the list of referrers of a digest is unreadable, so that the bundles
// attached to it are unknown.
func CanList(ctx context.Context, ref name.Digest, opts ...remote.Option) error {
	shelf, err := newReferrerShelf(ref, registry.With(ctx, opts))
	if err != nil {
		return err
	}
	_, err = shelf.list(ctx)
	return err
}

func listTags(ctx context.Context, ref name.Digest, digest v1.Hash, opts []remote.Option) ([]Stored, error) {
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return nil, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	var out []Stored
	err = readAll(ctx, &tagShelf{tag: signatureTag(ref.Context(), digest), puller: puller, opts: opts}, signatureLayer, func(e entry, _ bool, body []byte) {
		// An unparsable signature fails verification later, with the reason.
		s, _ := e.signature(body)
		out = append(out, Stored{Form: Legacy, Signature: &s, annotations: e.desc.Annotations})
	})
	if err != nil {
		return nil, err
	}
	err = readAll(ctx, newTagShelf(attestationTag(ref.Context(), digest), puller, opts), envelopeLayer, func(e entry, copied bool, body []byte) {
		env, err := e.envelope(body)
		if err != nil {
			env = body
		}
		out = append(out, Stored{Form: Legacy, Copied: copied, Envelope: env, annotations: e.desc.Annotations})
	})
	return out, err
}

func listBundles(ctx context.Context, ref name.Digest, opts []remote.Option) ([]Stored, error) {
	shelf, err := newReferrerShelf(ref, opts)
	if err != nil {
		return nil, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	var out []Stored
	err = readAll(ctx, shelf, "", func(_ entry, copied bool, body []byte) {
		if Envelope(body).predicateType() == SignatureType && !copied {
			out = append(out, Stored{Form: Bundle, Signature: &Signature{Statement: body}})
		} else {
			out = append(out, Stored{Form: Bundle, Copied: copied, Envelope: body})
		}
	})
	return out, err
}

// predicateType returns the unverified predicate type of the statement, or "" if it is unreadable.
func (e Envelope) predicateType() string {
	body, err := e.Payload()
	if err != nil {
		return ""
	}
	var st struct {
		PredicateType string `json:"predicateType"`
	}
	if json.Unmarshal(body, &st) != nil {
		return ""
	}
	return st.PredicateType
}

// errVanished reports that an attachment was deleted after the list with it was read: a newer one
// has replaced it.
var errVanished = errors.New("it was deleted while it was read")

// maxReadings limits how often a list is read again because attachments vanish.
const maxReadings = 5

// readAll reads all attachments of one kind in a list, or all bundles if the list has referrers.
// Attachments that only the copy of the list has come last.
func readAll(ctx context.Context, s shelf, kind types.MediaType, add func(e entry, copied bool, body []byte)) error {
	for reading := 1; ; reading++ {
		read, err := readOnce(ctx, s, kind)
		if errors.Is(err, errVanished) && reading < maxReadings {
			if err := sleep(ctx, firstBackoff<<(reading-1)); err != nil {
				return fmt.Errorf("reading %s: %w", s, err)
			}
			continue
		}
		for _, r := range read {
			add(r.entry, r.copied, r.body)
		}
		return err
	}
}

// readEntry is an attachment with its content.
type readEntry struct {
	entry
	copied bool
	body   []byte
}

func readOnce(ctx context.Context, s shelf, kind types.MediaType) ([]readEntry, error) {
	entries, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	listed := len(entries)
	if second := s.second(); second != nil {
		copied, err := second.list(ctx)
		if err != nil {
			return nil, err
		}
		entries = union(entries, copied)
	}
	var out []readEntry
	var total int64
	for i, e := range entries {
		if e.layer == nil && e.desc.MediaType != kind {
			continue
		}
		body, err := e.body(ctx)
		if errors.Is(err, errForeign) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", s, err)
		}
		if total += int64(len(body)); total > maxStored {
			return nil, fmt.Errorf("reading %s: its entries have more than %d bytes together", s, maxStored)
		}
		out = append(out, readEntry{e, i >= listed, body})
	}
	return out, nil
}
