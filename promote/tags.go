package promote

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
)

// CheckTags reads all tags and reports whether every tag already points to the digest. If a tag
// points to another digest, it returns a *TagConflictError for the first such tag, unless tags may
// be moved.
func (v *Verifier) CheckTags(ctx context.Context, want v1.Hash, tags ...name.Tag) (there bool, err error) {
	there = len(tags) > 0
	for _, tag := range tags {
		have, err := v.tagged(ctx, tag)
		if err != nil {
			return false, err
		}
		if have != (v1.Hash{}) && have != want && !v.opts.MoveTag {
			return false, &TagConflictError{Tag: tag, Have: have, Want: want}
		}
		there = there && have == want
	}
	return there, nil
}

// tagged returns the digest that a tag points to, or the zero Hash if the tag does not exist. It
// computes the digest from the manifest, because the header of a HEAD response may be stale or
// missing.
func (v *Verifier) tagged(ctx context.Context, tag name.Tag) (v1.Hash, error) {
	d, err := v.taggedManifest(ctx, tag)
	if err != nil || d == nil {
		return v1.Hash{}, err
	}
	return d.Digest, nil
}

// taggedManifest returns the manifest that a tag points to, or nil if the tag does not exist.
func (v *Verifier) taggedManifest(ctx context.Context, tag name.Tag) (*remote.Descriptor, error) {
	d, err := remote.Get(tag, v.with(ctx)...)
	if err == nil {
		return d, nil
	}
	absent, err := registry.IsAbsent(ctx, tag, err, v.with(ctx)...)
	if absent {
		return nil, nil
	}
	return nil, registry.NewError(registry.Approved, "reading tag "+tag.String(), err)
}

// tag writes one tag. This is the commit point of a promotion. Registries have no compare-and-swap,
// so tag reads the tag again before it writes, and reads the result back.
func (p *Promoter) tag(ctx context.Context, img *gate.Image, tag name.Tag) error {
	have, err := p.verifier.tagged(ctx, tag)
	if err != nil {
		return err
	}
	if have == img.Digest {
		return nil
	}
	if have != (v1.Hash{}) && !p.opts.MoveTag {
		return &TagConflictError{Tag: tag, Have: have, Want: img.Digest}
	}
	if err := remote.Put(tag, manifest{img.Manifest, img.MediaType}, p.verifier.with(ctx)...); err != nil {
		return registry.NewError(registry.Approved, "writing tag "+tag.String(), err)
	}
	back, err := remote.Get(tag, p.verifier.with(ctx)...) // Get hashes the body. It does not use the digest in the header.
	if err != nil {
		return registry.NewError(registry.Approved, "reading back tag "+tag.String(), err)
	}
	if back.Digest != img.Digest {
		return registry.NewError(registry.Approved, "writing tag "+tag.String(),
			fmt.Errorf("the tag now names %s, not %s", back.Digest, img.Digest))
	}
	return nil
}
