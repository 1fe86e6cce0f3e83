package cache

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// Private is a view of a cache whose entries are encrypted streams. It is for content of images, which
// may be large and may contain credentials. The keys of a cache and of its private view are separate.
type Private struct {
	cache *Cache
	max   int64
}

// Private returns the encrypted view of the cache. Its entries have at most max bytes.
func (c *Cache) Private(max int64) Private { return Private{c, max} }

// Usable reports whether the cache can store anything: it has a size limit above 0 and a secret.
func (c *Cache) Usable() bool { return c.usable() }

// sealed is the end of the names of private entries.
const sealed = ".sealed"

// segment is the size of the parts of a private entry that are authenticated one by one, in bytes.
const segment = 1 << 20

func (p Private) path(key string) string {
	return strings.TrimSuffix(p.cache.path("private "+key), extension) + sealed
}

// cipher returns the cipher for private entries. Its key is derived from the secret of the cache. The
// cipher derives another key for each entry, and refuses segments that are missing, moved or from
// another entry.
func (p Private) cipher() (*subtle.AESGCMHKDF, error) {
	h := hmac.New(sha256.New, p.cache.opts.Key)
	h.Write([]byte("imagegate cache, private entries 2"))
	return subtle.NewAESGCMHKDF(h.Sum(nil), "SHA256", 32, segment, 0)
}

// Put stores what write writes under the key, like [Cache.Put]. It stores nothing and returns an error
// if write fails, or writes more than the limits of the view or of the cache.
func (p Private) Put(key string, write func(io.Writer) error) error {
	if !p.cache.usable() {
		return nil
	}
	stream, err := p.cipher()
	if err != nil {
		return err
	}
	return p.cache.storeFile(p.path(key), func(w io.Writer) (err error) {
		encrypted, err := stream.NewEncryptingWriter(&limitedWriter{w, min(p.cache.opts.Max, maxEntry)}, []byte(key))
		if err != nil {
			return err
		}
		compressed, err := zstd.NewWriter(encrypted, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		if err := write(&limitedWriter{compressed, p.max}); err != nil {
			return errors.Join(err, compressed.Close())
		}
		if err := compressed.Close(); err != nil {
			return err
		}
		return encrypted.Close()
	})
}

// Open returns a reader of what Put stored under the key. The reader returns only bytes that Put
// stored, but an error can follow them, if the entry is damaged. So the bytes are complete only after
// io.EOF. The caller must close the reader.
func (p Private) Open(key string) (io.ReadCloser, bool) {
	if !p.cache.usable() {
		return nil, false
	}
	path := p.path(key)
	f, err := openRegular(path)
	if err != nil {
		return nil, false
	}
	r, err := p.reader(f, key)
	if err != nil {
		_ = f.Close()
		return nil, false
	}
	p.cache.used(path)
	return &stream{io.LimitReader(r, p.max), r, f}, true
}

func (p Private) reader(f *os.File, key string) (*zstd.Decoder, error) {
	cipher, err := p.cipher()
	if err != nil {
		return nil, err
	}
	plain, err := cipher.NewDecryptingReader(f, []byte(key))
	if err != nil {
		return nil, err
	}
	return zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
}

// stream is the reader of a private entry.
type stream struct {
	io.Reader
	decoder *zstd.Decoder
	file    *os.File
}

func (s *stream) Close() error {
	s.decoder.Close()
	return s.file.Close()
}

func openRegular(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNoEntry
	}
	return os.Open(path)
}

// limitedWriter returns an error instead of writing more than left bytes.
type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, errors.New("the content is too large for the cache")
	}
	l.left -= int64(len(p))
	return l.w.Write(p)
}
