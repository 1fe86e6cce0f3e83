package layers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// reading is an Index that reads every layer to the end, and records each content and error.
type reading struct {
	mu    sync.Mutex
	reads [][]byte
	errs  []error
}

func (r *reading) index(_ v1.Hash, archive io.ReaderAt) {
	b, err := io.ReadAll(io.NewSectionReader(archive, 0, 1<<40))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads, r.errs = append(r.reads, b), append(r.errs, err)
}

// fetchIndexed is like fetch, but also runs an Index on the layer.
func fetchIndexed(t *testing.T, s *Store, src *upstream, index Index) error {
	t.Helper()
	l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size}, src.diffID, src.open)
	if err != nil {
		t.Fatal(err)
	}
	return s.fetch(t.Context(), l, index)
}

func TestIndexReadsAllOfALayer(t *testing.T) {
	plain := content(t, 3_000_000)
	for name, stored := range map[string][]byte{"gzip": gz(t, plain), "zstd": zst(t, plain), "plain": plain} {
		t.Run(name, func(t *testing.T) {
			var r reading
			if err := fetchIndexed(t, newStore(t), honest(stored, plain), r.index); err != nil {
				t.Fatal(err)
			}
			if len(r.reads) != 1 || r.errs[0] != nil || !bytes.Equal(r.reads[0], plain) {
				t.Errorf("read %d times: %v", len(r.reads), r.errs)
			}
		})
	}
}

// TestIndexReadsWhileTheLayerComes checks that an Index reads a layer during its download. The test
// sends the second half of the layer only after the Index has read the first half.
func TestIndexReadsWhileTheLayerComes(t *testing.T) {
	plain := content(t, 2_000_000)
	src := honest(plain, plain)
	begun := make(chan struct{})
	src.openFunc = func(context.Context) (io.ReadCloser, error) {
		half := len(plain) / 2
		wait := readerFunc(func([]byte) (int, error) { <-begun; return 0, io.EOF })
		return io.NopCloser(io.MultiReader(bytes.NewReader(plain[:half]), wait, bytes.NewReader(plain[half:]))), nil
	}
	var got []byte
	err := fetchIndexed(t, newStore(t), src, func(_ v1.Hash, archive io.ReaderAt) {
		got = make([]byte, len(plain))
		if _, err := archive.ReadAt(got[:1000], 0); err != nil {
			t.Error(err)
		}
		close(begun)
		if n, err := archive.ReadAt(got[1000:], 1000); err != nil {
			t.Error(n, err)
		}
		if n, err := archive.ReadAt(make([]byte, 2), int64(len(plain))-1); n != 1 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if n, err := archive.ReadAt(make([]byte, 2), int64(len(plain))+5); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d, %v", n, err)
		}
	})
	if err != nil || !bytes.Equal(got, plain) {
		t.Error(err)
	}
}

// TestIndexOfAWrongLayerIsEnded checks that a corrupt layer makes the reads of an Index fail, even
// a read that waits for more bytes, and that Fetch returns the error about the layer.
func TestIndexOfAWrongLayerIsEnded(t *testing.T) {
	plain := content(t, 600_000)
	stored := gz(t, plain)
	other := content(t, 600_001)
	otherStored := gz(t, other)
	for name, src := range map[string]*upstream{
		"cut off":      {stored: stored[:len(stored)/2], digest: sum(stored), size: int64(len(stored)), diffID: sum(plain)},
		"other diffID": {stored: stored, digest: sum(stored), size: int64(len(stored)), diffID: sum(other)},
		"other digest": {stored: otherStored, digest: sum(stored), size: int64(len(otherStored)), diffID: sum(plain)},
		"plain":        {stored: other, digest: sum(plain), size: int64(len(other)), diffID: sum(plain)},
	} {
		t.Run(name, func(t *testing.T) {
			var r reading
			if err := fetchIndexed(t, newStore(t), src, r.index); !isCorrupt(err) {
				t.Errorf("fetched: %v", err)
			}
			if len(r.errs) != 1 || !errors.Is(r.errs[0], errGivenUp) {
				t.Errorf("the index has read: %v", r.errs)
			}
		})
	}
}

// TestIndexReadsLayerThatIsDecompressedAgain checks that an Index is called again for a layer if
// the external program decompressed the layer incorrectly.
func TestIndexReadsLayerThatIsDecompressedAgain(t *testing.T) {
	plain := content(t, 600_000)
	stored := append(gz(t, plain[:300_000]), gz(t, plain[300_000:])...)
	for _, name := range []string{"first member", "fails at the end", "says nothing", "copies"} {
		t.Run(name, func(t *testing.T) {
			var r reading
			if err := fetchIndexed(t, newStore(t, using(program(name))), honest(stored, plain), r.index); err != nil {
				t.Fatal(err)
			}
			if len(r.reads) != 2 || !errors.Is(r.errs[0], errGivenUp) || r.errs[1] != nil || !bytes.Equal(r.reads[1], plain) {
				t.Errorf("read %d times: %v", len(r.reads), r.errs)
			}
		})
	}
}

// TestLayersThatAreSentAreNotIndexed checks that no Index is called for a layer that is read only
// for pushing.
func TestLayersThatAreSentAreNotIndexed(t *testing.T) {
	plain := content(t, 10_000)
	var r reading
	s := newStore(t, func(o *Options) { o.Index = r.index })
	src := honest(gz(t, plain), plain)
	l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size}, src.diffID, src.open)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Fetch(t.Context()); err != nil || len(r.reads) != 0 {
		t.Errorf("indexed %d times: %v", len(r.reads), err)
	}
}
