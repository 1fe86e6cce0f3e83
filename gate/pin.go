package gate

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/registry"
)

// Pin resolves a registry reference once and returns src with the digest. It also returns the
// digest that Check would promote: the digest of the index or manifest, or of the platform's
// manifest if Options.Platform is set. Pin reads at most one manifest. For other transports, Pin
// returns src unchanged and an empty digest.
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
	index, err := registry.ParseIndex(r.raw)
	if err != nil {
		return src, v1.Hash{}, fmt.Errorf("parsing index %s: %w", src.Digest, err)
	}
	child, err := choose(index.Platforms, g.platform)
	if err != nil {
		return src, v1.Hash{}, &InputError{refuse("index %s: %v", src.Digest, err)}
	}
	return src, child.Digest, nil
}

// deleted is the value of Result.Moved for a deleted tag.
const deleted = "nothing"

// moved resolves the tag of img again. It returns "" if the tag still points to the checked digest.
// Otherwise it returns the digest that the tag points to now, or the constant deleted.
func (g *Gate) moved(ctx context.Context, img *Image) (string, error) {
	tag, ok := img.Source.Ref.(name.Tag)
	if !ok || img.Source.Transport != Registry {
		return "", nil
	}
	opts := registry.With(ctx, g.remote)
	d, err := remote.Get(tag, opts...) // GET, because the response to HEAD may be stale or lack the digest
	if err != nil {
		absent, err := registry.IsAbsent(ctx, tag, err, opts...)
		if absent {
			return deleted, nil
		}
		return "", registry.NewError(registry.Staging, fmt.Sprintf("resolving %s again after the check", tag), err)
	}
	if d.Digest == img.root {
		return "", nil
	}
	return d.Digest.String(), nil
}
