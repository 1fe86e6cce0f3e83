package gate

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/catalog"
)

// loadCached returns the SBOM of a manifest from the cache. It returns nil if the cache has none
// that can be decoded.
func (g *Gate) loadCached(digest v1.Hash) *SBOM {
	data, ok := g.opts.Cache.Get(g.cataloger.Key(digest))
	if !ok {
		return nil
	}
	s, err := catalog.Decode(data, digest)
	if err != nil {
		return nil // The entry has an older format, so catalog the image again.
	}
	return s
}

// storeCached stores an SBOM in the cache. It ignores a write failure, which costs time but never
// correctness.
func (g *Gate) storeCached(s *SBOM) {
	if g.opts.Cache == nil {
		return
	}
	if data, err := catalog.Encode(s); err == nil {
		_ = g.opts.Cache.Put(g.cataloger.Key(s.Digest), data)
	}
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
