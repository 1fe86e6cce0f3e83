package layers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/registry"
)

// Size limits of an image.
const (
	MaxConfig = 8 << 20 // maximum size of a config, in bytes
	MaxLayers = 1024
)

// Image checks the manifest and the config of src. It returns an image with the same manifest and
// config bytes, whose layers the store serves. The manifest is verified against the descriptor d,
// and the config against the manifest. Image reads no layers; see [Store.Fetch].
//
// A *CorruptError means that content does not match its digest, size or diffID. A *RefusedError
// means that imagegate does not promote this kind of image. Errors of src are wrapped.
func (s *Store) Image(ctx context.Context, d v1.Descriptor, src v1.Image) (v1.Image, error) {
	if mt, err := src.MediaType(); err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", d.Digest, err)
	} else if mt != d.MediaType {
		return nil, refuse("the media type of manifest %s is %q in the index but %q in the response of the registry", d.Digest, d.MediaType, mt)
	}
	raw, err := src.RawManifest()
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", d.Digest, err)
	}
	m, err := checkManifest(d, raw)
	if err != nil {
		return nil, err
	}
	if m.Config.Size < 0 || m.Config.Size > MaxConfig {
		return nil, refuse("the config of %s has %d bytes, the limit is %d", d.Digest, m.Config.Size, MaxConfig)
	}
	rawConfig, err := src.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading config %s of %s: %w", m.Config.Digest, d.Digest, err)
	}
	config, err := checkConfig(m, rawConfig)
	if err != nil {
		return nil, err
	}
	out := &image{descriptor: d, manifest: m, raw: raw, config: rawConfig}
	sources, err := src.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing the layers of %s: %w", d.Digest, err)
	}
	if len(sources) != len(m.Layers) {
		return nil, refuse("the manifest of %s lists %d layers, but the registry or archive provides %d", d.Digest, len(m.Layers), len(sources))
	}
	for i, l := range m.Layers {
		source := sources[i]
		one, err := s.layer(l, config.RootFS.DiffIDs[i], func(context.Context) (io.ReadCloser, error) { return source.Compressed() })
		if err != nil {
			return nil, err
		}
		out.layers = append(out.layers, one)
	}
	return out, nil
}

// SOCIIndex is an annotation in the manifest of an image. Its value is the digest of the image's
// SOCI index:
// https://github.com/awslabs/soci-snapshotter/blob/main/docs/soci-index-manifest-v2.md
const SOCIIndex = "com.amazon.soci.index-digest"

// legacyConfigs are media types that some old clients and registries use for the config of an
// image. Docker runs images with any of them, and containerd runs images with
// application/octet-stream: https://github.com/moby/moby/blob/v28.0.0/distribution/config.go
// https://github.com/containerd/containerd/blob/v2.0.0/core/remotes/docker/converter.go
var legacyConfigs = map[types.MediaType]bool{
	"application/octet-stream": true, "application/json": true, "text/html": true, "": true,
}

