package gate

import (
	"context"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy/evidence"
)

// The prefix of SOCI media types, and the media type of its tables of contents.
const (
	sociTypes = registry.SOCITypes
	sociBlob  = types.MediaType("application/octet-stream")
)

// readSOCI reads a SOCI index. It refuses a SOCI index that a runtime would accept as an image,
// because such an image would be promoted without a scan.
func readSOCI(ctx context.Context, store *layers.Store, r *root, d v1.Descriptor) (Attachment, error) {
	raw, m, err := r.child(d)
	if err != nil {
		return Attachment{}, err
	}
	isOwn := strings.HasPrefix(string(m.Config.MediaType), sociTypes)
	switch {
	case !d.MediaType.IsImage() || len(m.Layers) == 0 || len(m.Layers) > layers.MaxLayers:
		return Attachment{}, refuse("the manifest has media type %q and %d layers, so it is not a SOCI index", d.MediaType, len(m.Layers))
	case !isOwn && m.Config.MediaType != emptyConfig:
		return Attachment{}, refuse("unsupported media type %q of the config", m.Config.MediaType)
	case !isOwn && !strings.HasPrefix(m.ArtifactType, sociTypes):
		return Attachment{}, refuse("unsupported artifact type %q", m.ArtifactType)
	}
	for _, l := range m.Layers {
		if l.MediaType != sociBlob {
			return Attachment{}, refuse("the SOCI index has a layer with media type %q: every layer must be a table of contents", l.MediaType)
		}
	}
	a := Attachment{Descriptor: d, Manifest: raw}
	for n, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		blob, content, err := readAttached(ctx, store, r, b)
		switch {
		case err != nil:
			return Attachment{}, err
		case n == 0 && string(content) != "{}":
			return Attachment{}, refuse("the config %s of the SOCI index is not the empty document {}", b.Digest)
		case layers.LooksPacked(content):
			return Attachment{}, refuse("the blob %s of the SOCI index is an archive, not a table of contents", b.Digest)
		}
		a.Blobs = append(a.Blobs, blob)
	}
	return a, nil
}

// findUnlisted sets Unlisted to the SOCI indexes that manifests of platforms name but the index
// does not list.
func (i *Image) findUnlisted() error {
	for _, p := range i.Platforms {
		m, err := p.Image.Manifest()
		if err != nil {
			return err
		}
		value, ok := m.Annotations[layers.SOCIIndex]
		if !ok {
			continue
		}
		digest, err := v1.NewHash(value)
		if err != nil {
			return refuse("invalid annotation %q of manifest %s: not a digest", layers.SOCIIndex, p.Digest)
		}
		listed := slices.ContainsFunc(i.LazyIndexes, func(a Attachment) bool { return a.Descriptor.Digest == digest })
		if !listed && !slices.Contains(i.Unlisted, digest) {
			i.Unlisted = append(i.Unlisted, digest)
		}
	}
	return nil
}

// lazyIndexes returns the evidence about the SOCI indexes of the image.
func (i *Image) lazyIndexes() []evidence.LazyIndex {
	var out []evidence.LazyIndex
	for _, a := range i.LazyIndexes {
		out = append(out, evidence.LazyIndex{Digest: a.Descriptor.Digest.String(), Kind: "SOCI"})
	}
	return out
}

// Others returns the manifests that an index lists and that are not images. They are copied with
// the index.
func (i *Image) Others() []Attachment { return slices.Concat(i.Attachments, i.LazyIndexes) }
