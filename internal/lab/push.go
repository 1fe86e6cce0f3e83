package lab

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push writes an image with its layers, an index with its children, or a single manifest to ref,
// and returns the digest reference. It does not push foreign layers. If the manifest has a subject
// and the registry does not support the referrers API, Push also updates the subject's fallback
// tag.
func Push(ctx context.Context, ref string, what remote.Taggable, opts ...remote.Option) (name.Digest, error) {
	target, err := name.ParseReference(ref)
	if err != nil {
		return name.Digest{}, fmt.Errorf("pushing an image: %w", err)
	}
	raw, err := what.RawManifest()
	if err != nil {
		return name.Digest{}, fmt.Errorf("pushing to %s: %w", ref, err)
	}
	pusher, err := remote.NewPusher(opts...)
	if err != nil {
		return name.Digest{}, fmt.Errorf("pushing to %s: %w", ref, err)
	}
	if err := pusher.Push(ctx, target, what); err != nil {
		return name.Digest{}, fmt.Errorf("pushing to %s: %w", ref, err)
	}
	return target.Context().Digest(digestOf(raw).String()), nil
}
