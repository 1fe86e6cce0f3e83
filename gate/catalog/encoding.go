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

// encoded is the part of a cached SBOM that every run needs. It includes the SPDX and CycloneDX
// documents, because documents that are generated again might differ.
type encoded struct {
	Packages     []evidence.Package
	Distribution evidence.Distribution
	Unknowns     []evidence.Unknown
	SPDX         []byte
	CycloneDX    []byte
	Owners       []ownedFile
}

// Key returns the cache key of an SBOM. The key contains everything that the SBOM depends on.
// Tool.Build also covers the configuration of the catalogers, which is part of the build.
func (c *Cataloger) Key(digest v1.Hash) string {
	t := c.Tool
	parts := []string{"catalog 4", t.URI, t.Version, t.Build, digest.String()}
	for _, name := range slices.Sorted(maps.Keys(t.Components)) {
		parts = append(parts, name+" "+t.Components[name])
	}
	return strings.Join(parts, "\n")
}

// Encode encodes an SBOM for a cache. matching is the input of the matcher, in syft's own JSON
// format, which the grype command also reads. It is separate because decoding it takes longer than
// everything else, and known findings do not need it.
func Encode(s *SBOM) (sbom, matching []byte, err error) {
	if err := s.Load(); err != nil {
		return nil, nil, err
	}
	var syft, out bytes.Buffer
	if err := syftjson.NewFormatEncoder().Encode(&syft, *s.syft); err != nil {
		return nil, nil, fmt.Errorf("encoding the SBOM of %s: %w", s.Digest, err)
	}
	err = gob.NewEncoder(&out).Encode(encoded{
		Packages: s.Packages, Distribution: s.Distribution, Unknowns: s.Unknowns,
		SPDX: s.SPDX, CycloneDX: s.CycloneDX, Owners: s.owners,
	})
	return out.Bytes(), syft.Bytes(), err
}

// Decode decodes an SBOM that Encode encoded. digest is the digest of the manifest. [SBOM.Load] calls
// matching.
func Decode(data []byte, matching func() ([]byte, error), digest v1.Hash) (*SBOM, error) {
	var r encoded
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&r); err != nil {
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
		SPDX: r.SPDX, CycloneDX: r.CycloneDX, owners: r.Owners, matching: matching}, nil
}

// Load decodes the input of the matcher if the SBOM came from a cache. Call it before
// [SBOM.Syft] and [SBOM.SyftPackages].
func (s *SBOM) Load() error {
	s.loading.Lock()
	defer s.loading.Unlock()
	if s.syft != nil {
		return nil
	}
	data, err := s.matching()
	if err != nil {
		return fmt.Errorf("reading the SBOM of %s from the cache: %w", s.Digest, err)
	}
	decoded, _, _, err := syftjson.NewFormatDecoder().Decode(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("decoding the SBOM of %s from the cache: %w", s.Digest, err)
	}
	s.syft, s.sorted, s.matching = decoded, decoded.Artifacts.Packages.Sorted(), nil
	return nil
}
