// Package cache keeps on disk what is dear to make and can be made again.
//
// The path through it: [Open] names the folder, [Cache.Put] keeps bytes under a
// key that states everything they were made of, [Cache.Get] returns them. Several
// processes may use one folder: a file gets its name when it is complete, and one
// that goes missing or does not read as it was written is simply not there.
//
// It proves that a file is what was kept under this key, and not who kept it: who
// can write to the folder decides what is in it.
package cache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Options say where a Cache is. Dir and Now must be set.
type Options struct {
	// Dir is made when something is kept.
	Dir string
	// Max is how many bytes the files may take together; the least recently
	// used go first. Nothing is kept where it is 0.
	Max int64
	// Now tells which file was used when.
	Now func() time.Time
}

// Cache keeps bytes in a folder. It may be used concurrently.
type Cache struct{ opts Options }

// maxEntry bounds what is read back into memory, inflated.
const maxEntry = 1 << 30

const (
	extension = ".zst"
	partial   = ".part"
	// abandoned is how old an incomplete file must be for nobody to be writing it.
	abandoned = time.Hour
)

// Open returns the cache in a folder, which need not exist.
func Open(opts Options) (*Cache, error) {
	switch {
	case opts.Dir == "":
		return nil, errors.New("no folder for the cache")
	case opts.Now == nil:
		return nil, errors.New("no clock")
	case opts.Max < 0:
		return nil, fmt.Errorf("the cache may take %d bytes: want 0 or more", opts.Max)
	}
	return &Cache{opts}, nil
}

func (c *Cache) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(c.opts.Dir, hex.EncodeToString(sum[:])+extension)
}

// seal is what stands before the bytes: the hash of them and of the key, so that a
// file under another's name is not taken for it.
func seal(key string, data []byte) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s", len(key), key)
	h.Write(data)
	return h.Sum(nil)
}

// Get returns what was kept under the key. What is damaged is removed and not
// there.
func (c *Cache) Get(key string) ([]byte, bool) {
	if c == nil || c.opts.Max == 0 {
		return nil, false
	}
	path := c.path(key)
	stored, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	data, err := open(key, stored)
	if err != nil {
		_ = os.Remove(path) // whoever fails to read it next removes it
		return nil, false
	}
	now := c.opts.Now()
	_ = os.Chtimes(path, now, now) // at worst it goes too early
	return data, true
}

func open(key string, stored []byte) ([]byte, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxEntry))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	plain, err := dec.DecodeAll(stored, nil)
	if err != nil {
		return nil, err
	}
	if len(plain) < sha256.Size {
		return nil, errors.New("it is too short")
	}
	data := plain[sha256.Size:]
	if !bytes.Equal(plain[:sha256.Size], seal(key, data)) {
		return nil, errors.New("it is not what was kept under this key")
	}
	return data, nil
}

// Put keeps data under the key, and makes room for it.
func (c *Cache) Put(key string, data []byte) (err error) {
	if c == nil || c.opts.Max == 0 || len(data)+sha256.Size > maxEntry {
		return nil
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	stored := enc.EncodeAll(append(seal(key, data), data...), nil)
	if err := enc.Close(); err != nil {
		return err
	}
	if int64(len(stored)) > c.opts.Max {
		return nil
	}
	if err := os.MkdirAll(c.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("making the cache's folder: %w", err)
	}
	f, err := os.CreateTemp(c.opts.Dir, "*"+partial)
	if err != nil {
		return fmt.Errorf("writing to the cache: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing to the cache: %w", err), os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(stored); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Close(); err != nil {
		return err
	}
	now := c.opts.Now()
	if err = os.Chtimes(f.Name(), now, now); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), c.path(key)); err != nil {
		return err
	}
	_, err = c.Prune(c.opts.Max)
	return err
}

// Status says what is in the folder.
type Status struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// Oldest is when the file was used that goes first; zero for none.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Status counts. A folder that does not exist is empty.
func (c *Cache) Status() (Status, error) {
	entries, err := c.entries()
	var s Status
	for _, e := range entries {
		s.add(e)
	}
	if len(entries) > 0 {
		s.Oldest = entries[0].ModTime().UTC()
	}
	return s, err
}

func (s *Status) add(e fs.FileInfo) {
	s.Entries++
	s.Bytes += e.Size()
}

// Prune removes the least recently used files until the others take at most that
// many bytes, and what was left incomplete. It returns what it has removed.
func (c *Cache) Prune(limit int64) (removed Status, err error) {
	entries, err := c.entries()
	if err != nil {
		return removed, err
	}
	var total int64
	for _, e := range entries {
		total += e.Size()
	}
	var failed []error
	for _, e := range entries {
		if total <= limit {
			break
		}
		total -= e.Size()
		switch err := os.Remove(filepath.Join(c.opts.Dir, e.Name())); {
		case errors.Is(err, fs.ErrNotExist): // another process was first
		case err != nil:
			failed = append(failed, err)
		default:
			removed.add(e)
		}
	}
	return removed, errors.Join(failed...)
}

// entries lists the files, the least recently used first, and removes what was
// left incomplete.
func (c *Cache) entries() ([]fs.FileInfo, error) {
	listed, err := os.ReadDir(c.opts.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the cache: %w", err)
	}
	var out []fs.FileInfo
	for _, l := range listed {
		info, err := l.Info()
		if err != nil {
			continue // it has gone since
		}
		switch name := l.Name(); {
		case strings.HasSuffix(name, extension):
			out = append(out, info)
		case strings.HasSuffix(name, partial) && c.opts.Now().Sub(info.ModTime()) > abandoned:
			_ = os.Remove(filepath.Join(c.opts.Dir, name)) // the next one tries again
		}
	}
	slices.SortFunc(out, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	return out, nil
}
