package layers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// content returns a tar archive with one file of the given size. It compresses about as well as the
// content of a typical layer.
func content(t testing.TB, size int) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(size)))
	body := make([]byte, size)
	for i := range body {
		body[i] = "abcdefghijklmnop"[r.IntN(16)]
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func sum(b []byte) v1.Hash {
	s := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(s[:])}
}

func newStore(t testing.TB, change ...func(*Options)) *Store {
	t.Helper()
	opts := Options{Dir: t.TempDir()}
	for _, c := range change {
		c(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		entries, err := os.ReadDir(opts.Dir)
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s", e.Name())
		}
	})
	return s
}

// upstream is one layer as an honest or hostile registry would serve it: the stored bytes, and the
// digests and size that the manifest lists.
type upstream struct {
	stored   []byte
	diffID   v1.Hash
	digest   v1.Hash
	size     int64
	opened   atomic.Int64
	openFunc Open
}

func honest(stored, decompressed []byte) *upstream {
	return &upstream{stored: stored, diffID: sum(decompressed), digest: sum(stored), size: int64(len(stored))}
}

func (s *upstream) open(ctx context.Context) (io.ReadCloser, error) {
	s.opened.Add(1)
	if s.openFunc != nil {
		return s.openFunc(ctx)
	}
	return io.NopCloser(bytes.NewReader(s.stored)), nil
}

// fetch reads the layer of src through the store st, and returns the verified layer.
func fetch(t testing.TB, st *Store, src *upstream) (*Layer, error) {
	t.Helper()
	l, err := st.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size}, src.diffID, src.open)
	if err != nil {
		return nil, err
	}
	return l, st.fetch(t.Context(), l, nil)
}

// checkLayer checks that a layer has these stored bytes and these decompressed bytes.
func checkLayer(t *testing.T, l v1.Layer, stored, decompressed []byte) {
	t.Helper()
	for what, c := range map[string]struct {
		open func() (io.ReadCloser, error)
		want []byte
	}{"stored": {l.Compressed, stored}, "decompressed": {l.Uncompressed, decompressed}} {
		rc, err := c.open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes, not %d", what, len(got), len(c.want))
		}
	}
}

func TestEveryCompressionGivesTheSameBytes(t *testing.T) {
	plain := content(t, 300_000)
	half := len(plain) / 2
	for name, stored := range map[string][]byte{
		"gzip":         gz(t, plain),
		"gzip members": append(gz(t, plain[:half]), gz(t, plain[half:])...),
		"zstd":         zst(t, plain),
		"zstd frames":  append(zst(t, plain[:half]), zst(t, plain[half:])...),
		"plain":        plain,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			l, err := fetch(t, s, honest(stored, plain))
			if err != nil {
				t.Fatal(err)
			}
			checkLayer(t, l, stored, plain)
		})
	}
}

func TestCorruptLayerIsNotKept(t *testing.T) {
	plain := content(t, 100_000)
	stored := gz(t, plain)
	flipped := bytes.Clone(stored)
	flipped[len(flipped)/2] ^= 1
	other := gz(t, content(t, 100_001))
	for name, src := range map[string]*upstream{
		"other bytes of the same size": {stored: flipped, digest: sum(stored), size: int64(len(stored)), diffID: sum(plain)},
		"flipped, with its own digest": {stored: flipped, digest: sum(flipped), size: int64(len(flipped)), diffID: sum(plain)},
		"shorter":                      {stored: stored[:len(stored)-1], digest: sum(stored), size: int64(len(stored)), diffID: sum(plain)},
		"longer":                       {stored: append(bytes.Clone(stored), 0), digest: sum(stored), size: int64(len(stored)), diffID: sum(plain)},
		"truncated, with its own digest": {stored: stored[:len(stored)-9], digest: sum(stored[:len(stored)-9]),
			size: int64(len(stored) - 9), diffID: sum(plain)},
		"trailing bytes, with its own digest": {stored: append(bytes.Clone(stored), "more"...), digest: sum(append(bytes.Clone(stored), "more"...)),
			size: int64(len(stored) + 4), diffID: sum(plain)},
		"another diffID": {stored: other, digest: sum(other), size: int64(len(other)), diffID: sum(plain)},
		"empty":          {stored: nil, digest: sum(nil), size: 0, diffID: sum(plain)},
		"largest size":   {stored: stored, digest: sum(stored), size: math.MaxInt64, diffID: sum(plain)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			l, err := fetch(t, s, src)
			if err == nil {
				t.Fatal("no error")
			}
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Errorf("%T: %v", err, err)
			}
			if _, err := l.Compressed(); !errors.Is(err, errNotFetched) {
				t.Errorf("the corrupt layer can be read: %v", err)
			}
			for _, sub := range []string{blobsDir, layersDir} {
				entries, err := os.ReadDir(filepath.Join(s.dir, sub))
				if err != nil || len(entries) != 0 {
					t.Errorf("%s holds %v, %v", sub, entries, err)
				}
			}
		})
	}
}

