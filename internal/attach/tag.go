package attach

import (
	"bytes"
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/registry"
)

// tagStore is the attachment store in one of cosign's tags.
type tagStore struct {
	tag    name.Tag
	puller *remote.Puller
	opts   []remote.Option
	copy   *tagStore // the store of the backup copy; nil if this store is a backup copy
}

// newTagStore returns the attachment store in one of cosign's tags. Its backup copy is in a tag
// that other tools ignore, such as "sha256-....att.imagegate".
func newTagStore(tag name.Tag, puller *remote.Puller, opts []remote.Option) *tagStore {
	second := &tagStore{tag: tag.Context().Tag(tag.TagStr() + copySuffix), puller: puller, opts: opts}
	return &tagStore{tag: tag, puller: puller, opts: opts, copy: second}
}

// copySuffix is the suffix of the tag of a backup copy.
const copySuffix = ".imagegate"

func (t *tagStore) copyStore() attachmentStore {
	if t.copy == nil {
		return nil
	}
	return t.copy
}

// signatureTag returns the tag that cosign reads signatures from.
func signatureTag(repo name.Repository, digest v1.Hash) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + ".sig")
}

func attestationTag(repo name.Repository, digest v1.Hash) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + ".att")
}

func (t *tagStore) String() string { return t.tag.String() }
func (t *tagStore) name() string   { return t.tag.Name() }

func (t *tagStore) list(ctx context.Context) ([]attachment, error) {
	return list(ctx, t.puller, t.tag, t.opts)
}

func (t *tagStore) write(_ context.Context, all, _ []attachment) error {
	return write(t.tag, all, t.opts)
}

// remove does nothing: write has already removed everything that is not in the list.
func (t *tagStore) remove(context.Context, []attachment) error { return nil }

// list returns the attachments in a tag, or none if the tag does not exist. Any other failure is an
// error. A manifest that is not an attachment list is also an error. Otherwise, a writer would take
// it for an empty list and overwrite it.
func list(ctx context.Context, puller *remote.Puller, tag name.Tag, opts []remote.Option) ([]attachment, error) {
	found, err := puller.Get(ctx, tag)
	if err != nil {
		absent, err := registry.IsAbsent(ctx, tag, err, opts...)
		if absent {
			return nil, nil
		}
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	// For an index, go-containerregistry would silently return one of its images.
	if !found.MediaType.IsImage() {
		return nil, fmt.Errorf("reading %s: media type %q is not an attachment list", tag, found.MediaType)
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Manifest))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	if m.Config.Digest == (v1.Hash{}) || m.MediaType != "" && m.MediaType != found.MediaType {
		return nil, fmt.Errorf("reading %s: the manifest does not match its media type %q", tag, found.MediaType)
	}
	if len(m.Layers) > maxAttachments {
		return nil, fmt.Errorf("reading %s: found %d attachments, the limit is %d", tag, len(m.Layers), maxAttachments)
	}
	img, err := found.Image()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	out := make([]attachment, len(m.Layers))
	for i, d := range m.Layers {
		// go-containerregistry would fetch these URLs from any host.
		if len(d.URLs) > 0 {
			return nil, fmt.Errorf("reading %s: attachment %s has URLs, so its content would be downloaded from another server", tag, d.Digest)
		}
		layer, err := img.LayerByDigest(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", tag, err)
		}
		out[i] = attachment{desc: d, open: layer.Compressed}
	}
	return out, nil
}

// write replaces the content of the tag with a list of the attachments. Existing blobs are not sent
// again.
func write(tag name.Tag, all []attachment, opts []remote.Option) error {
	adds := make([]mutate.Addendum, len(all))
	for i, e := range all {
		adds[i] = mutate.Addendum{Layer: e, MediaType: e.desc.MediaType, Annotations: e.desc.Annotations}
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, adds...)
	if err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	raw, err := img.RawManifest()
	if err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	// Do not use remote.Write: it skips the write if a HEAD request says that the tag exists.
	blobs := []v1.Layer{config}
	for _, e := range all {
		blobs = append(blobs, e)
	}
	for _, blob := range blobs {
		if err := remote.WriteLayer(tag.Context(), blob, opts...); err != nil {
			return fmt.Errorf("writing %s: %w", tag, err)
		}
	}
	if err := remote.Put(tag, rawManifest{raw, types.OCIManifestSchema1}, opts...); err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	return nil
}
