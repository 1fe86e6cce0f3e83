package layers

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestSparseLayerReadsLikeTheFile compares random reads of a recalled layer with reads of the layer
// itself, and checks that the layer is fetched only for parts that were not remembered.
func TestSparseLayerReadsLikeTheFile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the test must be repeatable
	content := make([]byte, 100*page+77)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	store := &Store{dir: t.TempDir()}
	diffID := v1.Hash{Algorithm: "sha256", Hex: "00"}
	for range 50 {
		kept := newSeen(int64(len(content)))
		for range r.IntN(6) {
			kept.mark(r.Int64N(int64(len(content))), r.Int64N(20*page))
		}
		m := remembered{Size: int64(len(content)), Extents: kept.extents()}
		var raw bytes.Buffer
		if err := m.write(&raw, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		fetches := 0
		layer := &recalled{size: m.Size, layer: &Layer{store: store, diffID: diffID}, seen: newSeen(m.Size)}
		layer.load = sync.OnceValue(func() *parts {
			store.opts = Options{Memory: memory{"key": raw.Bytes()}, MaxTotal: 1 << 30}
			p, err := store.loadParts("key", filepath.Join(t.TempDir(), "kept"))
			if err != nil {
				t.Fatal(err)
			}
			return p
		})
		layer.fetch = sync.OnceValue(func() error {
			fetches++
			path := store.layerPath(diffID)
			return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600))
		})
		f, err := layer.open()
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			off, n := r.Int64N(int64(len(content))+2*page), r.IntN(4*page)
			got, want := make([]byte, n), make([]byte, n)
			before := fetches
			gotN, gotErr := f.ReadAt(got, off)
			wantN, wantErr := bytes.NewReader(content).ReadAt(want, off)
			if gotN != wantN || !errors.Is(gotErr, wantErr) || !bytes.Equal(got, want) {
				t.Fatalf("reading %d bytes at %d of %d: %d, %v, not %d, %v", n, off, len(content), gotN, gotErr, wantN, wantErr)
			}
			_, has := f.(*sparse).find(off, min(int64(n), max(0, int64(len(content))-off)))
			if fetches > before && has {
				t.Fatalf("the layer was fetched for %d bytes at %d, which are remembered", n, off)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeptPartsAreOnDiskAndCounted checks that the parts of a recalled layer count towards the limit for
// the disk, and that a file that is too short is an error of the run and not the end of a file.
func TestKeptPartsAreOnDiskAndCounted(t *testing.T) {
	content := make([]byte, 4*page)
	m := remembered{Size: int64(len(content)), Extents: []extent{{0, 4 * page}}}
	var raw bytes.Buffer
	if err := m.write(&raw, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	for limit, ok := range map[int64]bool{4 * page: true, 4*page - 1: false} {
		dir := t.TempDir()
		s := &Store{dir: dir, opts: Options{Memory: memory{"key": raw.Bytes()}, MaxTotal: limit}}
		p, err := s.loadParts("key", filepath.Join(dir, "kept"))
		if (err == nil) != ok || !ok && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("with %d bytes: %v", limit, err)
		}
		if left, err := os.ReadDir(dir); err != nil || (len(left) == 1) != ok || (s.used.Load() == 4*page) != ok {
			t.Errorf("with %d bytes: %v on disk, %d bytes counted, %v", limit, left, s.used.Load(), err)
		}
		if !ok {
			continue
		}
		r := &recalled{size: m.Size, layer: &Layer{store: s}, seen: newSeen(m.Size), load: func() *parts { return p }}
		f, err := r.open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := errors.Join(os.Chmod(p.path, 0o600), os.Truncate(p.path, 3*page)); err != nil {
			t.Fatal(err)
		}
		if n, err := f.ReadAt(make([]byte, 4*page), 0); n != 3*page || !errors.Is(err, io.ErrUnexpectedEOF) || s.Missed() == nil {
			t.Errorf("%d bytes, %v, missed %v", n, err, s.Missed())
		}
	}
}

// TestWrongMemoryIsRefused checks that a memory whose extents cannot be right is not used. Only a bug
// can write one, because the cache authenticates its entries.
func TestWrongMemoryIsRefused(t *testing.T) {
	for what, m := range map[string]struct {
		remembered
		data int
	}{
		"beyond the end":   {remembered{Size: 10, Extents: []extent{{8, 4}}}, 4},
		"overlapping":      {remembered{Size: 10, Extents: []extent{{0, 4}, {2, 4}}}, 8},
		"unsorted":         {remembered{Size: 10, Extents: []extent{{4, 2}, {0, 2}}}, 4},
		"a negative size":  {remembered{Size: -1 << 63}, 0},
		"empty":            {remembered{Size: 10, Extents: []extent{{4, 0}}}, 0},
		"negative":         {remembered{Size: 10, Extents: []extent{{-1, 2}}}, 2},
		"too little data":  {remembered{Size: 10, Extents: []extent{{0, 4}}}, 3},
		"too much data":    {remembered{Size: 10, Extents: []extent{{0, 4}}}, 5},
		"more than a word": {remembered{Size: 10, Extents: []extent{{1, 1<<63 - 1}}}, 4},
	} {
		var fields bytes.Buffer
		if err := gob.NewEncoder(&fields).Encode(m.remembered); err != nil {
			t.Fatal(err)
		}
		raw := slices.Concat(binary.AppendUvarint(nil, uint64(fields.Len())), fields.Bytes(), make([]byte, m.data))
		if new(remembered).read(bytes.NewReader(raw), io.Discard) == nil {
			t.Errorf("%s: it is used", what)
		}
	}
	for _, raw := range [][]byte{nil, {0xff}, {200, 1, 2}, []byte("nothing at all"), binary.AppendUvarint(nil, maxFields+1)} {
		if new(remembered).read(bytes.NewReader(raw), io.Discard) == nil {
			t.Errorf("%q is used", raw)
		}
	}
	// The error of a damaged entry can come after all expected bytes.
	var whole bytes.Buffer
	kept := remembered{Size: 10, Extents: []extent{{0, 4}}}
	if err := kept.write(&whole, strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	if err := new(remembered).read(io.MultiReader(&whole, iotest.ErrReader(io.ErrUnexpectedEOF)), io.Discard); err == nil {
		t.Error("a damaged entry is used")
	}
}

// TestUnrecordedReadsAreNotRemembered checks that only recorded reads are kept for a later run.
func TestUnrecordedReadsAreNotRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layer")
	if err := os.WriteFile(path, make([]byte, 10*page), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := recording{f, newSeen(10 * page)}
	buf := make([]byte, 10)
	for _, in := range []io.ReaderAt{r, r.Unrecorded()} {
		off := int64(2 * page)
		if in != io.ReaderAt(r) {
			off = 7 * page
		}
		if _, err := in.ReadAt(buf, off); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.seen.extents(); len(got) != 1 || got[0] != (extent{2 * page, page}) {
		t.Errorf("it remembers %v", got)
	}
}

// memory is a Memory in a map.
type memory map[string][]byte

func (m memory) Open(key string) (io.ReadCloser, bool) {
	data, ok := m[key]
	return io.NopCloser(bytes.NewReader(data)), ok
}

func (m memory) Put(key string, write func(io.Writer) error) error {
	var out bytes.Buffer
	err := write(&out)
	m[key] = out.Bytes()
	return err
}

// TestLimitsOfTheMemory checks that a run recalls no more layers when it has too many bytes, and that a
// layer is not remembered if too much of it was read.
func TestLimitsOfTheMemory(t *testing.T) {
	kept := memory{}
	s, err := New(Options{Dir: t.TempDir(), Memory: kept, Notes: Notes{Build: "1",
		Of:  func(v1.Hash) func() []byte { return func() []byte { return []byte("notes") } },
		Use: func(v1.Hash, []byte) bool { return true }}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for name, size := range map[string]int64{"small": 10 * page, "large": maxRemembered + page} {
		sum := strings.Repeat(string(name[0]), 4)
		l := &Layer{store: s, descriptor: v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: "d" + sum}}, diffID: v1.Hash{Algorithm: "sha256", Hex: sum}}
		if err := os.WriteFile(s.layerPath(l.diffID), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(s.layerPath(l.diffID), size); err != nil {
			t.Fatal(err)
		}
		s.catalog(l)
		f, err := s.Decompressed(l.diffID)
		if err != nil {
			t.Fatal(err)
		}
		f.(recording).seen.mark(0, size)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		clear(kept)
		s.Remember(t.Context())()
		if _, ok := kept[s.memoryKey(l)]; ok != (name == "small") {
			t.Errorf("the %s layer is remembered: %v", name, ok)
		}
		if name == "large" {
			continue
		}
		s.recalledBytes = maxRecalled
		if s.recall(t.Context(), l) {
			t.Error("a layer is recalled beyond the limit")
		}
		if s.recalledBytes = 0; !s.recall(t.Context(), l) || s.recalledBytes == 0 {
			t.Errorf("the layer is not recalled, %d bytes", s.recalledBytes)
		}
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
		if len(s.recalled) > 0 {
			t.Error("a recalled layer stays in memory")
		}
	}
}
