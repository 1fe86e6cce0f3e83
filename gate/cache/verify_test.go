package cache

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerifyFindsDamage checks that Verify names only the damaged entry. It changes each
// byte of the compressed content, and truncates the file at every length.
func TestVerifyFindsDamage(t *testing.T) {
	dir := t.TempDir()
	c := open1(t, dir, 1<<20)
	put(t, c, "b", []byte("others"))
	intact := files(t, dir)[0]
	put(t, c, "a", []byte("some bytes"))
	path := files(t, dir)[0]
	if path == intact {
		path = files(t, dir)[1]
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, stored []byte, want int) {
		t.Helper()
		if err := os.WriteFile(path, stored, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := c.Verify(t.Context())
		if err != nil || v.Checked != 2 || v.Entries != 2 || len(v.Damaged) != want ||
			want > 0 && !strings.HasPrefix(v.Damaged[0], filepath.Base(path)) {
			t.Errorf("%s: %+v, %v", what, v, err)
		}
	}
	check("intact", whole, 0)
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x41
		if i < len(frame) || i >= headerSize {
			content, err := decompress(changed[headerSize:])
			if i < len(frame) || err != nil || string(content) != "some bytes" { // Verify ignores other bytes.
				check(fmt.Sprint("byte ", i), changed, 1)
			}
		}
		if i != headerSize { // An entry that ends after its header has no content and is valid.
			check(fmt.Sprint("cut at ", i), whole[:i], 1)
		}
	}
}

// TestVerifyStopsWithItsContext checks that Verify does not count entries that it did not read.
func TestVerifyStopsWithItsContext(t *testing.T) {
	c := open1(t, t.TempDir(), 1<<20)
	put(t, c, "a", []byte("some bytes"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := c.Verify(ctx); err != nil || v.Checked != 0 || v.Entries != 1 || len(v.Damaged) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}
