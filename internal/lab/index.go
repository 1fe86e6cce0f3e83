package lab

import (
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Index makes an index of the images in the given order. The platform of each image comes from its
// config. If all images are Docker images, the index is a Docker manifest list, otherwise an OCI
// index.
func Index(images ...v1.Image) (v1.ImageIndex, error) {
	mediaType := types.DockerManifestList
	if len(images) == 0 {
		mediaType = types.OCIImageIndex
	}
	var children []mutate.IndexAddendum
	for i, img := range images {
		child, err := img.MediaType()
		if err != nil {
			return nil, fmt.Errorf("building an index: image %d: %w", i, err)
		}
		if child != types.DockerManifestSchema2 {
			mediaType = types.OCIImageIndex
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("building an index: image %d: %w", i, err)
		}
		children = append(children, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: config.Platform()}})
	}
	return fix(mutate.AppendManifests(mutate.IndexMediaType(empty.Index, mediaType), children...))
}

// fix computes the content of a lazy index immediately, so that the result can be used
// concurrently, and errors appear here and not later.
func fix(index v1.ImageIndex) (v1.ImageIndex, error) {
	if _, err := index.Digest(); err != nil {
		return nil, fmt.Errorf("building an index: %w", err)
	}
	return index, nil
}

// imagesOf returns the descriptors of the platform images in an index.
func imagesOf(index v1.ImageIndex) ([]v1.Descriptor, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var out []v1.Descriptor
	for _, desc := range manifest.Manifests {
		if desc.Platform != nil && desc.Platform.OS != "unknown" {
			out = append(out, desc)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the index has no image")
	}
	return out, nil
}

// compressedBlobs reads the layers of an image, except foreign layers.
func compressedBlobs(img v1.Image) (map[v1.Hash][]byte, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	blobs := map[v1.Hash][]byte{}
	for _, layer := range layers {
		desc, err := partial.Descriptor(layer)
		if err != nil {
			return nil, err
		}
		if !desc.MediaType.IsDistributable() {
			continue
		}
		if blobs[desc.Digest], err = readAll(layer.Compressed()); err != nil {
			return nil, fmt.Errorf("reading layer %s: %w", desc.Digest, err)
		}
	}
	return blobs, nil
}
