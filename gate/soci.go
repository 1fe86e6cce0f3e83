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

// readSOCI reads a SOCI index. It checks that no runtime would accept it as an image, which would
// be promoted without a scan.
func readSOCI(ctx context.Context, store *layers.Store, r *root, d v1.Descriptor) (Attachment, error) {
	raw, m, err := r.child(d)
	if err != nil {
		return Attachment{}, err
	}
	isOwn := strings.HasPrefix(string(m.Config.MediaType), sociTypes)
	switch {
	case !d.MediaType.IsImage() || len(m.Layers) == 0 || len(m.Layers) > layers.MaxLayers:
		return Attachment{}, refuse("it is a %q with %d layers", d.MediaType, len(m.Layers))
	case !isOwn && m.Config.MediaType != emptyConfig:
		return Attachment{}, refuse("its config is a %q", m.Config.MediaType)
	case !isOwn && !strings.HasPrefix(m.ArtifactType, sociTypes):
		return Attachment{}, refuse("it is a %q", m.ArtifactType)
	}
	for _, l := range m.Layers {
		if l.MediaType != sociBlob {
			return Attachment{}, refuse("it has a %q, not only tables of contents", l.MediaType)
		}
	}
	a := Attachment{Descriptor: d, Manifest: raw}
	for n, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		blob, content, err := readAttached(ctx, store, r, b)
		switch {
		case err != nil:
			return Attachment{}, err
		case n == 0 && string(content) != "{}":
			return Attachment{}, refuse("its config %s is not empty", b.Digest)
		case layers.LooksPacked(content):
			return Attachment{}, refuse("its blob %s is an archive, not a table of contents", b.Digest)
		}
		a.Blobs = append(a.Blobs, blob)
	}
	return a, nil
}

// findUnlisted lists the SOCI indexes that manifests of platforms name and that are not copied.
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
			return refuse("the annotation %q of %s is not a digest", layers.SOCIIndex, p.Digest)
		}
		listed := slices.ContainsFunc(i.LazyIndexes, func(a Attachment) bool { return a.Descriptor.Digest == digest })
		if !listed && !slices.Contains(i.Unlisted, digest) {
			i.Unlisted = append(i.Unlisted, digest)
		}
	}
	return nil
}

// lazyIndexes returns the SOCI indexes of the image as evidence.
func (i *Image) lazyIndexes() []evidence.LazyIndex {
	var out []evidence.LazyIndex
	for _, a := range i.LazyIndexes {
		out = append(out, evidence.LazyIndex{Digest: a.Descriptor.Digest.String(), Kind: "SOCI"})
	}
	return out
}

// Others returns the manifests of an index that are not images and are copied with it.
func (i *Image) Others() []Attachment { return slices.Concat(i.Attachments, i.LazyIndexes) }
