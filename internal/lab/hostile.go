package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Edit returns a copy of an image with a changed manifest and config. In the manifest, it updates
// only the digest and size of the config. Other values may then contradict each other.
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

// editLast calls Edit with a function that changes the last layer's descriptor and diffID.
func editLast(img v1.Image, change func(layer *v1.Descriptor, diffID *v1.Hash)) (v1.Image, error) {
	return Edit(img, func(m *v1.Manifest, c *v1.ConfigFile) error {
		if len(m.Layers) == 0 || len(m.Layers) != len(c.RootFS.DiffIDs) {
			return errors.New("the image has no layers")
		}
		change(&m.Layers[len(m.Layers)-1], &c.RootFS.DiffIDs[len(c.RootFS.DiffIDs)-1])
		return nil
	})
}

// ForeignLayer makes the last layer a foreign layer, which clients must fetch from the URL. The
// layer is not pushed. A registry accepts the image only with the option ForeignURLs.
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

// LayerURLs adds URLs to the last layer, which stays an ordinary layer in the registry. Some
// clients prefer the URLs. A registry accepts the image only with the option ForeignURLs.
func LayerURLs(img v1.Image, urls ...string) (v1.Image, error) {
	return editLast(img, func(layer *v1.Descriptor, _ *v1.Hash) { layer.URLs = urls })
}

// WrongDiffID replaces the diffID of the last layer with a wrong one.
func WrongDiffID(img v1.Image) (v1.Image, error) {
	return editLast(img, func(_ *v1.Descriptor, diffID *v1.Hash) { *diffID = digestOf([]byte(diffID.String())) })
}

// WrongSize adds off to the size that the manifest lists for the last layer.
func WrongSize(img v1.Image, off int64) (v1.Image, error) {
	return editLast(img, func(layer *v1.Descriptor, _ *v1.Hash) { layer.Size += off })
}

// WithSmuggledLayer is [WithAttestations] with an additional tar layer next to the statements. The
// layer hides files in a manifest that scanners ignore.
func WithSmuggledLayer(index v1.ImageIndex, files ...File) (v1.ImageIndex, error) {
	if len(files) == 0 {
		return nil, errors.New("attesting an index: no files are given to hide in it")
	}
	return attest(index, attestations{smuggled: files})
}

// readAll reads an opened layer to the end and closes it.
func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}
