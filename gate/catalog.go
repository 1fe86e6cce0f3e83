package gate

import (
	"context"
	"errors"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy/evidence"
)

// CatalogedImage has all data about an image that the match and decide steps need. These steps do
// not read layers.
type CatalogedImage struct {
	Image     evidence.Image
	Platforms []CatalogedPlatform
}

// CatalogedPlatform is one platform of a CatalogedImage.
type CatalogedPlatform struct {
	// Platform is the evidence that is known before matching: name, digest, configuration, size,
	// layers and base image.
	Platform evidence.Platform
	SBOM     *SBOM

	cached bool // true if the SBOM and its documents came from the cache
}

// sboms returns the SBOMs of all platforms, in the order of c.Platforms.
func (c *CatalogedImage) sboms() []*SBOM {
	var out []*SBOM
	for _, p := range c.Platforms {
		out = append(out, p.SBOM)
	}
	return out
}

// catalog lists the packages of every platform. It loads SBOMs from the cache if possible, and
// fetches layers only for the other platforms. hits is the number of SBOMs from the cache.
func (g *Gate) catalog(ctx context.Context, store *layers.Store, archives *filesystem.Archives, img *Image) (_ *CatalogedImage, hits int, err error) {
	c := &CatalogedImage{Image: evidence.Image{Reference: img.Source.String(), Repository: img.Source.Repository(),
		Digest: img.Digest.String(), MediaType: string(img.MediaType), LazyIndexes: img.lazyIndexes()}}
	var missing []v1.Image
	for i := range img.Platforms {
		p := &img.Platforms[i]
		one := CatalogedPlatform{SBOM: g.loadCached(p.Digest)}
		if one.cached = one.SBOM != nil; one.cached {
			hits++
		} else {
			missing = append(missing, p.Image)
		}
		if one.Platform, err = g.describe(p); err != nil {
			return nil, 0, fmt.Errorf("platform %s: %w", p.Name, err)
		}
		c.Platforms = append(c.Platforms, one)
	}
	if len(missing) == 0 {
		return c, hits, nil
	}
	defer g.warm()()
	if err := g.fetch(ctx, store, img, missing); err != nil {
		return nil, 0, err
	}
	for i := range c.Platforms {
		if one := &c.Platforms[i]; !one.cached {
			if one.SBOM, err = g.generate(ctx, store, archives, img, &img.Platforms[i]); err != nil {
				return nil, 0, err
			}
		}
	}
	return c, hits, nil
}

// describe returns the evidence that a platform's manifest and configuration contain.
func (g *Gate) describe(p *Platform) (evidence.Platform, error) {
	out := evidence.Platform{Platform: p.Name, Digest: p.Digest.String()}
	patterns, err := g.opts.Patterns.Secrets()
	if err != nil {
		return out, err
	}
	if out.Layers, out.Size, err = layersOf(p.Image); err != nil {
		return out, err
	}
	if out.Config, err = configOf(patterns, p.Config); err != nil {
		return out, err
	}
	out.Base, err = baseOf(patterns, p.Image)
	return out, err
}

// fetch reads every layer of the images. A layer that several images share is read once.
func (g *Gate) fetch(ctx context.Context, store *layers.Store, img *Image, images []v1.Image) error {
	ctx, done := g.opts.Progress.Start(ctx, Step{Image: img.Source.String(), Stage: Pull, Subject: img.Digest.String()})
	err := store.Fetch(ctx, images...)
	done(err)
	if err != nil {
		return g.readError(img, err)
	}
	return nil
}

// readError returns an error about the layers of an image.
func (g *Gate) readError(img *Image, err error) error {
	if img.Source.Transport == Registry {
		return registry.NewError(registry.Staging, "reading the layers of "+img.reference().String(), err)
	}
	return fmt.Errorf("reading the layers of %s: %w", img.Source, err)
}

// warm compiles the license patterns in the background while layers download, unless the cache has
// license texts: then most texts are known, and the patterns are rarely needed. It ignores errors,
// because the cataloger reports them when it needs the patterns. The caller must call wait.
func (g *Gate) warm() (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if g.cataloger.Texts.IsEmpty() {
			_, _ = g.opts.Patterns.Licenses()
		}
	}()
	return func() { <-done }
}

// generate generates the SBOM of one platform with generateIn, and reports the progress.
func (g *Gate) generate(ctx context.Context, store *layers.Store, a *filesystem.Archives, img *Image, p *Platform) (*SBOM, error) {
	ctx, done := g.opts.Progress.Start(ctx, Step{Image: img.Source.String(), Stage: Catalog, Subject: p.Name})
	sbom, err := g.generateIn(ctx, store, a, p)
	if missed := store.Missed(); missed != nil {
		err = g.readError(img, missed) // the cataloger may have listed the file as unreadable
	}
	done(err)
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	return sbom, nil
}

// generateIn generates the SBOM of one platform. If Options.UnpackIn is set, archives in the image
// are unpacked in a folder of this check.
func (g *Gate) generateIn(ctx context.Context, store *layers.Store, a *filesystem.Archives, p *Platform) (_ *SBOM, err error) {
	if g.opts.UnpackIn == nil {
		return g.cataloger.Generate(ctx, a, p.Image, p.Digest)
	}
	dir, err := store.TempDir("unpack")
	if err != nil {
		return nil, err
	}
	undo, err := g.opts.UnpackIn(dir)
	if err != nil {
		return nil, fmt.Errorf("setting the folder for unpacked archives: %w", err)
	}
	watched, stop := store.Watch(ctx, dir)
	s, err := g.cataloger.Generate(watched, a, p.Image, p.Digest)
	// If the image exceeded a limit, Watch canceled the cataloger. Return the error of stop,
	// because only that error states the cause. err may even be nil, because catalogers skip an
	// archive that they cannot unpack.
	if exceeded := stop(); exceeded != nil {
		err = exceeded
	}
	if err = errors.Join(err, undo(), os.RemoveAll(dir)); err != nil {
		return nil, err
	}
	return s, nil
}
