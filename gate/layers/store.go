// Package layers reads each layer of an image once: verified, inflated and
// kept until it is promoted.
//
// The path through it: [New] makes a [Store] with a folder of its own,
// [Store.Image] wraps an image after checking its manifest and config, and
// [Store.Fetch] streams every layer through one pass that checks size and
// digest, keeps the bytes as they came, inflates them, checks the diffID and
// keeps the result. Layers of the returned image are served from those files.
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
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gofrs/flock"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/singleflight"
)

// The limits where Options leaves them at zero.
const (
	DefaultMaxLayer = 32 << 30  // bytes of one inflated layer
	DefaultMaxTotal = 128 << 30 // bytes on disk
)

// Options say where and how much. Dir must be set.
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
	// Progress is told of every layer. Nil means nobody.
	Progress Progress
}

// Progress is told how far a layer's transfer is. It may be called by several
// goroutines at once.
type Progress interface {
	Layer(digest v1.Hash, done, total int64)
}

// Store keeps the layers of one run. It is safe for concurrent use.
type Store struct {
	opts    Options
	dir     string
	lock    *flock.Flock
	flights singleflight.Group
	used    atomic.Int64
	fetches atomic.Int64
	fetched atomic.Int64

	mu    sync.Mutex
	kept  map[v1.Hash]*kept // by digest of the bytes as they came
	close func() error
}

// Stats counts what a store has read from its sources.
type Stats struct {
	Bytes   int64 // as they came, before inflating
	Fetches int   // blobs that were opened
}

// dirPrefix and lockName mark the folders of runs.
const (
	dirPrefix = "imagegate-"
	lockName  = ".lock"
)

// New makes the store's folder, and removes those of runs that were killed.
func New(opts Options) (*Store, error) {
	if opts.Dir == "" {
		return nil, errors.New("no folder for layers")
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
	// Between making a folder and locking it, another run may sweep it away.
	for range 5 {
		s, err := tryNew(opts)
		if !errors.Is(err, errSwept) {
			return s, err
		}
	}
	return nil, errSwept
}

var errSwept = errors.New("the folder for layers was removed by another run")

func tryNew(opts Options) (*Store, error) {
	dir, err := os.MkdirTemp(opts.Dir, dirPrefix)
	if err != nil {
		return nil, fmt.Errorf("making a folder for layers: %w", err)
	}
	s := &Store{opts: opts, dir: dir, kept: map[v1.Hash]*kept{}}
	s.close = sync.OnceValue(s.remove)
	for _, sub := range []string{"blobs", "layers"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("making a folder for layers: %w", err), s.Close())
		}
	}
	s.lock = flock.New(filepath.Join(dir, lockName))
	ok, err := s.lock.TryLock()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("locking the folder for layers: %w", err), s.Close())
	}
	if _, err := os.Stat(s.lock.Path()); !ok || err != nil {
		return nil, errors.Join(errSwept, s.Close())
	}
	return s, nil
}

// sweep removes folders whose run is gone, which is those that have a lock file
// that nobody holds. What it cannot remove stays; that is no reason to fail.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name := filepath.Join(path, lockName)
		if !e.IsDir() || !strings.HasPrefix(e.Name(), dirPrefix) {
			continue
		}
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		lock := flock.New(name)
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = os.RemoveAll(path)
			_ = lock.Close()
		}
	}
}

// Close removes the store's folder with everything in it. Closing again does
// nothing.
func (s *Store) Close() error { return s.close() }

func (s *Store) remove() error {
	err := os.RemoveAll(s.dir)
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// TempDir makes a folder inside the store's own, which goes with it.
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

// WriteFile copies r into a new file below the store's folder; its bytes count
// towards MaxTotal.
func (s *Store) WriteFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(&budgeted{w: f, store: s}, r)
	return errors.Join(err, f.Close())
}

// ErrTooLarge says that a limit of Options was reached.
var ErrTooLarge = errors.New("too large")

// budgeted counts what is written towards the store's total.
type budgeted struct {
	w     io.Writer
	store *Store
}

func (b *budgeted) Write(p []byte) (int, error) {
	if b.store.used.Add(int64(len(p))) > b.store.opts.MaxTotal {
		return 0, fmt.Errorf("%w: the image needs more than %d bytes on disk", ErrTooLarge, b.store.opts.MaxTotal)
	}
	return b.w.Write(p)
}
