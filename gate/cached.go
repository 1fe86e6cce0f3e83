package gate

import (
	"cmp"
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/match"
)

// loadCached returns the SBOM of a manifest from the cache. It returns nil if the cache has none
// that can be decoded.
func (g *Gate) loadCached(digest v1.Hash) *SBOM {
	data, matching, ok := g.opts.Cache.GetParts(g.cataloger.Key(digest))
	if !ok {
		return nil
	}
	s, err := catalog.Decode(data, matching, digest)
	if err != nil {
		return nil // The entry has an older format, so catalog the image again.
	}
	return s
}

// storeCached stores an SBOM in the cache, also for images with the same lower layers. It ignores a write
// failure, which costs time but never correctness.
func (g *Gate) storeCached(s *SBOM) {
	if g.opts.Cache == nil {
		return
	}
	data, matching, err := catalog.Encode(s)
	if err != nil {
		return
	}
	_ = g.opts.Cache.PutParts(g.cataloger.Key(s.Digest), data, matching)
	if s.Origin() == "" {
		return
	}
	if data, err := catalog.EncodeStack(s); err == nil {
		_ = g.opts.Cache.PutParts(s.Origin(), data, matching)
	}
}

// maxUpper is the maximum number of layers that may only add files that catalogers do not look for.
const maxUpper = 8

// fromStack returns the SBOM of a platform that differs from the SBOM of its lower layers, which an
// earlier run generated, only in the description of the image. It returns nil if there is none. The
// layers must have been fetched or recalled.
func (g *Gate) fromStack(archives *filesystem.Archives, p *Platform) (*SBOM, error) {
	if !g.stacks() {
		return nil, nil
	}
	ids, err := diffIDs(p.Image)
	if err != nil {
		return nil, err
	}
	for n := len(ids); n > 0 && n >= len(ids)-maxUpper; n-- {
		key := g.cataloger.StackKey(ids[:n])
		data, matching, ok := g.opts.Cache.GetParts(key)
		if !ok {
			continue
		}
		added, ok := archives.Added(ids[:n], ids[n:])
		if !ok {
			return nil, nil // With fewer lower layers, the other layers do even more.
		}
		stack, err := catalog.DecodeStack(key, data, matching)
		if err != nil || !stack.Fits(added) {
			continue
		}
		described, ok, err := archives.Describe(p.Image, p.Digest)
		if err != nil || !ok {
			return nil, err
		}
		return stack.SBOM(&g.cataloger, p.Digest, described, p.Config.Created.Time), nil
	}
	return nil, nil
}

// findStack notes in a new SBOM which lower layers of the image it depends on.
func (g *Gate) findStack(archives *filesystem.Archives, p *Platform, s *SBOM) error {
	if !g.stacks() || !s.Stackable(nil) {
		return nil
	}
	ids, err := diffIDs(p.Image)
	if err != nil {
		return err
	}
	lower := len(ids)
	for n := lower - 1; n > 0 && n >= len(ids)-maxUpper; n-- {
		if added, ok := archives.Added(ids[:n], ids[n:]); !ok || !s.Stackable(added) {
			break
		}
		lower = n
	}
	if lower > 0 {
		s.SetStack(g.cataloger.StackKey(ids[:lower]))
	}
	return nil
}

// stacks reports whether SBOMs of lower layers are cached.
func (g *Gate) stacks() bool { return g.opts.Cache.Usable() && g.opts.Tool.Build != "" }

func diffIDs(img v1.Image) ([]v1.Hash, error) {
	ls, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing layers: %w", err)
	}
	var out []v1.Hash
	for _, l := range ls {
		id, err := l.DiffID()
		if err != nil {
			return nil, fmt.Errorf("reading the diffID of a layer: %w", err)
		}
		out = append(out, id)
	}
	return out, nil
}

// matchCached matches an SBOM, unless the cache has the result for the same SBOM and database. It
// returns a function that stores a new result, which the caller may run later.
func (g *Gate) matchCached(ctx context.Context, s *SBOM) (_ *match.Result, store func(), err error) {
	key := g.resultKey(s)
	if key == "" {
		r, err := match.SBOM(ctx, g.opts.Database, s)
		return r, func() {}, err
	}
	if data, ok := g.opts.Cache.Get(key); ok {
		if r, err := match.Decode(data); err == nil {
			return r, func() {}, nil
		}
	}
	r, err := match.SBOM(ctx, g.opts.Database, s)
	if err != nil {
		return nil, nil, err
	}
	data, ok := match.Encode(r) // now, because the caller may change r
	return r, func() {
		if ok {
			_ = g.opts.Cache.Put(key, data)
		}
	}, nil
}

// resultKey returns the cache key of the match result of an SBOM. It returns "" if results are not
// cached. Images with the same packages have the same key. The result depends on the SBOM, the database and the code, which Tool.Build identifies.
func (g *Gate) resultKey(s *SBOM) string {
	if !g.stacks() || g.opts.Database.Identity() == "" {
		return ""
	}
	return "findings 2\n" + g.opts.Database.Identity() + "\n" + cmp.Or(s.Origin(), g.cataloger.Key(s.Digest))
}

// textsKey returns the cache key of the license texts.
func (g *Gate) textsKey() string {
	return "license texts 1\n" + g.cataloger.Key(v1.Hash{})
}

func (g *Gate) loadTexts() []byte {
	data, _ := g.opts.Cache.Get(g.textsKey())
	return data
}

// storeTexts stores the license texts if there are new ones. If two processes do so at once, the texts
// of one of them are lost, which costs time but never correctness.
func (g *Gate) storeTexts() {
	if g.opts.Cache == nil {
		return
	}
	if data, ok := g.cataloger.Texts.Encode(); ok {
		_ = g.opts.Cache.Put(g.textsKey(), data)
	}
}
