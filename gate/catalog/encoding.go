package catalog

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/format/syftjson"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/policy/evidence"
)

// encoded is an SBOM as stored in a cache. It includes the SPDX and CycloneDX documents, because
// documents that are generated again might differ. It has the input of the matcher in syft's own
// JSON format, which the grype command also reads.
type encoded struct {
	Packages     []evidence.Package
	Distribution evidence.Distribution
	Unknowns     []evidence.Unknown
	SPDX         []byte
	CycloneDX    []byte
	Syft         []byte
	Owners       []ownedFile
}

// Key returns the cache key of an SBOM. The key contains everything that the SBOM depends on.
// Tool.Build also covers the configuration of the catalogers, which is part of the build.
func (c *Cataloger) Key(digest v1.Hash) string {
	t := c.Tool
	parts := []string{"catalog 3", t.URI, t.Version, t.Build, digest.String()}
	for _, name := range slices.Sorted(maps.Keys(t.Components)) {
		parts = append(parts, name+" "+t.Components[name])
	}
	return strings.Join(parts, "\n")
}

// Encode encodes an SBOM with its documents and with the input of the matcher, for a cache.
func Encode(s *SBOM) ([]byte, error) {
	var syft, out bytes.Buffer
	if err := syftjson.NewFormatEncoder().Encode(&syft, *s.syft); err != nil {
		return nil, fmt.Errorf("encoding the SBOM of %s: %w", s.Digest, err)
	}
	err := gob.NewEncoder(&out).Encode(encoded{
		Packages: s.Packages, Distribution: s.Distribution, Unknowns: s.Unknowns,
		SPDX: s.SPDX, CycloneDX: s.CycloneDX, Syft: syft.Bytes(), Owners: s.owners,
	})
	return out.Bytes(), err
}

// Decode decodes an SBOM that Encode encoded. digest is the digest of the manifest.
func Decode(data []byte, digest v1.Hash) (*SBOM, error) {
	var r encoded
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&r); err != nil {
		return nil, err
	}
	s, _, _, err := syftjson.NewFormatDecoder().Decode(bytes.NewReader(r.Syft))
	if err != nil {
		return nil, err
	}
	// gob decodes an empty list as nil.
	if r.Packages == nil {
		r.Packages = []evidence.Package{}
	}
	if r.Unknowns == nil {
		r.Unknowns = []evidence.Unknown{}
	}
	return &SBOM{Digest: digest, Packages: r.Packages, Distribution: r.Distribution, Unknowns: r.Unknowns,
		SPDX: r.SPDX, CycloneDX: r.CycloneDX, syft: s, sorted: s.Artifacts.Packages.Sorted(), owners: r.Owners}, nil
}
