package layers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// known is the set of media types for layers that are archives of files.
var known = map[types.MediaType]struct{}{
	types.OCILayer: {}, types.OCILayerZStd: {}, types.OCIUncompressedLayer: {},
	types.DockerLayer: {}, types.DockerUncompressedLayer: {}, dockerLayerZstd: {},
}

// dockerLayerZstd is the media type that BuildKit uses with compression=zstd and
// oci-mediatypes=false.
const dockerLayerZstd types.MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd"

// Layer is a layer of a checked image. Its bytes can be read after the store has fetched the layer.
type Layer struct {
	store      *Store
	descriptor v1.Descriptor
	diffID     v1.Hash
	open       Open
}

var errNotFetched = errors.New("the layer has not been fetched")

// Digest returns the digest of the stored bytes.
func (l *Layer) Digest() (v1.Hash, error) { return l.descriptor.Digest, nil }

// DiffID returns the digest of the decompressed bytes.
func (l *Layer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size returns the number of stored bytes.
func (l *Layer) Size() (int64, error) { return l.descriptor.Size, nil }

// MediaType returns the media type in the manifest.
func (l *Layer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }

// Fetch reads the layer if the store does not have it yet; see [Store.Fetch].
func (l *Layer) Fetch(ctx context.Context) error { return l.store.fetch(ctx, l, nil) }

// Compressed opens the stored bytes.
func (l *Layer) Compressed() (io.ReadCloser, error) {
	return l.store.openKept(l.descriptor.Digest, l.store.blobPath(l.descriptor.Digest))
}

// Uncompressed opens the decompressed bytes.
func (l *Layer) Uncompressed() (io.ReadCloser, error) {
	return l.store.openKept(l.descriptor.Digest, l.store.layerPath(l.diffID))
}

func (s *Store) blobPath(h v1.Hash) string {
	return filepath.Join(s.dir, blobsDir, h.Algorithm+"-"+h.Hex)
}
func (s *Store) layerPath(h v1.Hash) string {
	return filepath.Join(s.dir, layersDir, h.Algorithm+"-"+h.Hex)
}

func layerKey(digest v1.Hash) string { return "layer " + digest.String() }
func blobKey(digest v1.Hash) string  { return "blob " + digest.String() }

func (s *Store) openKept(digest v1.Hash, path string) (io.ReadCloser, error) {
	if !s.has(layerKey(digest)) {
		return nil, fmt.Errorf("%w: %s", errNotFetched, digest)
	}
	return os.Open(path)
}

func (s *Store) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.kept[key]
	return ok
}

