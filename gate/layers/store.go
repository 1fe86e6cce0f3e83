// Package layers reads each layer of an image once: verified, inflated and
// kept until it is promoted.
//
// The path through it: [New] makes a [Store] with a folder of its own,
// [Store.Image] wraps an image after checking its manifest and config, and
// [Store.Fetch] streams every layer through one pass that checks size and
// digest, keeps the bytes as they came, inflates them, checks the diffID and
// keeps the result. Layers of the returned image are served from those files.
// What a container engine saved enters by [Store.FromTarball] instead.
//
// The package pushes nothing and knows no registries: it reads what a v1.Image
// hands out, and trusts none of it.
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

// The limits where Options leaves them at zero.
const (
	DefaultMaxLayer = 32 << 30  // bytes of one inflated layer
	DefaultMaxTotal = 128 << 30 // bytes on disk
)

// Options say where and how much. Dir must be set; nothing may be negative.
type Options struct {
	// Dir is the folder in which the store makes its own.
	Dir string
	// MaxLayer bounds one inflated layer; 0 means DefaultMaxLayer.
	MaxLayer int64
	// MaxTotal bounds all bytes that the store keeps; 0 means
	// DefaultMaxTotal.
	MaxTotal int64
	// Parallel is how many layers are processed at once; 0 means one for
	// each core, at most 8.
	Parallel int
	// Gunzip is a program that inflates gzip from its standard input to its
	// standard output, by its absolute path, and its arguments: "igzip -dc",
	// "unpigz -c". It is run without an environment. What it gives is verified
	// in every case, and what it does not do well is done again without it.
	// Empty means to run none.
	Gunzip []string
	// Index reads every layer that Fetch reads, while it does. Nil means nobody.
	Index Index
	// Progress is told of every layer. Nil means nobody.
	Progress Progress
}

// Progress is told how far a layer's transfer is. It may be called by several
// goroutines at once.
type Progress interface {
	// Layer says that so many bytes of a blob have come. The total is 0 where
	// it is not known beforehand.
	Layer(digest v1.Hash, done, total int64)
}

// Store keeps the layers of one run. It is safe for concurrent use, but for
// Close, which is for when nothing else is under way.
type Store struct {
	opts    Options
	dir     string // the path of run
	run     *runDir
	flights singleflight.Group
	used    atomic.Int64
	fetches atomic.Int64
	fetched atomic.Int64

	mu     sync.Mutex
	claims map[v1.Hash]claim   // what was said of a layer, by its digest
	kept   map[string]struct{} // what was verified and is on disk, by key
	closed bool
}

// claim is what an image says of a layer. All images must say the same.
type claim struct {
	diffID v1.Hash
	size   int64
}

// Stats counts what a store has read from its sources.
type Stats struct {
	Bytes   int64 // as they came, before inflating
	Fetches int   // blobs that were opened
}

// New makes the store's folder, and removes those of runs that were killed.
func New(opts Options) (*Store, error) {
	switch {
	case opts.Dir == "":
		return nil, errors.New("no folder for layers")
	case opts.MaxLayer < 0 || opts.MaxTotal < 0 || opts.Parallel < 0:
		return nil, fmt.Errorf("limits for layers are negative: %d bytes a layer, %d bytes in all, %d at once",
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
		return nil, fmt.Errorf("making a folder for layers: %w", err)
	}
	s := &Store{opts: opts, dir: run.path, run: run, claims: map[v1.Hash]claim{}, kept: map[string]struct{}{}}
	for _, sub := range []string{blobsDir, layersDir} {
		if err := run.root.Mkdir(sub, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("making a folder for layers: %w", err), s.Close())
		}
	}
	return s, nil
}

// Close removes the store's folder with everything in it. Closing again does
// nothing, unless something could not be removed: that is tried once more.
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

// TempDir makes a folder inside the store's own, which goes with it. What
// others write there does not count towards MaxTotal.
func (s *Store) TempDir(name string) (string, error) {
	dir, err := os.MkdirTemp(s.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("making a temporary folder: %w", err)
	}
	return dir, nil
}

// Stats returns what has been read so far.
func (s *Store) Stats() Stats {
	return Stats{Bytes: s.fetched.Load(), Fetches: int(s.fetches.Load())}
}

// WriteFile copies r into a new file in a folder that TempDir made; its bytes
// count towards MaxTotal.
func (s *Store) WriteFile(path string, r io.Reader) error {
	if rel, err := filepath.Rel(s.dir, path); err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("writing %q: it is not in the folder for layers", path)
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
