package attach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/trust"
)

// Limits for one attachment list: the number of attachments, the size of each attachment, and their
// total size when they are read. Any user who can push can attach items to a digest.
const (
	maxAttachments    = 1000
	maxAttachmentSize = 2 * trust.MaxStatement // twice the limit for statements, because base64 adds a third
	maxStored         = 512 << 20              // total bytes in one attachment store
)

// attachment is one stored attachment: a layer of a tag, or a referrer. It implements [v1.Layer],
// so that a new attachment list can contain attachments by other signers without downloading them.
type attachment struct {
	// desc describes the layer, or the manifest of the referrer.
	desc v1.Descriptor
	open func() (io.ReadCloser, error)
	// layer fetches the only layer of a referrer. It is nil if the attachment is a layer of a tag.
	layer func(context.Context) (attachment, error)
	// referrer is a referrer that is not stored yet. It is nil for stored referrers and for layers.
	referrer *referrer
}

// errUnknownKind reports that an attachment is of an unknown kind.
var errUnknownKind = errors.New("unknown kind of attachment")

// errTooLarge reports that an attachment exceeds the size limit for attachments.
var errTooLarge = errors.New("too large")

// newAttachment returns an attachment with the content body that is not stored yet.
func newAttachment(body []byte, mediaType types.MediaType, annotations map[string]string) (attachment, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(body))
	if err != nil {
		return attachment{}, err
	}
	return attachment{
		desc: v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size, Annotations: annotations},
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}, nil
}

// equal reports whether both attachments have the same content and the same signature.
func (a attachment) equal(o attachment) bool {
	return a.desc.Digest == o.desc.Digest && a.desc.MediaType == o.desc.MediaType &&
		a.desc.Annotations[trust.SignatureAnnotation] == o.desc.Annotations[trust.SignatureAnnotation]
}

// body reads the whole content. The registry client verifies the digest.
func (a attachment) body(ctx context.Context) (_ []byte, err error) {
	if a.layer != nil {
		layer, err := a.layer(ctx)
		if err != nil {
			return nil, err
		}
		return layer.body(ctx)
	}
	if a.desc.Size < 0 || a.desc.Size > maxAttachmentSize {
		return nil, fmt.Errorf("attachment %s has %d bytes, the limit is %d: %w", a.desc.Digest, a.desc.Size, maxAttachmentSize, errTooLarge)
	}
	rc, err := a.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	body, err := io.ReadAll(io.LimitReader(rc, a.desc.Size+1))
	if err == nil && int64(len(body)) != a.desc.Size {
		err = fmt.Errorf("the size of attachment %s differs from the %d bytes in its manifest", a.desc.Digest, a.desc.Size)
	}
	return body, err
}

// layerOf returns the attachment, with body as its content, as a layer of the legacy format.
func (a attachment) layerOf(body []byte) trust.Layer {
	return trust.Layer{MediaType: a.desc.MediaType, Body: body, Annotations: a.desc.Annotations}
}

func (a attachment) envelope(body []byte) (trust.Envelope, error) {
	if a.desc.MediaType != trust.EnvelopeLayer {
		return body, nil
	}
	return a.layerOf(body).Envelope()
}

// The following methods implement v1.Layer. Attachments are never compressed, so Digest and DiffID
// are equal.

func (a attachment) Digest() (v1.Hash, error)             { return a.desc.Digest, nil }
func (a attachment) DiffID() (v1.Hash, error)             { return a.desc.Digest, nil }
func (a attachment) Compressed() (io.ReadCloser, error)   { return a.open() }
func (a attachment) Uncompressed() (io.ReadCloser, error) { return a.open() }
func (a attachment) Size() (int64, error)                 { return a.desc.Size, nil }
func (a attachment) MediaType() (types.MediaType, error)  { return a.desc.MediaType, nil }
