package lab

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	sociType   = "application/vnd.amazon.soci.index.v2+json"
	sociPrefix = "com.amazon.soci."
)

// WithSOCI makes an index of the images as "soci convert" does: each image names its SOCI index
// in an annotation, and the index lists the SOCI indexes after the images, for the same platforms.
// The tables of contents in the SOCI indexes are placeholders. See
// https://github.com/awslabs/soci-snapshotter/blob/main/docs/soci-index-manifest-v2.md
func WithSOCI(images ...v1.Image) (v1.ImageIndex, error) {
	var converted, indexes []mutate.IndexAddendum
	for _, img := range images {
		soci, err := sociIndex(img)
		if err != nil {
			return nil, fmt.Errorf("creating a SOCI index: %w", err)
		}
		digest, err := soci.Digest()
		if err != nil {
			return nil, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		named, ok := mutate.Annotations(img, map[string]string{sociPrefix + "index-digest": digest.String()}).(v1.Image)
		if !ok {
			return nil, fmt.Errorf("creating a SOCI index: annotating %s did not return an image", digest)
		}
		of, err := named.Digest()
		if err != nil {
			return nil, err
		}
		converted = append(converted, mutate.IndexAddendum{Add: named, Descriptor: v1.Descriptor{Platform: config.Platform()}})
		indexes = append(indexes, mutate.IndexAddendum{Add: soci, Descriptor: v1.Descriptor{Platform: config.Platform(), ArtifactType: sociType,
			Annotations: map[string]string{sociPrefix + "image-manifest-digest": of.String()}}})
	}
	return fix(mutate.AppendManifests(empty.Index, append(converted, indexes...)...))
}

// sociIndex makes the SOCI index for the layers of one image.
func sociIndex(img v1.Image) (v1.Image, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	soci := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: sociType, Config: v1.Descriptor{MediaType: sociType}}
	blobs := map[v1.Hash][]byte{}
	for _, l := range m.Layers {
		blob := []byte("ztoc of " + l.Digest.String())
		digest := digestOf(blob)
		blobs[digest] = blob
		soci.Layers = append(soci.Layers, v1.Descriptor{MediaType: "application/octet-stream", Digest: digest, Size: int64(len(blob)),
			Annotations: map[string]string{sociPrefix + "image-layer-digest": l.Digest.String(), sociPrefix + "image-layer-mediaType": string(l.MediaType)}})
	}
	return assemble(soci, []byte("{}"), blobs)
}
