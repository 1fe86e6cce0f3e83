package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// saved writes an archive as "docker save" does, and opens it. It stores layers unchanged, even if
// they do not match the config.
func saved(t *testing.T, config []byte, layers ...[]byte) v1.Image {
	t.Helper()
	entry := tarball.Descriptor{Config: "config.json", RepoTags: []string{"app:1"}}
	files := map[string][]byte{"config.json": config}
	for i, l := range layers {
		file := string(rune('a'+i)) + "/layer.tar"
		entry.Layers = append(entry.Layers, file)
		files[file] = l
	}
	manifest, err := json.Marshal(tarball.Manifest{entry})
	if err != nil {
		t.Fatal(err)
	}
	files["manifest.json"] = manifest
	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for file, b := range files {
		if err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// configOf returns an image config that lists the diffIDs of the given layers.
func configOf(t *testing.T, decompressed ...[]byte) []byte {
	t.Helper()
	config := v1.ConfigFile{Architecture: "amd64", OS: "linux", RootFS: v1.RootFS{Type: "layers"}}
	for _, b := range decompressed {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, sum(b))
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSavedImageHasOneDigestHoweverItWasCompressed(t *testing.T) {
	a, b := content(t, 40_000), content(t, 50_000)
	config := configOf(t, a, b, a)
	var digests []v1.Hash
	for what, src := range map[string]v1.Image{
		"plain":           saved(t, config, a, b, a),
		"gzip":            saved(t, config, gz(t, a), gz(t, b), gz(t, a)),
		"gzip and plain":  saved(t, config, gz(t, a), b, a),
		"zstd":            saved(t, config, zst(t, a), zst(t, b), zst(t, a)),
		"another program": written(t, saved(t, config, a, b, a)),
	} {
		s := newStore(t)
		img, err := s.FromTarball(t.Context(), src)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		m, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		ls, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range [][]byte{a, b, a} {
			checkLayer(t, ls[i], l, l)
			want := v1.Descriptor{MediaType: types.DockerUncompressedLayer, Digest: sum(l), Size: int64(len(l))}
			if diff := cmp.Diff(want, m.Layers[i]); diff != "" {
				t.Errorf("%s: layer %d:\n%s", what, i, diff)
			}
		}
		if got := s.Stats(); got.Fetches != 2 {
			t.Errorf("%s: 2 distinct layers were opened %d times", what, got.Fetches)
		}
		// The image passes the checks of Store.Image, and its layers are already fetched.
		again, err := s.Image(t.Context(), describe(t, img), img)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := s.Fetch(t.Context(), again, img); err != nil || s.Stats().Fetches != 2 {
			t.Errorf("%s: %v, %+v", what, err, s.Stats())
		}
		digests = append(digests, digestOf(t, img))
	}
	for _, d := range digests {
		if d != digests[0] {
			t.Errorf("digests differ: %v", digests)
			break
		}
	}
}

// written writes an image to an archive with go-containerregistry, and opens the archive.
func written(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	tag, err := name.NewTag("app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, tag, img); err != nil {
		t.Fatal(err)
	}
	out, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSavedImageIsNotTrusted(t *testing.T) {
	a, b := content(t, 40_000), content(t, 50_000)
	for what, c := range map[string]struct {
		img func(*testing.T) v1.Image
		is  func(error) bool
	}{
		"another layer":     {func(t *testing.T) v1.Image { return saved(t, configOf(t, a, content(t, 30_000)), a, b) }, isCorrupt},
		"layers swapped":    {func(t *testing.T) v1.Image { return saved(t, configOf(t, a, b), b, a) }, isCorrupt},
		"gzip behind plain": {func(t *testing.T) v1.Image { return saved(t, configOf(t, a, b), a, gz(t, b)) }, isCorrupt},
		"gzip of a gzip":    {func(t *testing.T) v1.Image { return saved(t, configOf(t, gz(t, a)), gz(t, gz(t, a))) }, isCorrupt},
		"text":              {func(t *testing.T) v1.Image { return saved(t, configOf(t, []byte("text")), []byte("text")) }, isCorrupt},
		"repeated key":      {func(t *testing.T) v1.Image { return saved(t, []byte(`{"os":"linux","os":"windows"}`)) }, isRefused},
		"a config too large": {func(t *testing.T) v1.Image {
			return saved(t, append(configOf(t), bytes.Repeat([]byte(" "), MaxConfig)...))
		}, isRefused},
		"more than the limit": {func(t *testing.T) v1.Image { return saved(t, configOf(t, content(t, 2<<20)), content(t, 2<<20)) }, func(err error) bool { return errors.Is(err, ErrTooLarge) }},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStore(t, func(o *Options) { o.MaxLayer = 1 << 20 })
			img, err := s.FromTarball(t.Context(), c.img(t))
			if !c.is(err) || img != nil {
				t.Errorf("got %v, %v", img, err)
			}
			checkNoPartials(t, s)
		})
	}
}

func TestIngestedLayerIsVerified(t *testing.T) {
	plain := content(t, 10_000)
	open := func(b []byte) Open {
		return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	}
	s := newStore(t)
	broken := errors.New("the daemon went away")
	for what, c := range map[string]struct {
		diffID v1.Hash
		mt     types.MediaType
		open   Open
		is     func(error) bool
	}{
		"other bytes": {sum(plain), types.OCIUncompressedLayer, open(content(t, 10_001)), isCorrupt},
		"compressed":  {sum(plain), types.OCIUncompressedLayer, open(gz(t, plain)), isCorrupt},
		"media type":  {sum(plain), types.OCILayer, open(plain), isRefused},
		"algorithm":   {v1.Hash{Algorithm: "sha512", Hex: strings.Repeat("0", 128)}, types.OCIUncompressedLayer, open(plain), isRefused},
		"broken source": {sum(plain), types.OCIUncompressedLayer, func(context.Context) (io.ReadCloser, error) { return nil, broken },
			func(err error) bool { return errors.Is(err, broken) }},
	} {
		l, err := s.Ingest(t.Context(), c.diffID, c.mt, c.open)
		if !c.is(err) || l != nil {
			t.Errorf("%s: got %v, %v", what, l, err)
		}
	}
	l, err := s.Ingest(t.Context(), sum(plain), types.OCIUncompressedLayer, open(plain))
	if err != nil {
		t.Fatal(err)
	}
	checkLayer(t, l, plain, plain)
}

func TestCancelledIngestLeavesNothing(t *testing.T) {
	plain := content(t, 1_000_000)
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	open := func(context.Context) (io.ReadCloser, error) {
		r := bytes.NewReader(plain)
		return io.NopCloser(readerFunc(func(b []byte) (int, error) {
			cancel()
			return r.Read(b)
		})), nil
	}
	if _, err := s.Ingest(ctx, sum(plain), types.OCIUncompressedLayer, open); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	checkNoPartials(t, s)
	if used := s.used.Load(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}

// closeAware records whether it is closed during a read.
type closeAware struct {
	*bytes.Reader
	cancel  func()
	reading atomic.Bool
	overlap atomic.Bool
}

func (c *closeAware) Read(p []byte) (int, error) {
	c.reading.Store(true)
	defer c.reading.Store(false)
	c.cancel()
	time.Sleep(20 * time.Millisecond) // leaves time for a concurrent Close
	return c.Reader.Read(p)
}

func (c *closeAware) Close() error {
	if c.reading.Load() {
		c.overlap.Store(true)
	}
	return nil
}

func TestArchiveIsNotClosedWhileItIsRead(t *testing.T) {
	plain := content(t, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	src := &closeAware{Reader: bytes.NewReader(plain), cancel: cancel}
	_, err := newStore(t).Ingest(ctx, sum(plain), types.OCIUncompressedLayer, func(context.Context) (io.ReadCloser, error) { return src, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if src.overlap.Load() {
		t.Error("decompressors do not allow that")
	}
}
