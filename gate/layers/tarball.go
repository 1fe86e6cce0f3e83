package layers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// FromTarball returns an image that a container engine saved to an archive or returned from its
// daemon. Such an image has a config and layers, but no manifest. FromTarball makes a manifest that
// lists the decompressed layers, so that its digest depends only on the content.
//
// Compressed layers in the archive are decompressed for the same reason. FromTarball reads all
// layers. It returns the same errors as Image and Fetch.
func (s *Store) FromTarball(ctx context.Context, src v1.Image) (v1.Image, error) {
	rawConfig, err := src.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	if len(rawConfig) > MaxConfig {
		return nil, refuse("the config has %d bytes, the limit is %d", len(rawConfig), MaxConfig)
	}
	var config v1.ConfigFile
	if err := decode(rawConfig, configShape, &config); err != nil {
		return nil, refuse("parsing the config: %v", err)
	}
	sources, err := src.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing the layers: %w", err)
	}
	diffIDs := config.RootFS.DiffIDs
	if len(sources) > MaxLayers || len(sources) != len(diffIDs) {
		return nil, refuse("the config lists %d diffIDs, but the image has %d layers (the limit is %d layers)", len(diffIDs), len(sources), MaxLayers)
	}

	out := &image{config: rawConfig, layers: make([]*Layer, len(sources))}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Parallel)
	for i, source := range sources {
		group.Go(func() (err error) {
			open := func(context.Context) (io.ReadCloser, error) { return source.Uncompressed() }
			if out.layers[i], err = s.ingest(gctx, diffIDs[i], types.DockerUncompressedLayer, open); err != nil {
				return fmt.Errorf("reading layer %d: %w", i, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := out.describe(); err != nil {
		return nil, err
	}
	return out, nil
}

// describe makes the manifest, which lists the image's config and layers.
func (i *image) describe() error {
	digest, size, err := v1.SHA256(bytes.NewReader(i.config))
	if err != nil {
		return err
	}
	i.manifest = &v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.DockerManifestSchema2,
		Config:        v1.Descriptor{MediaType: types.DockerConfigJSON, Digest: digest, Size: size},
		Layers:        []v1.Descriptor{},
	}
	for _, l := range i.layers {
		i.manifest.Layers = append(i.manifest.Layers, l.descriptor)
	}
	if i.raw, err = json.Marshal(i.manifest); err != nil {
		return err
	}
	i.descriptor.MediaType = i.manifest.MediaType
	i.descriptor.Digest, i.descriptor.Size, err = v1.SHA256(bytes.NewReader(i.raw))
	return err
}

// Ingest reads a decompressed layer, such as one from a container engine, and verifies its diffID.
// The result is an uncompressed layer whose digest is the diffID. mediaType must be the Docker or
// OCI type for uncompressed layers. The caller need not call Fetch for the layer.
func (s *Store) Ingest(ctx context.Context, diffID v1.Hash, mediaType types.MediaType, open Open) (v1.Layer, error) {
	l, err := s.ingest(ctx, diffID, mediaType, open)
	if err != nil { // do not return a nil *Layer in a non-nil interface
		return nil, err
	}
	return l, nil
}

func (s *Store) ingest(ctx context.Context, diffID v1.Hash, mediaType types.MediaType, open Open) (*Layer, error) {
	if mediaType != types.DockerUncompressedLayer && mediaType != types.OCIUncompressedLayer {
		return nil, refuse("%q is not the media type of an uncompressed layer", mediaType)
	}
	if err := checkAlgorithm(diffID); err != nil {
		return nil, err
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: diffID, Size: sizeUnknown}
	err := s.once(ctx, layerKey(diffID), func() error { return s.readPlain(ctx, d, serialized(open), nil) })
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", diffID, err)
	}
	info, err := os.Stat(s.blobPath(diffID))
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", diffID, err)
	}
	d.Size = info.Size()
	return s.layer(d, diffID, open)
}

// serialized delays Close until a running Read returns. Some decompressors of archives cannot be
// closed during a Read. The delay is short, because reads of files do not block.
func serialized(open Open) Open {
	return func(ctx context.Context) (io.ReadCloser, error) {
		rc, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return &serial{rc: rc}, nil
	}
}

type serial struct {
	mu sync.Mutex
	rc io.ReadCloser
}

func (s *serial) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rc.Read(p)
}

func (s *serial) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rc.Close()
}
