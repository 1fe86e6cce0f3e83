package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Created is the creation time of every image. It is constant, so that digests are the same on
// every run.
var Created = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// MediaTypes selects the media types of a manifest and its parts: OCI's or Docker's.
type MediaTypes int

const (
	OCI    MediaTypes = iota // image manifests of the OCI image specification
	Docker                   // Docker image manifests, version 2, schema 2
)

// ImageSpec describes an image for one platform. The zero value is an image for linux/amd64 without
// layers. The first layer holds the installed parts: the os-release file, the packages and the Go
// binary. The layers in Layers follow, and Files is the last layer.
type ImageSpec struct {
	// Platform is os/arch or os/arch/variant. Default: "linux/amd64".
	Platform string
	// OSRelease has the ID and VERSION_ID of the os-release file, such as "debian 12", "alpine
	// 3.20.3" or "wolfi 20230201". The version is optional. Default: the image has no os-release
	// file.
	OSRelease string
	// DebPackages are installed in /var/lib/dpkg.
	DebPackages []Deb
	// ApkPackages are installed in /lib/apk/db.
	ApkPackages []Apk
	// NPM are installed in /usr/lib/node_modules.
	NPM []NPM
	// GoBinary is the content of an executable, which becomes the entry point. Default: no
	// executable.
	GoBinary []byte
	// GoBinaryPath is the path of the executable. Default: "/usr/local/bin/app".
	GoBinaryPath string
	// Layers are further layers, the lowest first.
	Layers [][]File
	// Files are the files of an additional top layer. Default: no such layer.
	Files []File

	Env    []string // variables, as "NAME=value"
	User   string   // empty means root
	Labels map[string]string

	// Compression is the compression of every layer. Default: Gzip.
	Compression Compression
	// MediaTypes selects the media types. Default: OCI. Docker's media types do not support Zstd.
	MediaTypes MediaTypes
}

// Image builds the image. The same spec gives the same digest.
func Image(spec ImageSpec) (v1.Image, error) {
	if spec.Platform == "" {
		spec.Platform = "linux/amd64"
	}
	platform, err := v1.ParsePlatform(spec.Platform)
	if err != nil || platform.OS == "" || platform.Architecture == "" {
		return nil, fmt.Errorf("building an image: %q is not a platform", spec.Platform)
	}
	layers := spec.Layers
	installed, err := install(spec, platform.Architecture)
	if err != nil {
		return nil, fmt.Errorf("building an image: %w", err)
	}
	if len(installed) > 0 {
		layers = append([][]File{installed}, layers...)
	}
	if len(spec.Files) > 0 {
		layers = append(layers[:len(layers):len(layers)], spec.Files)
	}
	config := v1.ConfigFile{
		Architecture: platform.Architecture,
		OS:           platform.OS,
		Variant:      platform.Variant,
		OSVersion:    platform.OSVersion,
		Created:      v1.Time{Time: Created},
		Config:       v1.Config{Env: spec.Env, User: spec.User, Labels: spec.Labels},
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
	}
	if len(spec.GoBinary) > 0 {
		config.Config.Entrypoint = []string{spec.binaryPath()}
	}
	manifest := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     spec.MediaTypes.manifest(),
		Config:        v1.Descriptor{MediaType: spec.MediaTypes.config()},
		Layers:        []v1.Descriptor{},
	}
	mediaType, err := spec.MediaTypes.layer(spec.Compression)
	if err != nil {
		return nil, fmt.Errorf("building an image: %w", err)
	}
	blobs := map[v1.Hash][]byte{}
	for i, files := range layers {
		blob, diffID, err := buildLayer(files, spec.Compression)
		if err != nil {
			return nil, fmt.Errorf("building layer %d of an image: %w", i, err)
		}
		digest := digestOf(blob)
		blobs[digest] = blob
		manifest.Layers = append(manifest.Layers, v1.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(blob))})
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		config.History = append(config.History, v1.History{Created: v1.Time{Time: Created}, CreatedBy: fmt.Sprintf("COPY layer%d / # lab", i)})
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	return assemble(manifest, raw, blobs)
}

