package vulndb

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestBothHashesAgree checks files of several sizes, and that a change of any chunk changes the sum.
func TestBothHashesAgree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3*chunk + 5} {
		data := bytes.Repeat([]byte("some bytes "), size/11+1)[:size]
		sum := func() sums {
			t.Helper()
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			fast, err := fastHash(t.Context(), file)
			full, ferr := fullHash(t.Context(), file)
			if err != nil || ferr != nil {
				t.Fatal(err, ferr)
			}
			if fast.size != int64(size) || full.size != fast.size || fast.xxh64 != full.xxh64 || len(full.sha256) != 64 {
				t.Errorf("%d bytes: %+v and %+v", size, fast, full)
			}
			return full
		}
		before := sum()
		for at := 0; at < size; at += max(chunk/2, 1) {
			data[at] ^= 1
			if after := sum(); after.xxh64 == before.xxh64 || after.sha256 == before.sha256 {
				t.Errorf("%d bytes: a change at %d changes nothing", size, at)
			}
			data[at] ^= 1
		}
	}
	one, two := bytes.Repeat([]byte{1}, chunk), bytes.Repeat([]byte{2}, chunk)
	var got []string
	for _, data := range [][]byte{append(bytes.Clone(one), two...), append(bytes.Clone(two), one...)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := fastHash(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.xxh64)
	}
	if got[0] == got[1] {
		t.Error("the order of the chunks does not count")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fastHash(canceled, file); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
