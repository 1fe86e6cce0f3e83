// Package cache keeps on disk what is dear to make and can be made again.
//
// The path through it: [Open] names the folder, [Cache.Put] keeps bytes under a
// key that states everything they were made of, [Cache.Get] returns them. Several
// processes may use one folder: a file gets its name when it is complete, and one
// that goes missing or does not read as it was written is simply not there.
//
// A secret key authenticates each entry: its content, and the key it was kept under. An entry that
// another user wrote, renamed or changed is ignored. The secret must not be in the folder.
package cache

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/imagegate/imagegate/internal/disk"
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
	// Key is the secret that authenticates entries, of 32 bytes. Nothing is kept
	// or returned without.
	Key []byte
}

// Cache keeps bytes in a folder. It may be used concurrently.
type Cache struct{ opts Options }

// maxEntry bounds what is read back into memory, inflated.
const maxEntry = 1 << 30

const (
	keySize   = 32
	extension = ".zst"
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
	case len(opts.Key) != 0 && len(opts.Key) != keySize:
		return nil, fmt.Errorf("the key of the cache has %d bytes: want %d", len(opts.Key), keySize)
	}
	return &Cache{opts}, nil
}

func (c *Cache) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(c.opts.Dir, hex.EncodeToString(sum[:])+extension)
}

// usable reports whether anything is kept.
func (c *Cache) usable() bool { return c != nil && c.opts.Max > 0 && len(c.opts.Key) == keySize }

// frame begins an entry: a skippable frame of 32 bytes (RFC 8878, section 3.1.2), so that the zstd
// command still reads the file.
const frame = "\x50\x2a\x4d\x18\x20\x00\x00\x00"

const headerSize = len(frame) + sha256.Size

// header returns the beginning of an entry: in its frame a code over the key and the
// compressed bytes that only the holder of the secret can make.
func (c *Cache) header(key string, compressed []byte) []byte {
	h := hmac.New(sha256.New, c.opts.Key)
	fmt.Fprintf(h, "imagegate cache 2\n%d\n%s", len(key), key)
	h.Write(compressed)
	return h.Sum([]byte(frame))
}

// Get returns what was kept under the key. An entry that is damaged, or of
// another secret, is ignored: Put replaces it, and Prune removes it in its turn.
func (c *Cache) Get(key string) ([]byte, bool) {
	if !c.usable() {
		return nil, false
	}
	path := c.path(key)
	stored, err := readEntry(path)
	if err != nil {
		return nil, false
	}
	data, err := c.open(key, stored)
	if err != nil {
		return nil, false
	}
	now := c.opts.Now()
	_ = os.Chtimes(path, now, now) // at worst it goes too early
	return data, true
}

// readEntry reads a regular file of an acceptable size.
func readEntry(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEntry {
		return nil, errors.New("it is not a file of the cache")
	}
	return os.ReadFile(path)
}

// open authenticates the compressed bytes before anything reads them.
func (c *Cache) open(key string, stored []byte) ([]byte, error) {
	if len(stored) < headerSize {
		return nil, errors.New("it is too short")
	}
	header, compressed := stored[:headerSize], stored[headerSize:]
	if !hmac.Equal(header, c.header(key, compressed)) {
		return nil, errors.New("it was not kept under this key, or not with this secret")
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxEntry))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return dec.DecodeAll(compressed, nil)
}

// Put keeps data under the key, and makes room for it.
func (c *Cache) Put(key string, data []byte) error {
	if !c.usable() || len(data) > maxEntry {
		return nil
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	compressed := enc.EncodeAll(data, nil)
	if err := enc.Close(); err != nil {
		return err
	}
	if int64(len(compressed)+headerSize) > min(c.opts.Max, maxEntry) {
		return nil
	}
	if err := os.MkdirAll(c.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("making the cache's folder: %w", err)
	}
	path := c.path(key)
	err = disk.WriteFile(path, 0o600, func(w io.Writer) error {
		if _, err := w.Write(c.header(key, compressed)); err != nil {
			return err
		}
		_, err := w.Write(compressed)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing to the cache: %w", err)
	}
	now := c.opts.Now()
	if err := os.Chtimes(path, now, now); err != nil {
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
		case disk.IsPartial(name) && c.opts.Now().Sub(info.ModTime()) > abandoned:
			_ = os.Remove(filepath.Join(c.opts.Dir, name)) // the next one tries again
		}
	}
	slices.SortFunc(out, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	return out, nil
}
