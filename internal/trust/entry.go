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

// Limits on what is read; others store things beside a digest too.
const (
	maxEntries = 1000
	maxEntry   = 2 * MaxStatement // base64 grows by a third
	maxStored  = 512 << 20        // bytes on one shelf
)

// entry is one thing on a shelf. A layer below a tag is a [v1.Layer], so that
// what others stored can be listed again without being downloaded.
type entry struct {
	// desc is of the layer, or of the referrer's manifest.
	desc v1.Descriptor
	open func() (io.ReadCloser, error)
	// layer gets the one layer of a referrer; nil for what is a layer itself.
	layer func(context.Context) (entry, error)
	// referrer is what is to be stored; nil for what is, and for a layer.
	referrer *referrer
}

// errForeign says that an entry is of a kind that is not known here.
var errForeign = errors.New("not of a kind that is read")

// errTooLarge says that an entry is larger than any that is read.
var errTooLarge = errors.New("too large")

// newEntry is a layer that is to be stored.
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

// equal reports whether both are the same thing with the same signature.
func (e entry) equal(o entry) bool {
	return e.desc.Digest == o.desc.Digest && e.desc.MediaType == o.desc.MediaType &&
		e.desc.Annotations[signatureAnnotation] == o.desc.Annotations[signatureAnnotation]
}

// body reads the whole layer; the library verifies its digest.
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

// The methods of a v1.Layer; nothing here is compressed.

func (e entry) Digest() (v1.Hash, error)             { return e.desc.Digest, nil }
func (e entry) DiffID() (v1.Hash, error)             { return e.desc.Digest, nil }
func (e entry) Compressed() (io.ReadCloser, error)   { return e.open() }
func (e entry) Uncompressed() (io.ReadCloser, error) { return e.open() }
func (e entry) Size() (int64, error)                 { return e.desc.Size, nil }
func (e entry) MediaType() (types.MediaType, error)  { return e.desc.MediaType, nil }
