package cache

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

func opened(t *testing.T, dir string, key byte) *Cache {
	t.Helper()
	c, err := Open(Options{Dir: dir, Max: 1 << 20, Now: time.Now, Key: bytes.Repeat([]byte{key}, keySize)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get returns the whole entry, or false if a part of it cannot be read.
func (p Private) get(key string) ([]byte, bool) {
	r, ok := p.Open(key)
	if !ok {
		return nil, false
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return data, err == nil
}

func writes(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// TestPrivateEntryIsEncrypted checks that the file of a private entry does not contain its content, and
// that only the private view with the same secret returns it.
func TestPrivateEntryIsEncrypted(t *testing.T) {
	dir := t.TempDir()
	c := opened(t, dir, 1)
	content := bytes.Repeat([]byte("the content of a file in an image. "), 50)
	if err := c.Private(1<<20).Put("layer", writes(content)); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Private(1 << 20).get("layer"); !ok || !bytes.Equal(got, content) {
		t.Errorf("the entry is %q, %v", got, ok)
	}
	found := files(t, dir)
	if len(found) != 1 {
		t.Fatal(found)
	}
	stored, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(stored, content[:20]) || bytes.Contains(stored, []byte("\x28\xb5\x2f\xfd")) {
		t.Error("the file contains the content")
	}
	for what, get := range map[string]func() ([]byte, bool){
		"with another secret":   func() ([]byte, bool) { return opened(t, dir, 2).Private(1 << 20).get("layer") },
		"under another key":     func() ([]byte, bool) { return c.Private(1 << 20).get("other") },
		"as an ordinary entry":  func() ([]byte, bool) { return c.Get("layer") },
		"through the other key": func() ([]byte, bool) { return c.Get("private layer") },
	} {
		if got, ok := get(); ok {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got, _ := c.Private(100).get("layer"); len(got) > 100 {
		t.Errorf("with a smaller limit: %d bytes", len(got))
	}
	if v, err := c.Verify(t.Context()); err != nil || len(v.Damaged) > 0 || v.Checked != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if s, err := c.Status(); err != nil || s.Entries != 1 || s.Bytes != int64(len(stored)) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestDamagedPrivateEntryIsIncomplete changes bytes of a private entry with several segments, cuts it,
// and exchanges its segments. None of it must be read completely.
func TestDamagedPrivateEntryIsIncomplete(t *testing.T) {
	dir := t.TempDir()
	c := opened(t, dir, 1)
	c.opts.Max = 1 << 30
	content := make([]byte, 5*segment/2) // random bytes, because they do not compress
	if _, err := rand.NewChaCha8([32]byte{}).Read(content); err != nil {
		t.Fatal(err)
	}
	view := c.Private(1 << 30)
	if err := view.Put("layer", writes(content)); err != nil {
		t.Fatal(err)
	}
	path := view.path("layer")
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{"empty": nil, "without the last byte": stored[:len(stored)-1], "with another byte": append(bytes.Clone(stored), 0),
		"without its last segment": stored[:2*segment], "with exchanged segments": slices.Concat(stored[:segment], stored[2*segment:], stored[segment:2*segment])}
	for i := 0; i < len(stored); i += 1 + i/8 {
		changed := bytes.Clone(stored)
		changed[i] ^= 1
		damaged[fmt.Sprint("with a changed byte ", i)] = changed
	}
	for what, data := range damaged {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := view.get("layer"); ok {
			t.Errorf("%s: the entry is read completely", what)
		}
	}
}

// TestTooLargePrivateEntryIsNotStored checks the limits of the view and of the cache, and that nothing
// stays of an entry that could not be written.
func TestTooLargePrivateEntryIsNotStored(t *testing.T) {
	dir := t.TempDir()
	c := opened(t, dir, 1)
	random := make([]byte, 2<<20)
	if _, err := rand.NewChaCha8([32]byte{}).Read(random); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"the view":  c.Private(10).Put("layer", writes(make([]byte, 11))),
		"the cache": c.Private(4<<20).Put("layer", writes(random)),
		"an error":  c.Private(10).Put("layer", func(io.Writer) error { return io.ErrUnexpectedEOF }),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if found := files(t, dir); len(found) > 0 {
		t.Error(found)
	}
}