func (s ImageSpec) binaryPath() string {
	if s.GoBinaryPath == "" {
		return "/usr/local/bin/app"
	}
	return "/" + strings.TrimPrefix(s.GoBinaryPath, "/")
}

func (m MediaTypes) manifest() types.MediaType {
	if m == Docker {
		return types.DockerManifestSchema2
	}
	return types.OCIManifestSchema1
}

func (m MediaTypes) config() types.MediaType {
	if m == Docker {
		return types.DockerConfigJSON
	}
	return types.OCIConfigJSON
}

func (m MediaTypes) layer(c Compression) (types.MediaType, error) {
	known := map[MediaTypes]map[Compression]types.MediaType{
		OCI:    {Gzip: types.OCILayer, Zstd: types.OCILayerZStd, Uncompressed: types.OCIUncompressedLayer},
		Docker: {Gzip: types.DockerLayer, Uncompressed: types.DockerUncompressedLayer},
	}
	mediaType, ok := known[m][c]
	if !ok {
		return "", errors.New("these media types do not support this compression")
	}
	return mediaType, nil
}

// assemble returns an image with this manifest, config and these blobs. It sets the digest and size
// of the config, and checks nothing else, so that it can also build the images of a hostile
// registry.
func assemble(manifest v1.Manifest, config []byte, blobs map[v1.Hash][]byte) (v1.Image, error) {
	manifest.Config.Digest = digestOf(config)
	manifest.Config.Size = int64(len(config))
	raw, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	return partial.CompressedToImage(&core{manifest: manifest, raw: raw, config: config, blobs: blobs})
}

// core is an image in memory: the manifest and the blobs as a registry stores them.
type core struct {
	manifest v1.Manifest
	raw      []byte
	config   []byte
	blobs    map[v1.Hash][]byte
}

func (c *core) MediaType() (types.MediaType, error) { return c.manifest.MediaType, nil }
func (c *core) RawManifest() ([]byte, error)        { return c.raw, nil }
func (c *core) RawConfigFile() ([]byte, error)      { return c.config, nil }

func (c *core) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == c.manifest.Config.Digest {
		return partial.ConfigLayer(c)
	}
	for i, desc := range c.manifest.Layers {
		if desc.Digest == h {
			return &blobLayer{image: c, index: i}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

// blobLayer is one layer of core. Its digest, media type and diffID come from the manifest and
// config, even if they are wrong, as for an image in a registry. Its size is the real size of the
// blob if the blob exists, because a blob with a wrong size cannot be pushed.
type blobLayer struct {
	image *core
	index int
}

func (l *blobLayer) desc() v1.Descriptor                 { return l.image.manifest.Layers[l.index] }
func (l *blobLayer) Digest() (v1.Hash, error)            { return l.desc().Digest, nil }
func (l *blobLayer) MediaType() (types.MediaType, error) { return l.desc().MediaType, nil }
func (l *blobLayer) Descriptor() (*v1.Descriptor, error) { desc := l.desc(); return &desc, nil }

func (l *blobLayer) Compressed() (io.ReadCloser, error) {
	blob, ok := l.image.blobs[l.desc().Digest]
	if !ok {
		return nil, fmt.Errorf("layer %s has only URLs, and its content is not in this image", l.desc().Digest)
	}
	return io.NopCloser(bytes.NewReader(blob)), nil
}

func (l *blobLayer) Size() (int64, error) {
	if blob, ok := l.image.blobs[l.desc().Digest]; ok {
		return int64(len(blob)), nil
	}
	return l.desc().Size, nil
}

func (l *blobLayer) DiffID() (v1.Hash, error) {
	var config v1.ConfigFile
	if err := json.Unmarshal(l.image.config, &config); err != nil {
		return v1.Hash{}, err
	}
	if l.index >= len(config.RootFS.DiffIDs) {
		return v1.Hash{}, fmt.Errorf("the config has no diffID for layer %d", l.index)
	}
	return config.RootFS.DiffIDs[l.index], nil
}
