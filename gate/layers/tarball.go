package layers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// FromTarball makes an image of one that was saved by a container engine, from
// an archive or a daemon. Such an image has a config and inflated layers, and
// no manifest; it gets one over the layers as they are, so that its digest
// follows from its content and not from who compresses it. All its layers are
// read on the way.
func (s *Store) FromTarball(ctx context.Context, src v1.Image) (v1.Image, error) {
	rawConfig, err := src.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	var config v1.ConfigFile
	if err := json.Unmarshal(rawConfig, &config); err != nil {
		return nil, refuse("parsing the config: %v", err)
	}
	sources, err := src.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing the layers: %w", err)
	}
	if len(rawConfig) > MaxConfig || len(sources) > MaxLayers || len(sources) != len(config.RootFS.DiffIDs) {
		return nil, refuse("the config has %d bytes and %d diffIDs for %d layers", len(rawConfig), len(config.RootFS.DiffIDs), len(sources))
	}
	digest, size, err := v1.SHA256(bytes.NewReader(rawConfig))
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.DockerManifestSchema2,
		Config:        v1.Descriptor{MediaType: types.DockerConfigJSON, Digest: digest, Size: size},
		Layers:        []v1.Descriptor{},
	}
	out := &image{config: rawConfig}
	for i, source := range sources {
		size, err := s.ingest(ctx, config.RootFS.DiffIDs[i], source.Uncompressed)
		if err != nil {
			return nil, fmt.Errorf("reading layer %d: %w", i, err)
		}
		d := v1.Descriptor{MediaType: types.DockerUncompressedLayer, Digest: config.RootFS.DiffIDs[i], Size: size}
		l, err := s.layer(d, d.Digest, nil)
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, d)
		out.layers = append(out.layers, l)
	}
	if out.raw, err = json.Marshal(m); err != nil {
		return nil, err
	}
	out.manifest = &m
	if out.descriptor.Digest, out.descriptor.Size, err = v1.SHA256(bytes.NewReader(out.raw)); err != nil {
		return nil, err
	}
	out.descriptor.MediaType = m.MediaType
	return out, nil
}

// ingest keeps an inflated layer, which is then its own blob.
func (s *Store) ingest(ctx context.Context, diffID v1.Hash, open func() (io.ReadCloser, error)) (size int64, err error) {
	if diffID.Algorithm != "sha256" {
		return 0, refuse("layer %s: digests are to be sha256", diffID)
	}
	if s.find(diffID) == nil {
		if err := s.ingestOnce(ctx, diffID, open); err != nil {
			return 0, err
		}
	}
	info, err := os.Stat(s.blobPath(diffID))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (s *Store) ingestOnce(ctx context.Context, diffID v1.Hash, open func() (io.ReadCloser, error)) (err error) {
	s.fetches.Add(1)
	rc, err := open()
	if err != nil {
		return err
	}
	defer rc.Close()
	stop := context.AfterFunc(ctx, func() { rc.Close() })
	defer stop()
	f, err := s.create(s.blobPath(diffID))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.discard()) }()
	n, err := io.Copy(f, io.LimitReader(rc, s.opts.MaxLayer+1))
	s.fetched.Add(n)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case n > s.opts.MaxLayer:
		return fmt.Errorf("%w: the layer has more than %d bytes", ErrTooLarge, s.opts.MaxLayer)
	}
	if got := f.digest(); got != diffID {
		return &CorruptError{diffID, fmt.Sprintf("its bytes hash to %s", got)}
	}
	if err := f.keep(); err != nil {
		return err
	}
	return s.plain(diffID)
}

// plain makes a blob that is not compressed its own inflated form.
func (s *Store) plain(digest v1.Hash) error {
	if err := os.Link(s.blobPath(digest), s.layerPath(digest)); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[digest] = &kept{diffID: digest}
	return nil
}
