package catalog

import (
	"bytes"
	"encoding/gob"
	"slices"
	"strings"
	"time"

	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/filesystem"
)

// StackKey returns the cache key of the SBOM of a stack of layers. Layers with the same diffIDs have the
// same files, whatever image they belong to.
func (c *Cataloger) StackKey(layers []v1.Hash) string {
	parts := []string{"stack 1", c.Key(v1.Hash{})}
	for _, l := range layers {
		parts = append(parts, l.String())
	}
	return strings.Join(parts, "\n")
}

// Stack is the SBOM of a stack of layers, for all images that add to it only files that catalogers do
// not look for.
type Stack struct {
	key      string
	encoded  encodedStack
	matching func() ([]byte, error)
}

type encodedStack struct {
	SBOM    encoded // without documents
	Queries Queries
}

// Stackable reports whether the SBOM is also that of the image without the added files. Only an SBOM
// that this run generated can be.
func (s *SBOM) Stackable(added []filesystem.Added) bool {
	return s.queries != nil && !s.queries.Concern(added)
}

// Queries returns what the catalogers looked for, or nil if the SBOM came from a cache. The caller must
// not change it.
func (s *SBOM) Queries() *Queries { return s.queries }

// SetStack notes that the SBOM is that of the stack with the key.
func (s *SBOM) SetStack(key string) { s.stack = key }

// Origin returns the key of the stack of layers whose packages the SBOM has, or "".
func (s *SBOM) Origin() string { return s.stack }

// EncodeStack encodes the SBOM of a stack for a cache. [Encode] returns the input of the matcher.
func EncodeStack(s *SBOM) ([]byte, error) {
	var out bytes.Buffer
	err := gob.NewEncoder(&out).Encode(encodedStack{
		SBOM:    encoded{Packages: s.Packages, Distribution: s.Distribution, Unknowns: s.Unknowns, Owners: s.owners},
		Queries: *s.queries,
	})
	return out.Bytes(), err
}

// DecodeStack decodes what EncodeStack encoded. key is its key in the cache.
func DecodeStack(key string, data []byte, matching func() ([]byte, error)) (*Stack, error) {
	s := &Stack{key: key, matching: matching}
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&s.encoded); err != nil {
		return nil, err
	}
	return s, nil
}

// Fits reports whether the SBOM of the stack is also that of the stack with the added files.
func (s *Stack) Fits(added []filesystem.Added) bool { return !s.encoded.Queries.Concern(added) }

// SBOM returns the SBOM of an image that the stack fits. described describes the image, and created is
// its time of creation.
func (s *Stack) SBOM(c *Cataloger, digest v1.Hash, described *image.Image, created time.Time) *SBOM {
	e := s.encoded.SBOM
	out := &SBOM{Digest: digest, Packages: listed(e.Packages), Distribution: e.Distribution, Unknowns: listed(e.Unknowns),
		owners: e.Owners, stack: s.key, matching: s.matching}
	out.describe = func(decoded *sbom.SBOM) error {
		setSource(decoded, sourceOf(described, digest).Describe())
		return c.hideCredentials(decoded)
	}
	out.document = func() error { return c.Document(out, created) }
	return out
}

// setSource replaces the image that an SBOM is about, also in its relationships.
func setSource(s *sbom.SBOM, to source.Description) {
	s.Source = to
	replaced := func(v artifact.Identifiable) artifact.Identifiable {
		if _, ok := v.(source.Source); ok {
			return source.FromDescription(to)
		}
		return v
	}
	s.Relationships = slices.Clone(s.Relationships)
	for i := range s.Relationships {
		r := &s.Relationships[i]
		r.From, r.To = replaced(r.From), replaced(r.To)
	}
}

// listed returns an empty list instead of nil, as gob decodes an empty list as nil.
func listed[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}
