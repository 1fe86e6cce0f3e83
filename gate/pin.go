package gate

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/registry"
)

// Pin finds out which digest a registry's reference names and returns the
// source bound to it, with the digest that a Check would promote: that of the
// index or manifest, or of the platform's manifest where one is asked for. It
// reads no more than one manifest. Other sources are returned as they are,
// with no digest.
func (g *Gate) Pin(ctx context.Context, src Source) (Source, v1.Hash, error) {
	if src.Transport != Registry {
		return src, v1.Hash{}, nil
	}
	r, err := g.openRegistry(ctx, src)
	if err != nil {
		return src, v1.Hash{}, err
	}
	if err := checkManifest(r.descriptor, r.raw); err != nil {
		return src, v1.Hash{}, fmt.Errorf("resolving %s: %w", src, err)
	}
	src.Digest = r.descriptor.Digest
	if g.platform == nil || !r.descriptor.MediaType.IsIndex() {
		return src, src.Digest, nil
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(r.raw))
	if err != nil {
		return src, v1.Hash{}, fmt.Errorf("parsing index %s: %w", src.Digest, err)
	}
	images := slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return !d.MediaType.IsImage() || !IsPlatform(d) })
	child, err := choose(images, g.platform)
	if err != nil {
		return src, v1.Hash{}, refuse("index %s: %v", src.Digest, err)
	}
	return src, child.Digest, nil
}

// deleted is what Result.Moved says of a tag that is there no more.
const deleted = "nothing"

// moved returns what a registry's tag names by now, if not what was checked.
func (g *Gate) moved(ctx context.Context, img *Image) (string, error) {
	tag, ok := img.Source.Ref.(name.Tag)
	if !ok || img.Source.Transport != Registry {
		return "", nil
	}
	opts := append([]remote.Option{remote.WithContext(ctx)}, g.remote...)
	d, err := remote.Get(tag, opts...) // not a HEAD, whose answer may be stale or without a digest
	if err != nil {
		absent, err := registry.IsAbsent(ctx, tag, err, opts...)
		if absent {
			return deleted, nil
		}
		return "", NewRegistryError(Staging, fmt.Sprintf("looking again at %s", tag), err)
	}
	if d.Digest == img.root {
		return "", nil
	}
	return d.Digest.String(), nil
}
