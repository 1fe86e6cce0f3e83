package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Read returns what is stored beside a digest in the form or the forms of the
// format, by whomever; nothing if nothing is. Nothing is verified but that the
// bytes are those that were stored. Entries of other kinds are passed over; an
// entry that cannot be read, or is too large to be, is an error.
//
// What is stored in both forms is returned twice.
func Read(ctx context.Context, f Format, ref name.Digest, opts ...remote.Option) (Attachments, error) {
	digest, err := v1.NewHash(ref.DigestStr())
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return Attachments{}, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	var out Attachments
	if f.legacy() {
		if err := out.readTags(ctx, ref, digest, opts); err != nil {
			return Attachments{}, err
		}
	}
	if f.bundle() {
		if err := out.readBundles(ctx, ref, opts); err != nil {
			return Attachments{}, err
		}
	}
	return out, nil
}

func (a *Attachments) readTags(ctx context.Context, ref name.Digest, digest v1.Hash, opts []remote.Option) error {
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	err = readAll(ctx, &tagShelf{signatureTag(ref.Context(), digest), puller, opts}, signatureLayer, func(e entry, body []byte) {
		// What cannot be understood cannot be verified either, and says why then.
		s, _ := e.signature(body)
		a.Signatures = append(a.Signatures, s)
	})
	if err != nil {
		return err
	}
	return readAll(ctx, &tagShelf{attestationTag(ref.Context(), digest), puller, opts}, envelopeLayer, func(e entry, body []byte) {
		env, err := e.envelope(body)
		if err != nil {
			env = body
		}
		a.Envelopes = append(a.Envelopes, env)
	})
}

func (a *Attachments) readBundles(ctx context.Context, ref name.Digest, opts []remote.Option) error {
	shelf, err := newReferrerShelf(ref, opts)
	if err != nil {
		return fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	return readAll(ctx, shelf, "", func(_ entry, body []byte) {
		if Envelope(body).predicateType() == SignatureType {
			a.Signatures = append(a.Signatures, Signature{Statement: body})
		} else {
			a.Envelopes = append(a.Envelopes, body)
		}
	})
}

// predicateType returns what the envelope says its statement is, empty for what
// it does not tell.
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

// readAll reads the layers of one kind on a shelf, and all referrers that are
// bundles.
func readAll(ctx context.Context, s shelf, kind types.MediaType, add func(entry, []byte)) error {
	entries, err := s.list(ctx)
	if err != nil {
		return err
	}
	var total int64
	for _, e := range entries {
		if e.layer == nil && e.desc.MediaType != kind {
			continue
		}
		body, err := e.body(ctx)
		if errors.Is(err, errForeign) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", s, err)
		}
		if total += int64(len(body)); total > maxStored {
			return fmt.Errorf("reading %s: its entries have more than %d bytes together", s, maxStored)
		}
		add(e, body)
	}
	return nil
}
