// Package layers reads each layer of an image once. It verifies and decompresses the layer, and
// keeps it on disk until the image is promoted.
//
// [New] creates a [Store] with its own folder. [Store.Image] checks the manifest and config of an
// image and returns the image with layers that the store serves. [Store.Fetch] reads every layer in
// one pass. The pass checks size and digest, stores the received bytes, decompresses them, checks
// the diffID, and stores the result. [Store.FromTarball] does the same for an image that a
// container engine saved.
//
// The package does not push and uses no registry client. It reads from a v1.Image, and verifies
// everything that the v1.Image returns.
package layers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/singleflight"
)

// Defaults for Options.
const (
	DefaultMaxLayer = 32 << 30  // maximum size of one decompressed layer, in bytes
	DefaultMaxTotal = 128 << 30 // maximum size of all files of the store, in bytes
)

// Options configure a Store. Dir is required. No value may be negative.
type Options struct {
	// Dir is the parent folder. The store creates its own folder in it.
	Dir string
	// MaxLayer limits one decompressed layer, in bytes. Default: DefaultMaxLayer.
	MaxLayer int64
	// MaxTotal limits all bytes that the store keeps on disk. Default: DefaultMaxTotal.
	MaxTotal int64
	// Parallel is the maximum number of layers that are processed at once. Default: one for each
	// core, at most 8.
	Parallel int
	// Gunzip is a command that decompresses gzip from standard input to standard output: the
	// absolute path of a program and its arguments, such as {"/usr/bin/igzip", "-dc"}. The command
	// runs without environment variables. Its output is always verified. If the command fails or
	// its output is wrong, the layer is decompressed again in this process. Default: no command.
	Gunzip []string
	// Index is called for every layer that Fetch reads, and reads the decompressed layer during the
	// fetch. Default: none.
	Index Index
	// Memory keeps layers for later runs. Fetch does not read a layer that the memory has. Default:
	// none.
	Memory Memory
	// Notes are required if Memory is set.
	Notes Notes
	// Progress receives the progress of every layer. Default: none.
	Progress Progress
}

// Progress receives progress events. Several goroutines may call it at once.
type Progress interface {
	// Layer reports that done bytes of a blob were received. total is 0 if the size is unknown.
	Layer(digest v1.Hash, done, total int64)
}

// Store keeps the layers of one run. It is safe for concurrent use, except Close: call Close only
// after all other calls have returned.
type Store struct {
	opts          Options
	dir           string // path of the store's folder
	run           *runDir
	flights       singleflight.Group
	used          atomic.Int64
	fetches       atomic.Int64
	fetched       atomic.Int64
	recalling     sync.Mutex
	recalledBytes int64 // number of bytes of recalled layers, protected by recalling

	mu       sync.Mutex
	expected map[v1.Hash]expectation // the properties that images list for each layer, by digest
	kept     map[string]struct{}     // the verified content on disk, by key
	closed   bool

	cataloged []*Layer              // the layers that Fetch had to read or recall
	listed    map[string]struct{}   // their keys in the memory
	recalled  map[v1.Hash]*recalled // the layers that the memory has, by diffID
	known     map[string]struct{}   // the keys of the recalled layers
	reads     map[v1.Hash]*seen     // what was read of the other layers, by diffID
	missed    error
}

// expectation has the properties that an image lists for a layer. All images must list the same
// properties for a layer.
type expectation struct {
	diffID v1.Hash
	size   int64
}

// Stats counts what a store has read from registries and archives.
type Stats struct {
	Bytes   int64 // number of bytes as received, before decompression
	Fetches int   // number of blobs opened
}

// New creates the store's folder. It also removes the folders of runs that were killed.
func New(opts Options) (*Store, error) {
	switch {
	case opts.Dir == "":
		return nil, errors.New("no folder given for layers")
	case opts.MaxLayer < 0 || opts.MaxTotal < 0 || opts.Parallel < 0:
		return nil, fmt.Errorf("invalid limits for layers: must not be negative: %d bytes a layer, %d bytes in total, %d layers at once",
			opts.MaxLayer, opts.MaxTotal, opts.Parallel)
	}
	if err := checkProgram(opts.Gunzip); err != nil {
		return nil, err
	}
	if opts.MaxLayer == 0 {
		opts.MaxLayer = DefaultMaxLayer
	}
	if opts.MaxTotal == 0 {
		opts.MaxTotal = DefaultMaxTotal
	}
	if opts.Parallel == 0 {
		opts.Parallel = min(runtime.GOMAXPROCS(0), 8)
	}
	sweep(opts.Dir)
	run, err := makeRunDir(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("creating the folder for layers: %w", err)
	}
	s := &Store{opts: opts, dir: run.path, run: run, expected: map[v1.Hash]expectation{}, kept: map[string]struct{}{},
		listed: map[string]struct{}{}, known: map[string]struct{}{}, recalled: map[v1.Hash]*recalled{}, reads: map[v1.Hash]*seen{}}
	for _, sub := range []string{blobsDir, layersDir} {
		if err := run.root.Mkdir(sub, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("creating the folder for layers: %w", err), s.Close())
		}
	}
	return s, nil
}

// Close removes the store's folder and everything in it. After a failure, the caller can call Close
// again. After success, further calls do nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if err := s.run.remove(); err != nil {
		return fmt.Errorf("removing the folder for layers: %w", err)
	}
	s.closed = true
	return s.run.close()
}

// TempDir creates a folder inside the store's folder. Close removes both. Files that other code
// writes there count towards MaxTotal only while Watch runs.
func (s *Store) TempDir(name string) (string, error) {
	dir, err := os.MkdirTemp(s.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("creating a temporary folder for an image: %w", err)
	}
	return dir, nil
}

// Stats returns the number of bytes and blobs read so far.
func (s *Store) Stats() Stats {
	return Stats{Bytes: s.fetched.Load(), Fetches: int(s.fetches.Load())}
}

// WriteFile copies r to a new file in a folder that TempDir created. The bytes count towards
// MaxTotal.
func (s *Store) WriteFile(path string, r io.Reader) error {
	if rel, err := filepath.Rel(s.dir, path); err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("writing %q: the path is outside the folder for layers", path)
	}
	if _, err := os.Lstat(path); err == nil {
		return &os.PathError{Op: "create", Path: path, Err: os.ErrExist}
	}
	f, err := s.create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(err, f.discard())
	}
	return errors.Join(f.keep(), f.discard())
}
