package cache

import (
	"bytes"
	"os"
	"path/filepath"
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

// TestPrivateEntryIsEncrypted checks that the file of a private entry does not contain its content, also
// not after decompression, and that only the private view with the same secret returns it.
func TestPrivateEntryIsEncrypted(t *testing.T) {
	dir := t.TempDir()
	c := opened(t, dir, 1)
	content := bytes.Repeat([]byte("the content of a file in an image. "), 50)
	if err := c.Private(1<<20).Put("layer", content); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Private(1 << 20).Get("layer"); !ok || !bytes.Equal(got, content) {
		t.Errorf("the entry is %q, %v", got, ok)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	stored, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	plain, err := decompress(stored)
	if err != nil {
		t.Errorf("the file is not a zstd file: %v", err)
	}
	if bytes.Contains(stored, content[:20]) || len(plain) > 0 {
		t.Error("the file contains the content")
	}
	for what, get := range map[string]func() ([]byte, bool){
		"with another secret":   func() ([]byte, bool) { return opened(t, dir, 2).Private(1 << 20).Get("layer") },
		"under another key":     func() ([]byte, bool) { return c.Private(1 << 20).Get("other") },
		"with a smaller limit":  func() ([]byte, bool) { return c.Private(100).Get("layer") },
		"as an ordinary entry":  func() ([]byte, bool) { return c.Get("layer") },
		"through the other key": func() ([]byte, bool) { got, ok := c.Get("private layer"); return got, ok && len(got) > 0 },
	} {
		if got, ok := get(); ok {
			t.Errorf("%s: %q", what, got)
		}
	}
	if v, err := c.Verify(t.Context()); err != nil || len(v.Damaged) > 0 || v.Checked != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestDamagedPrivateEntryIsIgnored changes each byte of a private entry.
func TestDamagedPrivateEntryIsIgnored(t *testing.T) {
	dir := t.TempDir()
	c := opened(t, dir, 1)
	if err := c.Private(1<<20).Put("layer", []byte("content")); err != nil {
		t.Fatal(err)
	}
	path := c.path("private layer")
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range stored {
		changed := bytes.Clone(stored)
		changed[i] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Private(1 << 20).Get("layer"); ok {
			t.Errorf("with another byte %d: %q", i, got)
		}
	}
}

// TestTooLargePrivateEntryIsNotStored checks the limit of the view.
func TestTooLargePrivateEntryIsNotStored(t *testing.T) {
	dir := t.TempDir()
	if err := opened(t, dir, 1).Private(10).Put("layer", make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}
