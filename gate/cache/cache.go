// Package cache stores results on disk that are expensive to compute and can be computed again.
//
// [Open] returns the cache in a folder. [Cache.Put] stores bytes under a cache key, which must
// state every input of the result. [Cache.Get] returns them. Several processes may use the same
// folder. Files get their final names only when they are complete. A damaged file is treated like a
// missing one.
//
// A secret authenticates each entry: its content and its cache key. An entry that was written,
// renamed or changed without the secret is ignored. The secret must not be in the folder.
package cache

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
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

// Options configure a Cache. Dir and Now are required.
type Options struct {
	// Dir is the folder of the cache. Put creates it.
	Dir string
	// Max is the maximum total size of the files, in bytes. The least recently used files are
	// removed first. Default: 0, which stores nothing.
	Max int64
	// Now returns the current time. It is recorded as the last use of a file.
	Now func() time.Time
	// Key is the secret of 32 bytes that authenticates entries. Without a key, nothing is stored or
	// returned.
	Key []byte
}

// Cache stores bytes in a folder. It is safe for concurrent use.
type Cache struct{ opts Options }

// maxEntry is the maximum size of an entry in bytes, compressed or decompressed, because entries
// are read into memory.
const maxEntry = 1 << 30

const (
	keySize   = 32
	extension = ".zst"
	// abandoned is the age after which an incomplete file is considered abandoned by its writer.
	abandoned = time.Hour
)

// Open returns the cache in a folder. The folder need not exist.
func Open(opts Options) (*Cache, error) {
	switch {
	case opts.Dir == "":
		return nil, errors.New("no folder given for the cache")
	case opts.Now == nil:
		return nil, errors.New("no clock given")
	case opts.Max < 0:
		return nil, fmt.Errorf("invalid cache size %d: must be 0 or greater", opts.Max)
	case len(opts.Key) != 0 && len(opts.Key) != keySize:
		return nil, fmt.Errorf("invalid cache key: has %d bytes, must have %d", len(opts.Key), keySize)
	}
	return &Cache{opts}, nil
}

func (c *Cache) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(c.opts.Dir, hex.EncodeToString(sum[:])+extension)
}

// usable reports whether the cache can store anything: it has a size limit above 0 and a secret.
func (c *Cache) usable() bool { return c != nil && c.opts.Max > 0 && len(c.opts.Key) == keySize }

// frame begins every entry. It is the header of a skippable zstd frame with 32 bytes of content
// (RFC 8878, section 3.1.2). So the zstd command can still read the file of an entry.
const frame = "\x50\x2a\x4d\x18\x20\x00\x00\x00"

const headerSize = len(frame) + sha256.Size

// header returns the first bytes of an entry: the frame, and a message authentication code over the
// cache key and the compressed bytes.
func (c *Cache) header(key string, compressed []byte) []byte {
	h := hmac.New(sha256.New, c.opts.Key)
	fmt.Fprintf(h, "imagegate cache 2\n%d\n%s", len(key), key)
	h.Write(compressed)
	return h.Sum([]byte(frame))
}

// Get returns the bytes that are stored under the key. It ignores an entry that is damaged or was
// stored with another secret. Put replaces such an entry, and Prune removes it like any other.
func (c *Cache) Get(key string) ([]byte, bool) {
	payload, ok := c.load(key)
	if !ok {
		return nil, false
	}
	data, err := decompress(payload)
	return data, err == nil
}

// GetParts returns the first part that PutParts stored under the key, and a function that
// decompresses the other part. Both parts are authenticated before GetParts returns.
func (c *Cache) GetParts(key string) (first []byte, second func() ([]byte, error), ok bool) {
	payload, ok := c.load(key)
	if !ok || len(payload) < partsSize || !bytes.HasPrefix(payload, []byte(partsFrame)) {
		return nil, nil, false
	}
	size := binary.LittleEndian.Uint64(payload[len(partsFrame):])
	payload = payload[partsSize:]
	if size > uint64(len(payload)) {
		return nil, nil, false
	}
	first, err := decompress(payload[:size])
	return first, func() ([]byte, error) { return decompress(payload[size:]) }, err == nil
}

// load returns the payload of an entry, and records its use.
func (c *Cache) load(key string) ([]byte, bool) {
	if !c.usable() {
		return nil, false
	}
	path := c.path(key)
	stored, err := readEntry(path)
	if err != nil {
		return nil, false
	}
	payload, err := c.open(key, stored)
	if err != nil {
		return nil, false
	}
	c.used(path)
	return payload, true
}

