package layers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// known are the media types of layers that are archives of files.
var known = map[types.MediaType]struct{}{
	types.OCILayer: {}, types.OCILayerZStd: {}, types.OCIUncompressedLayer: {},
	types.DockerLayer: {}, types.DockerUncompressedLayer: {},
}

// Layer is a layer of a checked image. Its bytes can be read once the store has
// fetched it.
type Layer struct {
	store      *Store
	descriptor v1.Descriptor
	diffID     v1.Hash
	open       Open
}

var errNotFetched = errors.New("the layer has not been fetched")

// Digest is that of the bytes as they were stored.
func (l *Layer) Digest() (v1.Hash, error) { return l.descriptor.Digest, nil }

// DiffID is the digest of the inflated bytes.
func (l *Layer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size is the number of bytes as they were stored.
func (l *Layer) Size() (int64, error) { return l.descriptor.Size, nil }

// MediaType is the one that the manifest states.
func (l *Layer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }

// Compressed opens the bytes as they were stored.
func (l *Layer) Compressed() (io.ReadCloser, error) {
	return l.store.openKept(l.descriptor.Digest, l.store.blobPath(l.descriptor.Digest))
}

// Uncompressed opens the inflated bytes.
func (l *Layer) Uncompressed() (io.ReadCloser, error) {
	return l.store.openKept(l.descriptor.Digest, l.store.layerPath(l.diffID))
}

// kept is a layer whose bytes have been verified and are on disk.
type kept struct{ diffID v1.Hash }

func (s *Store) blobPath(h v1.Hash) string {
	return filepath.Join(s.dir, "blobs", h.Algorithm+"-"+h.Hex)
}
func (s *Store) layerPath(h v1.Hash) string {
	return filepath.Join(s.dir, "layers", h.Algorithm+"-"+h.Hex)
}

func (s *Store) openKept(digest v1.Hash, path string) (io.ReadCloser, error) {
	s.mu.Lock()
	_, ok := s.kept[digest]
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: %s", errNotFetched, digest)
	}
	return os.Open(path)
}

// layer registers what a manifest and a config say of one layer. Only SHA-256
// is accepted, as nothing else is computed.
func (s *Store) layer(d v1.Descriptor, diffID v1.Hash, open Open) (*Layer, error) {
	for _, h := range []v1.Hash{d.Digest, diffID} {
		if h.Algorithm != "sha256" {
			return nil, refuse("layer %s: digests are to be sha256, not %q", d.Digest, h.Algorithm)
		}
	}
	return &Layer{store: s, descriptor: d, diffID: diffID, open: open}, nil
}

// Fetch reads every layer of the images that is not there yet, each distinct
// one once however many images have it. The first error ends the others.
func (s *Store) Fetch(ctx context.Context, images ...v1.Image) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Parallel)
	for _, img := range images {
		ls, err := img.Layers()
		if err != nil {
			return err
		}
		for _, l := range ls {
			one, ok := l.(*Layer)
			if !ok || one.store != s {
				return fmt.Errorf("a layer of another store cannot be fetched into this one")
			}
			group.Go(func() error { return s.fetch(ctx, one) })
		}
	}
	return group.Wait()
}

// fetch reads one layer unless it is there. Who asks for a layer that is under
// way waits for it.
func (s *Store) fetch(ctx context.Context, l *Layer) error {
	digest := l.descriptor.Digest
	_, err, _ := s.flights.Do(digest.String(), func() (any, error) {
		if s.find(digest) != nil {
			return nil, nil
		}
		if err := s.read(ctx, l); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept[digest] = &kept{diffID: l.diffID}
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	// What the first image said of the layer was verified. Another that says
	// something else is wrong.
	if k := s.find(digest); k == nil || k.diffID != l.diffID {
		return &CorruptError{digest, fmt.Sprintf("two configs state different diffIDs for it, one of them %s", l.diffID)}
	}
	return nil
}

func (s *Store) find(digest v1.Hash) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[digest]
}

// LinkUncompressed gives the inflated layer a second name, for readers that
// look for it in a folder of their own. Both names must be below the store's
// folder or on its file system.
func (s *Store) LinkUncompressed(diffID v1.Hash, path string) error {
	if err := os.Link(s.layerPath(diffID), path); err != nil {
		return fmt.Errorf("linking layer %s: %w", diffID, err)
	}
	return nil
}

// Blob is a blob that is no layer of files: kept as it came, verified.
type Blob struct {
	store      *Store
	descriptor v1.Descriptor
}

// Digest is the blob's digest.
func (b Blob) Digest() (v1.Hash, error) { return b.descriptor.Digest, nil }

// DiffID is the blob's digest too: it is not inflated.
func (b Blob) DiffID() (v1.Hash, error) { return b.descriptor.Digest, nil }

// Size is the number of its bytes.
func (b Blob) Size() (int64, error) { return b.descriptor.Size, nil }

// MediaType is the one that its manifest states.
func (b Blob) MediaType() (types.MediaType, error) { return b.descriptor.MediaType, nil }

// Compressed opens it.
func (b Blob) Compressed() (io.ReadCloser, error) {
	return os.Open(b.store.blobPath(b.descriptor.Digest))
}

// Uncompressed opens it as well.
func (b Blob) Uncompressed() (io.ReadCloser, error) { return b.Compressed() }

// MaxBlob bounds a blob that is no layer of files.
const MaxBlob = 256 << 20

// Blob reads a blob and keeps it as it is.
func (s *Store) Blob(ctx context.Context, d v1.Descriptor, open Open) (Blob, error) {
	if d.Digest.Algorithm != "sha256" {
		return Blob{}, refuse("blob %s: digests are to be sha256", d.Digest)
	}
	if d.Size < 0 || d.Size > MaxBlob {
		return Blob{}, refuse("blob %s has %d bytes, more than %d", d.Digest, d.Size, MaxBlob)
	}
	_, err, _ := s.flights.Do("blob "+d.Digest.String(), func() (any, error) {
		if _, err := os.Stat(s.blobPath(d.Digest)); err == nil {
			return nil, nil
		}
		return nil, s.readBlob(ctx, d, open)
	})
	if err != nil {
		return Blob{}, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return Blob{s, d}, nil
}
