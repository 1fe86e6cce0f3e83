package promote

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
)

// Copied has the counts of blobs that a promotion sent and skipped.
type Copied struct {
	// Blobs is the number of distinct blobs of the image. Sent is the number of blobs that were
	// sent. The other blobs existed already or were mounted.
	Blobs int `json:"blobs"`
	Sent  int `json:"sent"`
	// Bytes is the number of blob bytes that were sent, including repeated uploads.
	Bytes int64 `json:"bytes"`
	// Skipped is the size of the blobs that were not sent, in bytes.
	Skipped int64 `json:"skipped"`
}

// copy pushes the image to the repository by digest: first the blobs, then the manifests of
// platforms and attachments, then the index. It writes no tag. It sends exactly the bytes that were
// verified and cataloged, without compressing them again.
func (p *Promoter) copy(ctx context.Context, img *gate.Image, repo name.Repository) (Copied, error) {
	blobs, err := imageBlobs(img)
	if err != nil {
		return Copied{}, err
	}
	known := p.mountsFor(repo)
	meters, mounted, err := p.push(ctx, img, repo, blobs, known.from)
	if err != nil && mounted && ctx.Err() == nil {
		// A registry can claim to mount a blob that it has lost, and then refuse the manifest.
		meters, _, err = p.push(ctx, img, repo, blobs, nil)
	}
	if err != nil {
		return Copied{}, err
	}
	known.note(ctx, blobs)
	return countCopied(meters)
}

// push pushes the blobs and then the manifests of the image. It mounts the blobs that are in from, if
// the registry does so. mounted reports whether a blob was mounted.
func (p *Promoter) push(ctx context.Context, img *gate.Image, repo name.Repository, blobs []v1.Layer, from map[string]name.Reference) (meters []*meter, mounted bool, err error) {
	u, err := p.newUploader(ctx, img.Source, repo, from)
	if err != nil {
		return nil, false, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(p.opts.Parallel)
	for _, blob := range blobs {
		m := &meter{Layer: blob, ctx: gctx, repo: repo.String(), progress: p.opts.Progress, step: gate.Step{Image: img.Source.String(), Stage: gate.Push, Subject: repo.String()}}
		meters = append(meters, m)
		group.Go(func() error {
			if err := u.upload(gctx, m); err != nil {
				digest, _ := blob.Digest()
				return copyError("blob "+digest.String(), repo, err)
			}
			return nil
		})
	}
	if err = group.Wait(); err == nil {
		err = putManifests(ctx, u.pusher, img, repo)
	}
	return meters, u.mounted.Load(), err
}

func copyError(what string, repo name.Repository, err error) error {
	return registry.NewError(registry.Approved, fmt.Sprintf("copying %s to %s", what, repo), err)
}

// putManifests pushes the manifests of the image, those that a manifest lists before that manifest.
func putManifests(ctx context.Context, pusher *remote.Pusher, img *gate.Image, repo name.Repository) error {
	put := func(d v1.Hash, m manifest) error {
		if err := pusher.Put(ctx, repo.Digest(d.String()), m); err != nil {
			return copyError("manifest "+d.String(), repo, err)
		}
		return nil
	}
	for _, platform := range img.Platforms {
		raw, err := platform.Image.RawManifest()
		if err != nil {
			return err
		}
		mediaType, err := platform.Image.MediaType()
		if err != nil {
			return err
		}
		if err := put(platform.Digest, manifest{raw, mediaType}); err != nil {
			return err
		}
	}
	for _, a := range img.Others() {
		if err := put(a.Descriptor.Digest, manifest{a.Manifest, a.Descriptor.MediaType}); err != nil {
			return err
		}
	}
	if img.IsIndex() {
		return put(img.Digest, manifest{img.Manifest, img.MediaType})
	}
	return nil
}

func countCopied(meters []*meter) (Copied, error) {
	out := Copied{Blobs: len(meters)}
	for _, m := range meters {
		if n := m.sent.Load(); n > 0 {
			out.Sent++
			out.Bytes += n
			continue
		}
		size, err := m.Size()
		if err != nil {
			return Copied{}, err
		}
		out.Skipped += size
	}
	return out, nil
}

// imageBlobs returns every config and layer of the image once, in order of first use.
func imageBlobs(img *gate.Image) ([]v1.Layer, error) {
	var out []v1.Layer
	seen := map[v1.Hash]bool{}
	add := func(l v1.Layer) error {
		digest, err := l.Digest()
		if err != nil {
			return err
		}
		if !seen[digest] {
			seen[digest] = true
			out = append(out, l)
		}
		return nil
	}
	for _, platform := range img.Platforms {
		layers, err := platform.Image.Layers()
		if err != nil {
			return nil, err
		}
		config, err := partial.ConfigLayer(platform.Image)
		if err != nil {
			return nil, err
		}
		for _, l := range append(layers, config) {
			if err := add(l); err != nil {
				return nil, err
			}
		}
	}
	for _, a := range img.Others() {
		for _, b := range a.Blobs {
			if err := add(b); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// fetcher is a layer that can be fetched on demand. If the SBOM came from the cache, a layer is
// fetched only when the approved registry needs it.
type fetcher interface {
	Fetch(ctx context.Context) error
}

// meter is a blob that counts its bytes while the blob is sent.
type meter struct {
	v1.Layer
	ctx      context.Context // the context of the copy, because Compressed has no context parameter
	repo     string
	progress gate.Progress
	step     gate.Step
	sent     atomic.Int64
}

// Compressed fetches the blob if needed and opens its bytes.
func (m *meter) Compressed() (io.ReadCloser, error) {
	if f, ok := m.Layer.(fetcher); ok {
		if err := f.Fetch(m.ctx); err != nil {
			return nil, registry.NewError(registry.Staging, "reading a layer to copy it", err)
		}
	}
	rc, err := m.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	size, err := m.Size()
	if err != nil {
		rc.Close()
		return nil, err
	}
	digest, err := m.Digest()
	if err != nil {
		rc.Close()
		return nil, err
	}
	return &metered{ReadCloser: rc, meter: m, size: size, what: m.repo + "@" + digest.String()}, nil
}

type metered struct {
	io.ReadCloser
	meter *meter
	size  int64
	done  int64
	what  string
}

func (r *metered) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	if n > 0 {
		r.done += int64(n)
		r.meter.sent.Add(int64(n))
		r.meter.progress.Bytes(r.meter.step, r.what, r.done, r.size)
	}
	return n, err
}
