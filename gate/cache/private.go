package cache

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/zstd"
)

// Private is a view of a cache whose entries are also encrypted. It is for content of images, which
// may contain credentials. The keys of a cache and of its private view are separate.
type Private struct {
	cache *Cache
	max   int
}

// Private returns the encrypted view of the cache. Its entries have at most max bytes.
func (c *Cache) Private(max int) Private { return Private{c, max} }

// Usable reports whether the cache can store anything: it has a size limit above 0 and a secret.
func (c *Cache) Usable() bool { return c.usable() }

// privateFrame begins an encrypted payload: a skippable zstd frame, so that a payload is also a valid
// zstd file without content.
const privateFrame = "\x51\x2a\x4d\x18"

const privateHead = len(privateFrame) + 4

// seal returns the cipher for private entries. Its key is derived from the secret of the cache.
func (c *Cache) seal() (cipher.AEAD, error) {
	h := hmac.New(sha256.New, c.opts.Key)
	h.Write([]byte("imagegate cache, private entries 1"))
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Put is like [Cache.Put]. It stores nothing if data has more than the maximum of bytes.
func (p Private) Put(key string, data []byte) error {
	if !p.cache.usable() || len(data) > p.max {
		return nil
	}
	compressed, err := compress(data)
	if err != nil {
		return err
	}
	aead, err := p.cache.seal()
	if err != nil {
		return err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	length := len(nonce) + len(compressed) + aead.Overhead()
	payload := make([]byte, 0, privateHead+length)
	payload = append(payload, privateFrame...)
	payload = binary.LittleEndian.AppendUint32(payload, uint32(length))
	payload = append(payload, nonce...)
	return p.cache.store("private "+key, aead.Seal(payload, nonce, compressed, []byte(key)))
}

// Get is like [Cache.Get]. It ignores an entry that has more than the maximum of bytes.
func (p Private) Get(key string) ([]byte, bool) {
	payload, ok := p.cache.load("private " + key)
	if !ok {
		return nil, false
	}
	data, err := p.open(key, payload)
	return data, err == nil
}

func (p Private) open(key string, payload []byte) ([]byte, error) {
	aead, err := p.cache.seal()
	if err != nil {
		return nil, err
	}
	n := privateHead + aead.NonceSize()
	if len(payload) < n || !bytes.HasPrefix(payload, []byte(privateFrame)) {
		return nil, errors.New("the cache entry is not a private one")
	}
	compressed, err := aead.Open(nil, payload[privateHead:n], payload[n:], []byte(key))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(uint64(p.max)), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return dec.DecodeAll(compressed, nil)
}