// used records that an entry was used.
func (c *Cache) used(path string) {
	now := c.opts.Now()
	_ = os.Chtimes(path, now, now) // If Chtimes fails, the entry may only be removed too early.
}

var errNoEntry = errors.New("the file is not a cache entry: not a regular file, or too large")

// readEntry reads the file of an entry. The file must be a regular file of at most maxEntry bytes.
func readEntry(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEntry {
		return nil, errNoEntry
	}
	return os.ReadFile(path)
}

// open authenticates an entry and returns its payload.
func (c *Cache) open(key string, stored []byte) ([]byte, error) {
	if len(stored) < headerSize {
		return nil, errors.New("the cache entry is too short")
	}
	header, payload := stored[:headerSize], stored[headerSize:]
	if !hmac.Equal(header, c.header(key, payload)) {
		return nil, errors.New("the cache entry was stored under another key or with another secret")
	}
	return payload, nil
}

func decompress(compressed []byte) ([]byte, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxEntry))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return dec.DecodeAll(compressed, nil)
}

// Put stores data under the key. It then removes the least recently used entries if the cache
// exceeds its limit. It does not store data that is larger than the limit.
func (c *Cache) Put(key string, data []byte) error {
	if !c.usable() || len(data) > maxEntry {
		return nil
	}
	compressed, err := compress(data)
	if err != nil {
		return err
	}
	return c.store(key, compressed)
}

// partsFrame begins a payload with two parts. It is the header of a skippable zstd frame with 8 bytes
// of content: the compressed size of the first part.
const partsFrame = "\x52\x2a\x4d\x18\x08\x00\x00\x00"

const partsSize = len(partsFrame) + 8

// PutParts is like [Cache.Put], but stores two parts that GetParts decompresses separately.
func (c *Cache) PutParts(key string, first, second []byte) error {
	if !c.usable() || len(first)+len(second) > maxEntry {
		return nil
	}
	head, err := compress(first)
	if err != nil {
		return err
	}
	tail, err := compress(second)
	if err != nil {
		return err
	}
	payload := binary.LittleEndian.AppendUint64([]byte(partsFrame), uint64(len(head)))
	return c.store(key, slices.Concat(payload, head, tail))
}

func compress(data []byte) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	compressed := enc.EncodeAll(data, nil)
	return compressed, enc.Close()
}

// store stores a payload under the key, and removes old entries.
func (c *Cache) store(key string, payload []byte) error {
	if int64(len(payload)+headerSize) > min(c.opts.Max, maxEntry) {
		return nil
	}
	return c.storeFile(c.path(key), func(w io.Writer) error {
		if _, err := w.Write(c.header(key, payload)); err != nil {
			return err
		}
		_, err := w.Write(payload)
		return err
	})
}

// storeFile writes the file of an entry, and removes old entries.
func (c *Cache) storeFile(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(c.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("creating the folder of the cache: %w", err)
	}
	if err := disk.WriteFile(path, 0o600, write); err != nil {
		return fmt.Errorf("writing to the cache: %w", err)
	}
	now := c.opts.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		return err
	}
	_, err := c.Prune(c.opts.Max)
	return err
}

// Status describes the content of the cache folder.
type Status struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// Oldest is the last time that the least recently used entry was read or written. It is zero
	// for an empty folder.
	Oldest time.Time `json:"oldest,omitzero"`
}

// Status counts the entries. A folder that does not exist counts as empty.
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

// Prune removes the least recently used files until the total size is at most limit, in bytes. It
// also removes incomplete files that were abandoned. It returns the number and size of the removed
// entries.
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
		case errors.Is(err, fs.ErrNotExist): // another process removed the file
		case err != nil:
			failed = append(failed, err)
		default:
			removed.add(e)
		}
	}
	return removed, errors.Join(failed...)
}

// entries returns the files of the cache, the least recently used first. It removes incomplete
// files that were abandoned.
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
			continue // another process removed the file meanwhile
		}
		switch name := l.Name(); {
		case strings.HasSuffix(name, extension), strings.HasSuffix(name, sealed):
			out = append(out, info)
		case disk.IsPartial(name) && c.opts.Now().Sub(info.ModTime()) > abandoned:
			_ = os.Remove(filepath.Join(c.opts.Dir, name)) // If Remove fails, the next call tries again.
		}
	}
	slices.SortFunc(out, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	return out, nil
}
