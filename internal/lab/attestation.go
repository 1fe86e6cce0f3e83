package lab

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const inToto types.MediaType = "application/vnd.in-toto+json"

const (
	attestationType     = "application/vnd.docker.attestation.manifest.v1+json"
	predicateType       = "in-toto.io/predicate-type"
	predicateSPDX       = "https://spdx.dev/Document"
	predicateProvenance = "https://slsa.dev/provenance/v0.2"
)

// WithAttestations adds an attestation manifest for each image of the index, as "docker buildx
// build --sbom --provenance" does. The manifest has the platform unknown/unknown, the image's
// digest as an annotation, a config like an image, and an SPDX and a provenance statement as
// layers. See https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
// and exporter/containerimage/writer.go there.
func WithAttestations(index v1.ImageIndex) (v1.ImageIndex, error) {
	return attest(index, attestations{})
}

// WithArtifactAttestations is like [WithAttestations], but writes the form of buildx with
// "oci-artifact=true": the attestation manifest is an OCI artifact with an empty config, and its
// subject is the image.
func WithArtifactAttestations(index v1.ImageIndex) (v1.ImageIndex, error) {
	return attest(index, attestations{artifact: true})
}

// attestations configures the attestation manifests to write.
type attestations struct {
	artifact bool
	// smuggled are files in an additional tar layer of the attestation manifest, next to the
	// statements.
	smuggled []File
}

func attest(index v1.ImageIndex, form attestations) (v1.ImageIndex, error) {
	images, err := imagesOf(index)
	if err != nil {
		return nil, fmt.Errorf("attesting an index: %w", err)
	}
	var children []mutate.IndexAddendum
	for _, image := range images {
		manifest, err := attestation(image, form)
		if err != nil {
			return nil, fmt.Errorf("attesting %s: %w", image.Digest, err)
		}
		children = append(children, mutate.IndexAddendum{Add: manifest, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{
				"vnd.docker.reference.type":   "attestation-manifest",
				"vnd.docker.reference.digest": image.Digest.String(),
			},
		}})
	}
	return fix(mutate.AppendManifests(index, children...))
}

// attestation builds the attestation manifest of one image.
func attestation(image v1.Descriptor, form attestations) (v1.Image, error) {
	family := OCI
	if image.MediaType == types.DockerManifestSchema2 {
		family = Docker
	}
	manifest := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     family.manifest(),
		Config:        v1.Descriptor{MediaType: family.config()},
	}
	blobs := map[v1.Hash][]byte{}
	diffIDs := []v1.Hash{}
	for _, predicate := range []struct {
		kind string
		body any
	}{
		{predicateSPDX, map[string]any{
			"SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "name": "sbom",
			"documentNamespace": "https://example.invalid/" + image.Digest.Hex,
			"creationInfo":      map[string]any{"created": Created, "creators": []string{"Tool: lab"}},
			"packages":          []any{},
		}},
		{predicateProvenance, map[string]any{
			"builder": map[string]any{"id": ""}, "buildType": "https://mobyproject.org/buildkit@v1",
			"invocation": map[string]any{"configSource": map[string]any{"entryPoint": "Dockerfile"}},
			"metadata":   map[string]any{"buildStartedOn": Created, "buildFinishedOn": Created},
		}},
	} {
		blob, err := json.Marshal(map[string]any{
			"_type":         "https://in-toto.io/Statement/v0.1",
			"predicateType": predicate.kind,
			"subject":       []any{map[string]any{"name": "_", "digest": map[string]string{"sha256": image.Digest.Hex}}},
			"predicate":     predicate.body,
		})
		if err != nil {
			return nil, err
		}
		digest := digestOf(blob)
		blobs[digest] = blob
		diffIDs = append(diffIDs, digest)
		manifest.Layers = append(manifest.Layers, v1.Descriptor{
			MediaType: inToto, Digest: digest, Size: int64(len(blob)),
			Annotations: map[string]string{predicateType: predicate.kind},
		})
	}
	if len(form.smuggled) > 0 {
		blob, diffID, err := buildLayer(form.smuggled, Gzip)
		if err != nil {
			return nil, err
		}
		mediaType, err := family.layer(Gzip)
		if err != nil {
			return nil, err
		}
		digest := digestOf(blob)
		blobs[digest] = blob
		diffIDs = append(diffIDs, diffID)
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(blob))})
	}
	if form.artifact {
		manifest.ArtifactType = attestationType
		manifest.Config = v1.Descriptor{MediaType: types.OCIEmptyJSON, Data: []byte("{}")}
		manifest.Subject = &v1.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: image.Size}
		return assemble(manifest, []byte("{}"), blobs)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "unknown", "os": "unknown", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return nil, err
	}
	return assemble(manifest, config, blobs)
}
