package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Limits for reading. Others may attach items to a digest, too.
const (
	maxEntries = 1000
	maxEntry   = 2 * MaxStatement // base64 adds a third
	maxStored  = 512 << 20        // bytes in one attachment store
)

// entry is one stored attachment: a layer of a tag, or a referrer. It implements [v1.Layer], so
// that attachments by others can be listed again without downloading them.
type entry struct {
	// desc describes the layer, or the manifest of the referrer.
	desc v1.Descriptor
	open func() (io.ReadCloser, error)
	// layer fetches the only layer of a referrer. Nil for a layer of a tag.
	layer func(context.Context) (entry, error)
	// referrer is a referrer that is about to be stored. Nil for stored ones and for layers.
	referrer *referrer
}

// errForeign reports that an attachment is of an unknown kind.
var errForeign = errors.New("not of a kind that is read")

// errTooLarge reports that an attachment exceeds the size limit.
var errTooLarge = errors.New("too large")

// newEntry returns a layer that is about to be stored.
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

// equal reports whether both have the same content and the same signature.
func (e entry) equal(o entry) bool {
	return e.desc.Digest == o.desc.Digest && e.desc.MediaType == o.desc.MediaType &&
		e.desc.Annotations[signatureAnnotation] == o.desc.Annotations[signatureAnnotation]
}

// body reads the whole layer. The library verifies its digest.
func (e entry) body(ctx context.Context) (_ []byte, err error) {
	if e.layer != nil {
		layer, err := e.layer(ctx)
		if err != nil {
			return nil, err
		}
		return layer.body(ctx)
	}
	if e.desc.Size < 0 || e.desc.Size > maxEntry {
		return nil, fmt.Errorf("entry %s has %d bytes, more than %d: %w", e.desc.Digest, e.desc.Size, maxEntry, errTooLarge)
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

func (e entry) signature(body []byte) (Signature, error) {
	return legacySignature(body, e.desc.Annotations)
}

func (e entry) envelope(body []byte) (Envelope, error) {
	if e.desc.MediaType != envelopeLayer {
		return body, nil
	}
	return legacyEnvelope(body, e.desc.Annotations)
}

// These methods implement v1.Layer. Nothing is compressed.

func (e entry) Digest() (v1.Hash, error)             { return e.desc.Digest, nil }
func (e entry) DiffID() (v1.Hash, error)             { return e.desc.Digest, nil }
func (e entry) Compressed() (io.ReadCloser, error)   { return e.open() }
func (e entry) Uncompressed() (io.ReadCloser, error) { return e.open() }
func (e entry) Size() (int64, error)                 { return e.desc.Size, nil }
func (e entry) MediaType() (types.MediaType, error)  { return e.desc.MediaType, nil }
