package registry

import (
	"bytes"
	"iter"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// MaxManifest is the maximum size in bytes of a manifest, an index or a page of referrers. The
// distribution specification asks registries to accept manifests up to this size.
const MaxManifest = 4 << 20

// BuildKit marks an attestation manifest with this annotation:
// https://docs.docker.com/build/metadata/attestations/attestation-storage/
const (
	referenceType       = "vnd.docker.reference.type"
	attestationManifest = "attestation-manifest"
)

// SOCITypes is the prefix of SOCI media types and artifact types:
// https://github.com/awslabs/soci-snapshotter/blob/main/docs/soci-index-manifest-v2.md
const SOCITypes = "application/vnd.amazon.soci."

// sociAnnotations is the prefix of SOCI annotations.
const sociAnnotations = "com.amazon.soci."

// Index has the children of an index, grouped by role: image, attestation, SOCI index, other. Each
// list is in the order of the index. The role is what the index claims. The content of a child may
// differ.
type Index struct {
	// Platforms are the images, one for each platform.
	Platforms []v1.Descriptor
	// Attestations are the attestation manifests of BuildKit.
	Attestations []v1.Descriptor
	// SOCI are the SOCI indexes: tables of contents for lazy pulling.
	SOCI []v1.Descriptor
	// Other are all other children, such as a nested index.
	Other []v1.Descriptor
}

// ParseIndex parses an index and sorts its children by role.
func ParseIndex(raw []byte) (Index, error) {
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return Index{}, err
	}
	var out Index
	for _, child := range m.Manifests {
		to := &out.Other
		switch {
		case isSOCI(child):
			to = &out.SOCI
		case IsAttestation(child):
			to = &out.Attestations
		case child.MediaType.IsImage():
			to = &out.Platforms
		}
		*to = append(*to, child)
	}
	return out, nil
}

// Children returns all children: platforms, attestations, SOCI indexes, others.
func (i Index) Children() iter.Seq[v1.Descriptor] {
	return func(yield func(v1.Descriptor) bool) {
		for _, list := range [][]v1.Descriptor{i.Platforms, i.Attestations, i.SOCI, i.Other} {
			for _, child := range list {
				if !yield(child) {
					return
				}
			}
		}
	}
}

// Len returns the number of children.
func (i Index) Len() int {
	return len(i.Platforms) + len(i.Attestations) + len(i.SOCI) + len(i.Other)
}

// IsAttestation reports whether a child of an index is annotated as an attestation manifest.
func IsAttestation(d v1.Descriptor) bool {
	return d.Annotations[referenceType] == attestationManifest
}

// isSOCI reports whether a child of an index is marked as a SOCI index. A SOCI index is in the same
// index as the image that it describes.
func isSOCI(d v1.Descriptor) bool {
	if strings.HasPrefix(d.ArtifactType, SOCITypes) {
		return true
	}
	for key := range d.Annotations {
		if strings.HasPrefix(key, sociAnnotations) {
			return true
		}
	}
	return false
}
