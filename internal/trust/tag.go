package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// How cosign stores signatures and envelopes:
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#storage
const (
	signatureLayer      = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	envelopeLayer       = types.MediaType("application/vnd.dsse.envelope.v1+json")
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	predicateAnnotation = "predicateType"
)

// Limits on what is read; others write to these tags too.
const (
	maxEntries = 1000
	maxEntry   = 2 * MaxStatement // base64 grows by a third
	maxTagged  = 512 << 20        // bytes below one tag
)

// signatureTag and attestationTag are where cosign looks.
func signatureTag(repo name.Repository, digest v1.Hash) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + ".sig")
}

func attestationTag(repo name.Repository, digest v1.Hash) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + ".att")
}

// entry is one layer below a tag. It is a [v1.Layer], so that what others stored
// can be listed again without being downloaded.
type entry struct {
	desc v1.Descriptor
	open func() (io.ReadCloser, error)
}

// newEntry is an entry that is to be stored.
func newEntry(body []byte, mediaType types.MediaType, annotations map[string]string) (entry, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(body))
	if err != nil {
		return entry{}, err
	}
	return entry{
		desc: v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size, Annotations: annotations},
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}, nil
}

// equal reports whether both are the same blob with the same signature.
func (e entry) equal(o entry) bool {
	return e.desc.Digest == o.desc.Digest && e.desc.MediaType == o.desc.MediaType &&
		e.desc.Annotations[signatureAnnotation] == o.desc.Annotations[signatureAnnotation]
}

// body reads the whole entry; the library verifies its digest.
func (e entry) body() (_ []byte, err error) {
	if e.desc.Size < 0 || e.desc.Size > maxEntry {
		return nil, fmt.Errorf("entry %s has %d bytes, more than %d", e.desc.Digest, e.desc.Size, maxEntry)
	}
	rc, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	body, err := io.ReadAll(io.LimitReader(rc, e.desc.Size+1))
	if err == nil && int64(len(body)) != e.desc.Size {
		err = fmt.Errorf("entry %s has not the %d bytes that its manifest says", e.desc.Digest, e.desc.Size)
	}
	return body, err
}

func (e entry) signature(body []byte) Signature {
	return Signature{Payload: body, Base64: e.desc.Annotations[signatureAnnotation]}
}

// The methods of a v1.Layer; nothing here is compressed.

func (e entry) Digest() (v1.Hash, error)             { return e.desc.Digest, nil }
func (e entry) DiffID() (v1.Hash, error)             { return e.desc.Digest, nil }
func (e entry) Compressed() (io.ReadCloser, error)   { return e.open() }
func (e entry) Uncompressed() (io.ReadCloser, error) { return e.open() }
func (e entry) Size() (int64, error)                 { return e.desc.Size, nil }
func (e entry) MediaType() (types.MediaType, error)  { return e.desc.MediaType, nil }

// list returns the entries below a tag; none if there is no such tag. Any other
// failure is an error, and so is what is no list of entries: taking it for an
// empty one would overwrite it.
func list(ctx context.Context, puller *remote.Puller, tag name.Tag) ([]entry, error) {
	found, err := puller.Get(ctx, tag)
	var status *transport.Error
	if errors.As(err, &status) && status.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	// An index would be resolved to one of its children silently.
	if !found.MediaType.IsImage() {
		return nil, fmt.Errorf("reading %s: it is a %q and no list of signatures", tag, found.MediaType)
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Manifest))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	if m.Config.Digest == (v1.Hash{}) || m.MediaType != "" && m.MediaType != found.MediaType {
		return nil, fmt.Errorf("reading %s: it is no %q", tag, found.MediaType)
	}
	if len(m.Layers) > maxEntries {
		return nil, fmt.Errorf("reading %s: it has %d entries, more than %d", tag, len(m.Layers), maxEntries)
	}
	img, err := found.Image()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	out := make([]entry, len(m.Layers))
	for i, d := range m.Layers {
		// The library would follow them, wherever they lead.
		if len(d.URLs) > 0 {
			return nil, fmt.Errorf("reading %s: entry %s is to be fetched from elsewhere", tag, d.Digest)
		}
		layer, err := img.LayerByDigest(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", tag, err)
		}
		out[i] = entry{d, layer.Compressed}
	}
	return out, nil
}

// write lets the tag list these entries. Blobs that are there stay where they
// are.
func write(tag name.Tag, entries []entry, opts []remote.Option) error {
	adds := make([]mutate.Addendum, len(entries))
	for i, e := range entries {
		adds[i] = mutate.Addendum{Layer: e, MediaType: e.desc.MediaType, Annotations: e.desc.Annotations}
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, adds...)
	if err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	if err := remote.Write(tag, img, opts...); err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	return nil
}

// readAll returns the entries of one kind below a tag with their content.
func readAll(ctx context.Context, puller *remote.Puller, tag name.Tag, kind types.MediaType, add func(entry, []byte)) error {
	entries, err := list(ctx, puller, tag)
	if err != nil {
		return err
	}
	var total int64
	for _, e := range entries {
		if e.desc.MediaType != kind {
			continue
		}
		body, err := e.body()
		if err != nil {
			return fmt.Errorf("reading %s: %w", tag, err)
		}
		if total += e.desc.Size; total > maxTagged {
			return fmt.Errorf("reading %s: its entries have more than %d bytes together", tag, maxTagged)
		}
		add(e, body)
	}
	return nil
}

// Read returns what is stored beside a digest, by whomever; nothing if nothing
// is. Nothing is verified but that the bytes are those that were stored. Entries
// of other kinds are passed over; an entry that cannot be read, or is too large
// to be, is an error.
func Read(ctx context.Context, ref name.Digest, opts ...remote.Option) (Attachments, error) {
	digest, err := v1.NewHash(ref.DigestStr())
	if err != nil {
		return Attachments{}, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	puller, err := remote.NewPuller(opts...)
	if err != nil {
		return Attachments{}, fmt.Errorf("reading the signatures of %s: %w", ref, err)
	}
	var out Attachments
	err = readAll(ctx, puller, signatureTag(ref.Context(), digest), signatureLayer, func(e entry, body []byte) {
		out.Signatures = append(out.Signatures, e.signature(body))
	})
	if err != nil {
		return Attachments{}, err
	}
	err = readAll(ctx, puller, attestationTag(ref.Context(), digest), envelopeLayer, func(_ entry, body []byte) {
		out.Envelopes = append(out.Envelopes, body)
	})
	if err != nil {
		return Attachments{}, err
	}
	return out, nil
}