func TestEndlessLayerIsNotRead(t *testing.T) {
	src := honest(gz(t, content(t, 1000)), content(t, 1000))
	var read atomic.Int64
	src.openFunc = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(readerFunc(func(b []byte) (int, error) { read.Add(int64(len(b))); return len(b), nil })), nil
	}
	if _, err := fetch(t, newStore(t), src); err == nil {
		t.Fatal("no error")
	}
	if read.Load() > 2*chunk {
		t.Errorf("%d bytes were read", read.Load())
	}
}

func TestBombDoesNotFillTheDisk(t *testing.T) {
	bomb := make([]byte, 8<<20)
	for name, change := range map[string]func(*Options){
		"layer": func(o *Options) { o.MaxLayer = 1 << 20 },
		"total": func(o *Options) { o.MaxTotal = 1 << 20 },
	} {
		for format, stored := range map[string][]byte{"gzip": gz(t, bomb), "zstd": zst(t, bomb)} {
			s := newStore(t, change)
			if _, err := fetch(t, s, honest(stored, bomb)); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, %s: %v", name, format, err)
			}
			if used := s.used.Load(); used > 3<<20 {
				t.Errorf("%s, %s: %d bytes were written", name, format, used)
			}
		}
	}
}

// TestSourceThatNeverOpensIsLeft checks that a canceled fetch returns even if the function that
// opens the layer has not returned. Some open functions do not support cancellation.
func TestSourceThatNeverOpensIsLeft(t *testing.T) {
	src := honest(gz(t, content(t, 1000)), content(t, 1000))
	ctx, cancel := context.WithCancel(t.Context())
	late, closed := make(chan struct{}), make(chan struct{})
	src.openFunc = func(context.Context) (io.ReadCloser, error) {
		cancel() // A failure of another layer cancels the context in the same way.
		<-late
		return closer{bytes.NewReader(src.stored), closed}, nil
	}
	s := newStore(t)
	l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size}, src.diffID, src.open)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.fetch(ctx, l, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(late)
	<-closed
}

// closer closes a channel when it is closed.
type closer struct {
	io.Reader
	closed chan struct{}
}

func (c closer) Close() error { close(c.closed); return nil }

func TestSharedLayerIsReadOnce(t *testing.T) {
	plain := content(t, 200_000)
	src := honest(gz(t, plain), plain)
	s := newStore(t)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if _, err := fetch(t, s, src); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := src.opened.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	if got := s.Stats(); got.Fetches != 1 || got.Bytes != src.size {
		t.Errorf("%+v", got)
	}
}

func TestTwoDiffIDsForOneLayerAreRefused(t *testing.T) {
	plain := content(t, 1000)
	src := honest(gz(t, plain), plain)
	s := newStore(t)
	if _, err := fetch(t, s, src); err != nil {
		t.Fatal(err)
	}
	liar := honest(src.stored, []byte("something else"))
	var corrupt *CorruptError
	if _, err := fetch(t, s, liar); !errors.As(err, &corrupt) {
		t.Errorf("%v", err)
	}
}

func TestFailedReadIsTriedAgain(t *testing.T) {
	plain := content(t, 1000)
	src := honest(gz(t, plain), plain)
	broken := errors.New("connection reset")
	src.openFunc = func(context.Context) (io.ReadCloser, error) { return nil, broken }
	s := newStore(t)
	if _, err := fetch(t, s, src); !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	src.openFunc = nil
	if _, err := fetch(t, s, src); err != nil {
		t.Error(err)
	}
}

func TestCancelledReadLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	plain := content(t, 1_000_000)
	src := honest(gz(t, plain), plain)
	ctx, cancel := context.WithCancel(t.Context())
	src.openFunc = func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe() // returns some bytes, then blocks forever
		go func() {
			_, _ = w.Write(src.stored[:1000])
			cancel()
		}()
		return r, nil
	}
	s := newStore(t)
	l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size}, src.diffID, src.open)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.fetch(ctx, l, nil); err == nil {
		t.Fatal("no error")
	}
	for _, sub := range []string{blobsDir, layersDir} {
		if entries, err := os.ReadDir(filepath.Join(s.dir, sub)); err != nil || len(entries) != 0 {
			t.Errorf("%s holds %v, %v", sub, entries, err)
		}
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+1; {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, and %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestFoldersOfKilledRunsAreRemoved(t *testing.T) {
	if os.Getenv("LAYERS_TEST_KILLED") != "" {
		if _, err := New(Options{Dir: os.Getenv("LAYERS_TEST_KILLED")}); err != nil {
			t.Fatal(err)
		}
		os.Exit(0) // Exit without calling Close, like a run that was killed.
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFoldersOfKilledRunsAreRemoved$")
	cmd.Env = append(os.Environ(), "LAYERS_TEST_KILLED="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	live, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	// Folders of other programs must not be removed, even if their names begin with dirPrefix.
	foreign := filepath.Join(dir, dirPrefix+"of-somebody")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	second, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 {
		t.Errorf("the folder holds %v", entries)
	}
	if _, err := os.Stat(filepath.Join(live.dir, lockName)); err != nil {
		t.Errorf("the folder of a live run is gone: %v", err)
	}
}

func TestFullDiskIsAnErrorOfItsOwn(t *testing.T) {
	plain := content(t, 1_000_000)
	src := honest(gz(t, plain), plain)
	s := newStore(t, func(o *Options) { o.MaxTotal = 100_000 })
	_, err := fetch(t, s, src)
	var corrupt *CorruptError
	if !errors.Is(err, ErrTooLarge) || errors.As(err, &corrupt) || !strings.Contains(err.Error(), "on disk") {
		t.Errorf("%v", err)
	}
}

func BenchmarkIngest(b *testing.B) {
	plain := content(b, 32<<20)
	for name, stored := range map[string][]byte{"gzip": gz(b, plain), "zstd": zst(b, plain), "plain": plain} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				s := newStore(b)
				if _, err := fetch(b, s, honest(stored, plain)); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestSelfVerifyingReaderReplacesHashingOnlyOfCompressedLayers checks that a self-verifying reader
// is trusted only for compressed layers, whose decompressed content is hashed, too. A reader is not
// trusted if it verifies another digest, or ends with an error other than io.EOF.
func TestSelfVerifyingReaderReplacesHashingOnlyOfCompressedLayers(t *testing.T) {
	plain := content(t, 10_000)
	stored := gz(t, plain)
	other := slices.Clone(stored)
	other[4] ^= 1 // changes the time in the gzip header, but not the decompressed content
	for name, c := range map[string]struct {
		src      *upstream
		verifies v1.Hash
		end      error // the error at the end of the content, instead of io.EOF
		kept     bool
	}{
		"honest":                 {honest(stored, plain), sum(stored), nil, true},
		"self-verified":          {&upstream{stored: other, diffID: sum(plain), digest: sum(stored), size: int64(len(stored))}, sum(stored), nil, true},
		"for another":            {&upstream{stored: other, diffID: sum(plain), digest: sum(stored), size: int64(len(stored))}, sum(other), nil, false},
		"with another end":       {&upstream{stored: other, diffID: sum(plain), digest: sum(stored), size: int64(len(stored))}, sum(stored), errors.New("broken"), false},
		"too short":              {&upstream{stored: stored[:len(stored)-1], diffID: sum(plain), digest: sum(stored), size: int64(len(stored))}, sum(stored), nil, false},
		"another diffID":         {&upstream{stored: stored, diffID: sum(stored), digest: sum(stored), size: int64(len(stored))}, sum(stored), nil, false},
		"decompressed otherwise": {&upstream{stored: gz(t, content(t, 20_000)), diffID: sum(plain), digest: sum(stored), size: int64(len(gz(t, content(t, 20_000))))}, sum(stored), nil, false},
		"not compressed":         {&upstream{stored: content(t, 20_000), diffID: sum(content(t, 20_001)), digest: sum(content(t, 20_001)), size: int64(len(content(t, 20_000)))}, sum(content(t, 20_001)), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStore(t)
			c.src.openFunc = func(context.Context) (io.ReadCloser, error) {
				var r io.Reader = bytes.NewReader(c.src.stored)
				if c.end != nil {
					r = io.MultiReader(r, iotest.ErrReader(c.end))
				}
				return verifyingReader{io.NopCloser(r), c.verifies}, nil
			}
			l, err := fetch(t, st, c.src)
			if (err == nil) != c.kept {
				t.Fatalf("kept is %v: %v", err == nil, err)
			}
			if err != nil {
				var corrupt *CorruptError
				if !errors.As(err, &corrupt) {
					t.Errorf("%T: %v", err, err)
				}
				return
			}
			rc, err := l.Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

type verifyingReader struct {
	io.ReadCloser
	digest v1.Hash
}

func (v verifyingReader) VerifiedDigest() v1.Hash { return v.digest }