// once calls read, unless the store already has the content for the key. Concurrent calls for the
// same key wait for the first one. A failed read is not remembered, so the next call reads again.
func (s *Store) once(ctx context.Context, key string, read func() error) error {
	for {
		led := false
		_, err, _ := s.flights.Do(key, func() (any, error) {
			led = true
			if s.has(key) {
				return nil, nil
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := read(); err != nil {
				return nil, err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.kept[key] = struct{}{}
			return nil, nil
		})
		// If the read ended because the context of another caller was canceled, this caller reads
		// again.
		cancelled := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if led || !cancelled || ctx.Err() != nil {
			return err
		}
	}
}

// layer registers a layer with the properties that a manifest and a config list for it. The digests
// must be SHA-256, because the store computes no other digest. All images of a run must list the
// same properties for a layer. Otherwise one image would be verified with the properties from
// another.
func (s *Store) layer(d v1.Descriptor, diffID v1.Hash, open Open) (*Layer, error) {
	for _, h := range []v1.Hash{d.Digest, diffID} {
		if err := checkAlgorithm(h); err != nil {
			return nil, err
		}
	}
	if (d.MediaType == types.OCIUncompressedLayer || d.MediaType == types.DockerUncompressedLayer) && d.Digest != diffID {
		return nil, &CorruptError{d.Digest, fmt.Sprintf("the media type %q means an uncompressed layer, but the config has the different diffID %s", d.MediaType, diffID)}
	}
	listed := expectation{diffID: diffID, size: d.Size}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.expected[d.Digest]; ok && before != listed {
		return nil, &CorruptError{d.Digest, fmt.Sprintf("one image lists diffID %s and %d bytes for this layer, another lists %s and %d bytes",
			listed.diffID, listed.size, before.diffID, before.size)}
	}
	s.expected[d.Digest] = listed
	return &Layer{store: s, descriptor: d, diffID: diffID, open: open}, nil
}

func checkAlgorithm(h v1.Hash) error {
	if h.Algorithm != "sha256" {
		return refuse("digest %s is not a SHA-256 digest", h)
	}
	return nil
}

// Fetch reads every layer of the images that is not in the store yet. It reads each distinct layer
// once. It does not read layers that the memory has. The images must come from Image or FromTarball.
// The first error cancels the other reads. The error is a *CorruptError if content does not match its
// manifest, an error that wraps [ErrTooLarge], a read error of the registry or archive, or the error
// of the context.
func (s *Store) Fetch(ctx context.Context, images ...v1.Image) error {
	var all [][]*Layer // the layers with the same blob, as all images list them
	at := map[v1.Hash]int{}
	for _, img := range images {
		ls, err := img.Layers()
		if err != nil {
			return fmt.Errorf("listing layers: %w", err)
		}
		for _, l := range ls {
			one, ok := l.(*Layer)
			if !ok || one.store != s {
				return errors.New("cannot fetch a layer that belongs to another store")
			}
			s.catalog(one)
			i, listed := at[one.descriptor.Digest]
			if !listed {
				i = len(all)
				at[one.descriptor.Digest] = i
				all = append(all, nil)
			}
			all[i] = append(all[i], one)
		}
	}
	// Start with the largest layers. A large layer at the end would be read alone while the other
	// workers wait.
	slices.SortStableFunc(all, func(a, b []*Layer) int { return cmp.Compare(b[0].descriptor.Size, a[0].descriptor.Size) })
	later := ctx // the context of the group ends with the group
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Parallel)
	for _, same := range all {
		group.Go(func() error {
			if s.recallAll(later, same) {
				return nil
			}
			return s.fetch(ctx, same[0], s.opts.Index)
		})
	}
	return group.Wait()
}

// catalog notes that the layer is fetched for cataloging. A layer of an archive is already in the
// store, so remembering it would save nothing.
func (s *Store) catalog(l *Layer) {
	if s.has(layerKey(l.descriptor.Digest)) {
		return
	}
	key := s.memoryKey(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.listed[key]; !twice {
		s.listed[key] = struct{}{}
		s.cataloged = append(s.cataloged, l)
	}
}

func (s *Store) fetch(ctx context.Context, l *Layer, index Index) error {
	digest := l.descriptor.Digest
	err := s.once(ctx, layerKey(digest), func() error { return s.read(ctx, l, index) })
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	return nil
}

// Decompressed is an open decompressed layer that can be read at any offset.
type Decompressed interface {
	io.ReaderAt
	io.Closer
	// Unrecorded reads the same bytes, without recording that a later run needs them.
	Unrecorded() io.ReaderAt
}

// Decompressed opens the decompressed bytes of a layer that Fetch has read or recalled.
func (s *Store) Decompressed(diffID v1.Hash) (Decompressed, error) {
	s.mu.Lock()
	r := s.recalled[diffID]
	s.mu.Unlock()
	if r != nil {
		return r.open()
	}
	f, err := s.openLayer(diffID)
	if err != nil {
		return nil, err
	}
	return s.record(diffID, f)
}

// openLayer opens the decompressed bytes of a fetched layer. Reading them is not recorded.
func (s *Store) openLayer(diffID v1.Hash) (*os.File, error) {
	f, err := os.Open(s.layerPath(diffID))
	if err != nil {
		return nil, fmt.Errorf("opening layer %s: %w", diffID, err)
	}
	return f, nil
}

// Release removes the decompressed layers, which are not needed after all images are cataloged. The
// stored blobs remain. After Release, Uncompressed and Decompressed fail for the layers fetched
// before. Files that they opened before can still be read.
func (s *Store) Release() error {
	s.mu.Lock()
	clear(s.recalled)
	s.mu.Unlock()
	dir := filepath.Join(s.dir, layersDir)
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(dir, entry.Name())))
	}
	if err != nil {
		return fmt.Errorf("removing decompressed layers: %w", err)
	}
	return nil
}

// Blob is a verified blob that is not a layer of files. It is stored unchanged.
type Blob struct {
	store      *Store
	descriptor v1.Descriptor
}

// Digest returns the blob's digest.
func (b Blob) Digest() (v1.Hash, error) { return b.descriptor.Digest, nil }

// DiffID returns the blob's digest, because a Blob is not decompressed.
func (b Blob) DiffID() (v1.Hash, error) { return b.descriptor.Digest, nil }

// Size returns the number of bytes.
func (b Blob) Size() (int64, error) { return b.descriptor.Size, nil }

// MediaType returns the media type in the manifest.
func (b Blob) MediaType() (types.MediaType, error) { return b.descriptor.MediaType, nil }

// Compressed opens the blob.
func (b Blob) Compressed() (io.ReadCloser, error) {
	return os.Open(b.store.blobPath(b.descriptor.Digest))
}

// Uncompressed opens the blob, which is not decompressed.
func (b Blob) Uncompressed() (io.ReadCloser, error) { return b.Compressed() }

// MaxBlob is the maximum size of a blob that is not a layer of files, in bytes.
const MaxBlob = 256 << 20

// Blob reads a blob, verifies it and stores it unchanged.
func (s *Store) Blob(ctx context.Context, d v1.Descriptor, open Open) (Blob, error) {
	if err := checkAlgorithm(d.Digest); err != nil {
		return Blob{}, err
	}
	if d.Size < 0 || d.Size > MaxBlob {
		return Blob{}, refuse("blob %s has %d bytes, the limit is %d", d.Digest, d.Size, MaxBlob)
	}
	err := s.once(ctx, blobKey(d.Digest), func() error { return s.readBlob(ctx, d, open) })
	if err != nil {
		return Blob{}, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	info, err := os.Stat(s.blobPath(d.Digest))
	if err != nil {
		return Blob{}, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if info.Size() != d.Size { // The blob was already stored, but its descriptor lists another size.
		return Blob{}, &CorruptError{d.Digest, fmt.Sprintf("the blob has %d bytes, but the manifest lists %d", info.Size(), d.Size)}
	}
	return Blob{s, d}, nil
}
