package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Edit returns a copy of an image whose manifest and config were changed by
// hand, with nothing brought back in line but the config's own digest.
func Edit(img v1.Image, change func(*v1.Manifest, *v1.ConfigFile) error) (v1.Image, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("editing an image: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("editing an image: %w", err)
	}
	blobs, err := compressedBlobs(img)
	if err != nil {
		return nil, fmt.Errorf("editing an image: %w", err)
	}
	manifest, config = manifest.DeepCopy(), config.DeepCopy()
	if err := change(manifest, config); err != nil {
		return nil, fmt.Errorf("editing an image: %w", err)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("editing an image: %w", err)
	}
	return assemble(*manifest, raw, blobs)
}

// editLast is Edit for the last layer.
func editLast(img v1.Image, change func(layer *v1.Descriptor, diffID *v1.Hash)) (v1.Image, error) {
	return Edit(img, func(m *v1.Manifest, c *v1.ConfigFile) error {
		if len(m.Layers) == 0 || len(m.Layers) != len(c.RootFS.DiffIDs) {
			return errors.New("it has no last layer")
		}
		change(&m.Layers[len(m.Layers)-1], &c.RootFS.DiffIDs[len(c.RootFS.DiffIDs)-1])
		return nil
	})
}

// ForeignLayer declares the last layer not distributable and to be fetched
// from the URL; it is not pushed. A registry takes it only with ForeignURLs.
func ForeignLayer(img v1.Image, url string) (v1.Image, error) {
	return editLast(img, func(layer *v1.Descriptor, _ *v1.Hash) {
		foreign := map[types.MediaType]types.MediaType{
			types.DockerLayer:          types.DockerForeignLayer,
			types.OCIUncompressedLayer: types.OCIUncompressedRestrictedLayer,
		}[layer.MediaType]
		if foreign == "" {
			foreign = types.OCIRestrictedLayer
		}
		layer.MediaType, layer.URLs = foreign, []string{url}
	})
}

// LayerURLs leaves the last layer what it is, and in the registry, and adds
// URLs to it: some clients prefer them. A registry takes it only with
// ForeignURLs.
func LayerURLs(img v1.Image, urls ...string) (v1.Image, error) {
	return editLast(img, func(layer *v1.Descriptor, _ *v1.Hash) { layer.URLs = urls })
}

// WrongDiffID states a digest of the last layer's content that is not its own.
func WrongDiffID(img v1.Image) (v1.Image, error) {
	return editLast(img, func(_ *v1.Descriptor, diffID *v1.Hash) { *diffID = digestOf([]byte(diffID.String())) })
}

// WrongSize states a size of the last layer's blob that is off by so many
// bytes.
func WrongSize(img v1.Image, off int64) (v1.Image, error) {
	return editLast(img, func(layer *v1.Descriptor, _ *v1.Hash) { layer.Size += off })
}

// WithSmuggledLayer is [WithAttestations] with a tar layer beside the
// statements: a file system that hides where nobody looks for one.
func WithSmuggledLayer(index v1.ImageIndex, files ...File) (v1.ImageIndex, error) {
	if len(files) == 0 {
		return nil, errors.New("attesting an index: no files to smuggle")
	}
	return attest(index, attestations{smuggled: files})
}

// readAll reads and closes what a layer has opened.
func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}
