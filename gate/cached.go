package gate

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/format/syftjson"

	"github.com/imagegate/imagegate/policy"
)

// recorded is a cache entry: the catalog of one image. The documents are stored as they are,
// because new ones would have to be proven identical. The input of the matcher is stored in syft's
// own JSON format, which the grype command also reads.
type recorded struct {
	Packages     []policy.Package
	Distribution policy.Distribution
	Unknowns     []policy.Unknown
	SPDX         []byte
	CycloneDX    []byte
	Syft         []byte
	Owners       []ownedFile
}

// catalogKey returns a cache key with everything that a catalog depends on. The configuration of
// the cataloger is part of the build, so Tool.Build covers it.
func (g *Gate) catalogKey(p *Platform) string {
	t := g.opts.Tool
	parts := []string{"catalog 3", t.URI, t.Version, t.Build, p.Digest.String()}
	for _, name := range slices.Sorted(maps.Keys(t.Components)) {
		parts = append(parts, name+" "+t.Components[name])
	}
	return strings.Join(parts, "\n")
}

// recall returns the catalog of a platform from the cache, or nil.
func (g *Gate) loadCached(p *Platform) *SBOM {
	data, ok := g.opts.Cache.Get(g.catalogKey(p))
	if !ok {
		return nil
	}
	s, err := decodeSBOM(data)
	if err != nil {
		return nil // written in an older format: catalog again
	}
	s.Digest = p.Digest
	return s
}

// remember stores a catalog in the cache. A write failure is ignored: it costs time, never
// correctness.
func (g *Gate) storeCached(p *Platform, s *SBOM) {
	if g.opts.Cache == nil {
		return
	}
	if data, err := encodeSBOM(s); err == nil {
		_ = g.opts.Cache.Put(g.catalogKey(p), data)
	}
}

func encodeSBOM(s *SBOM) ([]byte, error) {
	var syft, out bytes.Buffer
	if err := syftjson.NewFormatEncoder().Encode(&syft, *s.syft); err != nil {
		return nil, fmt.Errorf("encoding the SBOM of %s: %w", s.Digest, err)
	}
	err := gob.NewEncoder(&out).Encode(recorded{
		Packages: s.Packages, Distribution: s.Distribution, Unknowns: s.Unknowns,
		SPDX: s.SPDX, CycloneDX: s.CycloneDX, Syft: syft.Bytes(), Owners: s.owners,
	})
	return out.Bytes(), err
}

func decodeSBOM(data []byte) (*SBOM, error) {
	var r recorded
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&r); err != nil {
		return nil, err
	}
	s, _, _, err := syftjson.NewFormatDecoder().Decode(bytes.NewReader(r.Syft))
	if err != nil {
		return nil, err
	}
	// gob decodes an empty list as nil.
	if r.Packages == nil {
		r.Packages = []policy.Package{}
	}
	if r.Unknowns == nil {
		r.Unknowns = []policy.Unknown{}
	}
	return &SBOM{Packages: r.Packages, Distribution: r.Distribution, Unknowns: r.Unknowns,
		SPDX: r.SPDX, CycloneDX: r.CycloneDX, syft: s, sorted: s.Artifacts.Packages.Sorted(), owners: r.Owners}, nil
}
