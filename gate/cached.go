package gate

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/match"
)

// loadCached returns the SBOM of a manifest from the cache. It returns nil if the cache has none
// that can be decoded. The input of the matcher is decoded only if the findings are not known.
func (g *Gate) loadCached(digest v1.Hash) *SBOM {
	data, matching, ok := g.opts.Cache.GetParts(g.cataloger.Key(digest))
	if !ok {
		return nil
	}
	s, err := catalog.Decode(data, matching, digest)
	if err != nil {
		return nil // The entry has an older format, so catalog the image again.
	}
	if g.loadResult(g.resultKey(s)) == nil && s.Load() != nil {
		return nil
	}
	return s
}

// storeCached stores an SBOM in the cache. It ignores a write failure, which costs time but never
// correctness.
func (g *Gate) storeCached(s *SBOM) {
	if g.opts.Cache == nil {
		return
	}
	if data, matching, err := catalog.Encode(s); err == nil {
		_ = g.opts.Cache.PutParts(g.cataloger.Key(s.Digest), data, matching)
	}
}

// matchCached matches an SBOM, unless the cache has the result for the same SBOM and database. It
// returns a function that stores a new result, which the caller may run later.
func (g *Gate) matchCached(ctx context.Context, s *SBOM) (_ *match.Result, store func(), err error) {
	key := g.resultKey(s)
	if key == "" {
		r, err := match.SBOM(ctx, g.opts.Database, s)
		return r, func() {}, err
	}
	if r := g.loadResult(key); r != nil {
		return r, func() {}, nil
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

// loadResult returns a match result from the cache, or nil.
func (g *Gate) loadResult(key string) *match.Result {
	data, ok := g.opts.Cache.Get(key)
	if key == "" || !ok {
		return nil
	}
	r, err := match.Decode(data)
	if err != nil {
		return nil
	}
	return r
}

// resultKey returns the cache key of the match result of an SBOM. It returns "" if results are not
// cached. The result depends on the SBOM, the database and the code, which Tool.Build identifies.
func (g *Gate) resultKey(s *SBOM) string {
	if !g.opts.Cache.Usable() || g.opts.Tool.Build == "" || g.opts.Database.Identity() == "" {
		return ""
	}
	return "findings 1\n" + g.opts.Database.Identity() + "\n" + g.cataloger.Key(s.Digest)
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