// checkManifest compares a manifest with its descriptor. It refuses a manifest if its layers cannot
// be cataloged, or if reading them would contact other hosts than the registry.
func checkManifest(d v1.Descriptor, raw []byte) (*v1.Manifest, error) {
	if len(raw) > registry.MaxManifest {
		return nil, refuse("manifest %s has %d bytes, the limit is %d", d.Digest, len(raw), registry.MaxManifest)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if digest != d.Digest {
		return nil, &CorruptError{d.Digest, fmt.Sprintf("the content of the manifest has the different digest %s", digest)}
	}
	if d.Size != 0 && d.Size != size {
		return nil, &CorruptError{d.Digest, fmt.Sprintf("the manifest has %d bytes, but its descriptor lists %d", size, d.Size)}
	}
	var m struct {
		v1.Manifest
		Manifests json.RawMessage `json:"manifests"`
	}
	if err := decode(raw, manifestShape, &m); err != nil {
		return nil, refuse("parsing manifest %s: %v", d.Digest, err)
	}
	switch {
	case !d.MediaType.IsImage():
		return nil, refuse("manifest %s has media type %q, which is not the type of an image", d.Digest, d.MediaType)
	case m.MediaType != "" && m.MediaType != d.MediaType:
		return nil, refuse("the media type of manifest %s is %q in its descriptor but %q in the manifest", d.Digest, d.MediaType, m.MediaType)
	case m.SchemaVersion != 2:
		return nil, refuse("manifest %s has schema version %d, not 2", d.Digest, m.SchemaVersion)
	case m.Manifests != nil:
		return nil, refuse("image manifest %s has the field manifests, which only an index may have", d.Digest)
	case m.Subject != nil:
		// Pushing a referrer attaches it to its subject, another image. On a registry without a
		// referrers API, pushing it would also change the referrers fallback tag of that image.
		return nil, refuse("manifest %s is a referrer of %s, not an image", d.Digest, m.Subject.Digest)
	}
	if !m.Config.MediaType.IsConfig() && (!legacyConfigs[m.Config.MediaType] || m.ArtifactType != "") {
		return nil, refuse("manifest %s describes an artifact, not an image: its config has media type %q", d.Digest, m.Config.MediaType)
	}
	if len(m.Layers) > MaxLayers {
		return nil, refuse("manifest %s lists %d layers, the limit is %d", d.Digest, len(m.Layers), MaxLayers)
	}
	if len(m.Config.URLs) > 0 {
		return nil, refuse("config %s of %s has URLs outside the registry", m.Config.Digest, d.Digest)
	}
	for _, l := range m.Layers {
		// A foreign layer is stored outside the registry. The builder of the image did not push it,
		// and it would not be copied to the approved registry.
		if len(l.URLs) > 0 || !l.MediaType.IsDistributable() {
			return nil, refuse("layer %s of %s is a foreign layer: runtimes download it from outside the registry", l.Digest, d.Digest)
		}
		if _, ok := known[l.MediaType]; !ok {
			return nil, refuse("layer %s of %s cannot be cataloged: unsupported media type %q", l.Digest, d.Digest, l.MediaType)
		}
		if l.Size < 0 {
			return nil, refuse("layer %s of %s has a negative size: %d", l.Digest, d.Digest, l.Size)
		}
		if err := checkLazy("layer", l.Digest, l.Annotations); err != nil {
			return nil, err
		}
	}
	if err := checkLazy("manifest", d.Digest, m.Annotations); err != nil {
		return nil, err
	}
	return &m.Manifest, nil
}

func checkConfig(m *v1.Manifest, raw []byte) (*v1.ConfigFile, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if digest != m.Config.Digest || size != m.Config.Size {
		return nil, &CorruptError{m.Config.Digest, fmt.Sprintf("the config has %d bytes and digest %s, but the manifest lists %d bytes", size, digest, m.Config.Size)}
	}
	var config v1.ConfigFile
	if err := decode(raw, configShape, &config); err != nil {
		return nil, refuse("parsing config %s: %v", m.Config.Digest, err)
	}
	// These media types are also used for other documents, so rootfs.type must show that the
	// content is the config of an image.
	if !m.Config.MediaType.IsConfig() && config.RootFS.Type != "layers" {
		return nil, refuse("config %s with media type %q is not the config of an image: its rootfs has type %q, not \"layers\"",
			m.Config.Digest, m.Config.MediaType, config.RootFS.Type)
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil, refuse("config %s has %d diffIDs, but the manifest lists %d layers", m.Config.Digest, len(config.RootFS.DiffIDs), len(m.Layers))
	}
	return &config, nil
}

// image is a checked image whose layers the store serves.
type image struct {
	descriptor v1.Descriptor
	manifest   *v1.Manifest
	raw        []byte
	config     []byte
	layers     []*Layer
}

var errNoSuchLayer = errors.New("the image does not have this layer")

func (i *image) MediaType() (types.MediaType, error) { return i.descriptor.MediaType, nil }
func (i *image) Digest() (v1.Hash, error)            { return i.descriptor.Digest, nil }
func (i *image) Size() (int64, error)                { return int64(len(i.raw)), nil }
func (i *image) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *image) Manifest() (*v1.Manifest, error)     { return i.manifest.DeepCopy(), nil }
func (i *image) RawConfigFile() ([]byte, error)      { return i.config, nil }
func (i *image) ConfigName() (v1.Hash, error)        { return i.manifest.Config.Digest, nil }
func (i *image) ConfigFile() (*v1.ConfigFile, error) {
	return v1.ParseConfigFile(bytes.NewReader(i.config))
}

func (i *image) Layers() ([]v1.Layer, error) {
	out := make([]v1.Layer, len(i.layers))
	for n, l := range i.layers {
		out[n] = l
	}
	return out, nil
}

func (i *image) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if h == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	for _, l := range i.layers {
		if l.descriptor.Digest == h {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", errNoSuchLayer, h)
}

func (i *image) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	for _, l := range i.layers {
		if l.diffID == h {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", errNoSuchLayer, h)
}

// NewImage returns an image with the given manifest. open opens a blob by its descriptor, as in an
// OCI layout. NewImage verifies nothing: pass the result to [Store.Image].
func NewImage(mediaType types.MediaType, manifest []byte, open func(v1.Descriptor) (io.ReadCloser, error)) (v1.Image, error) {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return nil, refuse("parsing the manifest of an image: %v", err)
	}
	return partial.CompressedToImage(&stored{mediaType, manifest, m, open})
}

type stored struct {
	mediaType types.MediaType
	raw       []byte
	manifest  *v1.Manifest
	open      func(v1.Descriptor) (io.ReadCloser, error)
}

func (s *stored) MediaType() (types.MediaType, error) { return s.mediaType, nil }
func (s *stored) RawManifest() ([]byte, error)        { return s.raw, nil }

func (s *stored) RawConfigFile() (_ []byte, err error) {
	rc, err := s.open(s.manifest.Config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	return io.ReadAll(io.LimitReader(rc, MaxConfig+1))
}

func (s *stored) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range s.manifest.Layers {
		if d.Digest == h {
			return &storedLayer{d, s.open}, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", errNoSuchLayer, h)
}

type storedLayer struct {
	descriptor v1.Descriptor
	open       func(v1.Descriptor) (io.ReadCloser, error)
}

func (l *storedLayer) Digest() (v1.Hash, error)            { return l.descriptor.Digest, nil }
func (l *storedLayer) Size() (int64, error)                { return l.descriptor.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }
func (l *storedLayer) Compressed() (io.ReadCloser, error)  { return l.open(l.descriptor) }
