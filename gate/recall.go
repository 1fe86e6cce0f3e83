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

// recorded is what a catalog says of an image, as the cache keeps it. Documents
// are kept as they are: made again, they would have to be proven equal. What the
// matcher reads is kept in syft's own format, which grype's command reads too.
type recorded struct {
	Packages     []policy.Package
	Distribution policy.Distribution
	Unknowns     []policy.Unknown
	SPDX         []byte
	CycloneDX    []byte
	Syft         []byte
	Owners       []ownedFile
}

// catalogKey names everything that a catalog depends on. The configuration is
// that of the build.
func (g *Gate) catalogKey(p *Platform) string {
	t := g.opts.Tool
	parts := []string{"catalog 3", t.URI, t.Version, t.Build, p.Digest.String()}
	for _, name := range slices.Sorted(maps.Keys(t.Components)) {
		parts = append(parts, name+" "+t.Components[name])
	}
	return strings.Join(parts, "\n")
}

// recall returns the catalog of a platform that an earlier run has made, or nil.
func (g *Gate) recall(p *Platform) *SBOM {
	data, ok := g.opts.Cache.Get(g.catalogKey(p))
	if !ok {
		return nil
	}
	s, err := decodeSBOM(data)
	if err != nil {
		return nil // of an older kind: it is made again
	}
	s.Digest = p.Digest
	return s
}

// remember keeps a catalog for later runs. Without it they take longer and say
// the same, so that it is no reason to fail that it cannot be kept.
func (g *Gate) remember(p *Platform, s *SBOM) {
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
	// gob does not tell an empty list from none.
	if r.Packages == nil {
		r.Packages = []policy.Package{}
	}
	if r.Unknowns == nil {
		r.Unknowns = []policy.Unknown{}
	}
	return &SBOM{Packages: r.Packages, Distribution: r.Distribution, Unknowns: r.Unknowns,
		SPDX: r.SPDX, CycloneDX: r.CycloneDX, syft: s, sorted: s.Artifacts.Packages.Sorted(), owners: r.Owners}, nil
}
