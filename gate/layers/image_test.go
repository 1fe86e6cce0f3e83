package layers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	limits "github.com/imagegate/imagegate/internal/registry"
)

// served is an in-process registry. Tests can replace its responses for blobs.
type served struct {
	repo  name.Repository
	blobs atomic.Int64 // number of GET requests for blobs
	// spoil may respond to a GET of a blob instead of the registry. It returns true if it has
	// responded.
	spoil atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

func serve(t *testing.T) *served {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := &served{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			s.blobs.Add(1)
			if f := s.spoil.Load(); f != nil && (*f)(w, r) {
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	var err error
	if s.repo, err = name.NewRepository(strings.TrimPrefix(srv.URL, "http://") + "/app"); err != nil {
		t.Fatal(err)
	}
	return s
}

// push pushes the image and returns the image as pulled by digest.
func (s *served) push(t *testing.T, img v1.Image) (v1.Descriptor, v1.Image) {
	t.Helper()
	ref := s.repo.Digest(digestOf(t, img).String())
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Get(ref, remote.WithContext(t.Context()), remote.WithRetryStatusCodes())
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := desc.Image()
	if err != nil {
		t.Fatal(err)
	}
	return desc.Descriptor, pulled
}

func digestOf(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func describe(t *testing.T, img v1.Image) v1.Descriptor {
	t.Helper()
	raw, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mt, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: mt, Digest: sum(raw), Size: int64(len(raw))}
}

func randomImage(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(50_000, layers)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func isCorrupt(err error) bool {
	var corrupt *CorruptError
	return errors.As(err, &corrupt)
}

func isRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

func TestImageKeepsItsBytesAndIsFetchedOnce(t *testing.T) {
	reg := serve(t)
	base := randomImage(t, 3)
	added, err := random.Layer(20_000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	// The child image has the added layer twice, and shares the layers of the base image.
	child, err := mutate.AppendLayers(base, added, added)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	var wrapped []v1.Image
	for _, img := range []v1.Image{base, child} {
		d, pulled := reg.push(t, img)
		w, err := s.Image(t.Context(), d, pulled)
		if err != nil {
			t.Fatal(err)
		}
		wrapped = append(wrapped, w)
	}
	reg.blobs.Store(0)
	if err := s.Fetch(t.Context(), wrapped...); err != nil {
		t.Fatal(err)
	}
	if n := reg.blobs.Load(); n != 4 {
		t.Errorf("4 distinct layers took %d requests", n)
	}
	for i, img := range []v1.Image{base, child} {
		want, err := img.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		got, err := wrapped[i].RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("the manifest has changed:\n%s", diff)
		}
		if err := validate.Image(wrapped[i]); err != nil {
			t.Error(err)
		}
	}
	if err := s.Fetch(t.Context(), wrapped...); err != nil {
		t.Error(err)
	}
	if got := s.Stats(); reg.blobs.Load() != 4 || got.Fetches != 4 {
		t.Errorf("reading took %d more requests, %+v", reg.blobs.Load()-4, got)
	}
}

func TestLayerIsNotReadBeforeItIsFetched(t *testing.T) {
	s := newStore(t)
	src := randomImage(t, 1)
	img, err := s.Image(t.Context(), describe(t, src), src)
	if err != nil {
		t.Fatal(err)
	}
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ls[0].Compressed(); !errors.Is(err, errNotFetched) {
		t.Errorf("compressed: %v", err)
	}
	if _, err := ls[0].Uncompressed(); !errors.Is(err, errNotFetched) {
		t.Errorf("uncompressed: %v", err)
	}
}

func TestLyingRegistryIsDetected(t *testing.T) {
	spoilt := func(change func([]byte) []byte) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, b []byte) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush() // flushing before the body omits the Content-Length header
			_, _ = w.Write(change(bytes.Clone(b)))
		}
	}
	for what, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, []byte)
		is     func(error) bool
	}{
		"other bytes": {spoilt(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), isCorrupt},
		"fewer bytes": {spoilt(func(b []byte) []byte { return b[:len(b)-1] }), func(err error) bool { return err != nil }},
		"other bytes without end": {func(w http.ResponseWriter, r *http.Request, _ []byte) {
			for block := make([]byte, 32<<10); r.Context().Err() == nil; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, isCorrupt},
		"a connection that breaks": {func(w http.ResponseWriter, _ *http.Request, b []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			_, _ = w.Write(b[:len(b)/2])
			panic(http.ErrAbortHandler)
		}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) && !isCorrupt(err) }},
		"a refusal": {func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusForbidden) },
			func(err error) bool {
				var refused *transport.Error
				return errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden
			}},
	} {
		t.Run(what, func(t *testing.T) {
			reg := serve(t)
			src := randomImage(t, 2)
			d, pulled := reg.push(t, src)
			s := newStore(t)
			img, err := s.Image(t.Context(), d, pulled)
			if err != nil {
				t.Fatal(err)
			}
			ls, err := src.Layers()
			if err != nil {
				t.Fatal(err)
			}
			rc, err := ls[0].Compressed()
			if err != nil {
				t.Fatal(err)
			}
			honest, err := io.ReadAll(rc)
			if err != nil {
				t.Fatal(err)
			}
			spoil := func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, sum(honest).String()) {
					return false
				}
				c.answer(w, r, honest)
				return true
			}
			reg.spoil.Store(&spoil)
			if err := s.Fetch(t.Context(), img); !c.is(err) {
				t.Errorf("got %v", err)
			}
			checkNoPartials(t, s)
			// Fetch does not cache the failure: it succeeds when the registry responds correctly.
			reg.spoil.Store(nil)
			if err := s.Fetch(t.Context(), img); err != nil {
				t.Errorf("after the registry has recovered: %v", err)
			}
		})
	}
}

// checkNoPartials looks for temporary files that were neither kept nor removed.
func checkNoPartials(t *testing.T, s *Store) {
	t.Helper()
	for _, sub := range []string{blobsDir, layersDir} {
		found, err := filepath.Glob(filepath.Join(s.dir, sub, ".partial-*"))
		if err != nil || len(found) > 0 {
			t.Errorf("left: %v, %v", found, err)
		}
	}
}

func TestBlobOfLayoutIsNotTrusted(t *testing.T) {
	src := randomImage(t, 2)
	for _, what := range []string{"config", "layer"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path, err := layout.Write(dir, mutate.AppendManifests(emptyIndex(t), mutate.IndexAddendum{Add: src}))
			if err != nil {
				t.Fatal(err)
			}
			m, err := src.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			victim := m.Config.Digest
			if what == "layer" {
				victim = m.Layers[1].Digest
			}
			name := filepath.Join(dir, "blobs", victim.Algorithm, victim.Hex)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			d := describe(t, src)
			raw, err := src.RawManifest()
			if err != nil {
				t.Fatal(err)
			}
			stored, err := NewImage(d.MediaType, raw, func(d v1.Descriptor) (io.ReadCloser, error) { return path.Blob(d.Digest) })
			if err != nil {
				t.Fatal(err)
			}
			s := newStore(t)
			img, err := s.Image(t.Context(), d, stored)
			if err == nil {
				err = s.Fetch(t.Context(), img)
			}
			if !isCorrupt(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func emptyIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	idx, err := random.Index(1, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return idx
}

// document is an image with the given bytes as its manifest and its config.
type document struct {
	v1.Image
	mediaType        types.MediaType
	manifest, config []byte
	layers           int
}

func (d *document) MediaType() (types.MediaType, error) { return d.mediaType, nil }
func (d *document) RawManifest() ([]byte, error)        { return d.manifest, nil }
func (d *document) RawConfigFile() ([]byte, error)      { return d.config, nil }
func (d *document) Layers() ([]v1.Layer, error)         { return make([]v1.Layer, d.layers), nil }

func TestDubiousImageIsNotOpened(t *testing.T) {
	const (
		layerDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		diffID      = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	)
	config := `{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"1","A":"2"}},"rootfs":{"type":"layers","diff_ids":["` + diffID + `"]}}`
	layer := `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"` + layerDigest + `","size":10}`
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":CONFIG,"layers":[` + layer + `],"annotations":{"k":"v","K":"w"}}`
	descriptor := func(config string) string {
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d}`, sum([]byte(config)), len(config))
	}
	instead := func(s, old, new string) string {
		t.Helper()
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in it", old)
		}
		return strings.Replace(s, old, new, 1)
	}
	inManifest := func(old, new string) [2]string { return [2]string{instead(manifest, old, new), config} }
	inConfig := func(old, new string) [2]string { return [2]string{manifest, instead(config, old, new)} }
	many := strings.TrimSuffix(strings.Repeat(layer+",", MaxLayers+1), ",")
	manyDiffIDs := strings.TrimSuffix(strings.Repeat(`"`+diffID+`",`, MaxLayers+1), ",")
	for what, c := range map[string]struct {
		documents [2]string
		is        func(error) bool
	}{
		"nothing wrong":                  {[2]string{manifest, config}, func(err error) bool { return err == nil }},
		"no media type inside":           {inManifest(`"mediaType":"application/vnd.oci.image.manifest.v1+json",`, ``), func(err error) bool { return err == nil }},
		"urls of a layer":                {inManifest(`"size":10}`, `"size":10,"urls":["https://elsewhere.example/"]}`), isRefused},
		"urls of the config":             {inManifest(`"config":CONFIG`, `"config":URLS`), isRefused},
		"foreign layer":                  {inManifest(`vnd.oci.image.layer.v1.tar+gzip`, `vnd.docker.image.rootfs.foreign.diff.tar.gzip`), isRefused},
		"nondistributable layer":         {inManifest(`vnd.oci.image.layer.v1`, `vnd.oci.image.layer.nondistributable.v1`), isRefused},
		"layer that is no archive":       {inManifest(`vnd.oci.image.layer.v1.tar+gzip`, `vnd.wasm.content.layer.v1+wasm`), isRefused},
		"sha512":                         {inManifest(layerDigest, `sha512:`+strings.Repeat("a", 128)), isRefused},
		"negative size":                  {inManifest(`"size":10}`, `"size":-1}`), isRefused},
		"says that it is an index":       {inManifest(`vnd.oci.image.manifest.v1`, `vnd.oci.image.index.v1`), isRefused},
		"lists manifests too":            {inManifest(`"schemaVersion":2`, `"schemaVersion":2,"manifests":[]`), isRefused},
		"attached to another":            {inManifest(`"schemaVersion":2`, `"schemaVersion":2,"subject":`+layer), isRefused},
		"first schema":                   {inManifest(`"schemaVersion":2`, `"schemaVersion":1`), isRefused},
		"repeated key":                   {inManifest(`"schemaVersion":2`, `"schemaVersion":2,"layers":[]`), isRefused},
		"repeated key of a layer":        {inManifest(`"size":10}`, `"size":10,"digest":"`+diffID+`"}`), isRefused},
		"key in another case":            {inManifest(`"schemaVersion":2`, `"schemaVersion":2,"Layers":[]`), isRefused},
		"key in another case of a layer": {inManifest(`"size":10}`, `"size":10,"Digest":"`+diffID+`"}`), isRefused},
		"key with a long s":              {inManifest(`"size":10}`, `"ſize":10}`), isRefused},
		"more behind it":                 {inManifest(`"schemaVersion":2`, `"schemaVersion":2}{"schemaVersion":2`), isRefused},
		"config of an artifact":          {inManifest(`"config":CONFIG`, `"config":ARTIFACT`), isRefused},
		"too many layers":                {[2]string{instead(manifest, layer, many), instead(config, `"`+diffID+`"`, manyDiffIDs)}, isRefused},
		"too large":                      {inManifest(`"k":"v"`, `"k":"`+strings.Repeat("v", limits.MaxManifest)+`"`), isRefused},
		"zstd layer of Docker":           {inManifest(`vnd.oci.image.layer.v1.tar+gzip`, `vnd.docker.image.rootfs.diff.tar.zstd`), func(err error) bool { return err == nil }},
		"layer for SOCI":                 {inManifest(`"size":10}`, `"size":10,"annotations":{"com.amazon.soci.x":"y"}}`), isRefused},
		"image for SOCI":                 {inManifest(`"k":"v"`, `"com.amazon.soci.image-layer-digest":"`+diffID+`"`), isRefused},
		"image for SOCI, no digest":      {inManifest(`"k":"v"`, `"com.amazon.soci.index-digest":"x"`), isRefused},
		"layer for nydus":                {inManifest(`"size":10}`, `"size":10,"annotations":{"containerd.io/snapshot/nydus-bootstrap":"true"}}`), isRefused},
		"layer for overlaybd":            {inManifest(`"size":10}`, `"size":10,"annotations":{"containerd.io/snapshot/overlaybd/blob-digest":"`+diffID+`"}}`), isRefused},
		"layer that skips verifying":     {inManifest(`"size":10}`, `"size":10,"annotations":{"containerd.io/snapshot/remote/stargz.skipverify":"true"}}`), isRefused},
		"layer with other annotations":   {inManifest(`"size":10}`, `"size":10,"annotations":{"org.example.note":"x"}}`), func(err error) bool { return err == nil }},
		"plain by name, not by digest":   {inManifest(`layer.v1.tar+gzip`, `layer.v1.tar`), isCorrupt},
		"fewer diffIDs than layers":      {inConfig(`["`+diffID+`"]`, `[]`), isRefused},
		"more diffIDs than layers":       {inConfig(`"`+diffID+`"]`, `"`+diffID+`","`+diffID+`"]`), isRefused},
		"diffID that is no digest":       {inConfig(diffID, `latest`), isRefused},
		"repeated key of the config":     {inConfig(`"os":"linux"`, `"os":"linux","rootfs":{}`), isRefused},
		"config's key in another case":   {inConfig(`"diff_ids":`, `"diff_ids":[],"Diff_IDs":`), isRefused},
		"config too large":               {inConfig(`"a":"1"`, `"a":"`+strings.Repeat("1", MaxConfig)+`"`), isRefused},
	} {
		t.Run(what, func(t *testing.T) {
			raw, config := c.documents[0], c.documents[1]
			good := descriptor(config)
			raw = strings.Replace(raw, "CONFIG", good, 1)
			raw = strings.Replace(raw, "URLS", strings.TrimSuffix(good, "}")+`,"urls":["https://elsewhere.example/"]}`, 1)
			raw = strings.Replace(raw, "ARTIFACT", strings.Replace(good, "vnd.oci.image.config.v1+json", "vnd.oci.empty.v1+json", 1), 1)
			d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: sum([]byte(raw)), Size: int64(len(raw))}
			doc := &document{mediaType: d.MediaType, manifest: []byte(raw), config: []byte(config), layers: strings.Count(raw, "layer.v1") + strings.Count(raw, "diff.tar.zstd")}
			if _, err := newStore(t).Image(t.Context(), d, doc); !c.is(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestImageThatIsNotTheOneNamedIsNotOpened(t *testing.T) {
	src := randomImage(t, 1)
	good := describe(t, src)
	raw, err := src.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := src.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*v1.Descriptor, *document)
		is     func(error) bool
	}{
		"another digest":     {func(d *v1.Descriptor, _ *document) { d.Digest.Hex = strings.Repeat("0", 64) }, isCorrupt},
		"another size":       {func(d *v1.Descriptor, _ *document) { d.Size++ }, isCorrupt},
		"another media type": {func(_ *v1.Descriptor, doc *document) { doc.mediaType = types.OCIImageIndex }, isRefused},
		"an index": {func(d *v1.Descriptor, doc *document) {
			d.MediaType, doc.mediaType = types.DockerManifestList, types.DockerManifestList
		}, isRefused},
		"an index that does not say so": {func(d *v1.Descriptor, doc *document) {
			doc.manifest = bytes.Replace(raw, []byte(`"mediaType":"`+string(good.MediaType)+`",`), nil, 1)
			d.Digest, d.Size = sum(doc.manifest), int64(len(doc.manifest))
			d.MediaType, doc.mediaType = types.DockerManifestList, types.DockerManifestList
		}, isRefused},
		"another config":  {func(_ *v1.Descriptor, doc *document) { doc.config = bytes.ToUpper(config) }, isCorrupt},
		"a longer config": {func(_ *v1.Descriptor, doc *document) { doc.config = append(bytes.Clone(config), ' ') }, isCorrupt},
		"no layers":       {func(_ *v1.Descriptor, doc *document) { doc.layers = 0 }, isRefused},
	} {
		d, doc := good, &document{mediaType: good.MediaType, manifest: raw, config: config, layers: 1}
		c.change(&d, doc)
		if _, err := newStore(t).Image(t.Context(), d, doc); !c.is(err) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestLayerOfAnotherStoreIsNotFetched(t *testing.T) {
	src := randomImage(t, 1)
	other, err := newStore(t).Image(t.Context(), describe(t, src), src)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	if err := s.Fetch(t.Context(), other); err == nil {
		t.Error("a layer of another store was fetched")
	}
	if err := s.Fetch(t.Context(), src); err == nil {
		t.Error("a layer of no store was fetched")
	}
	if got := s.Stats(); got != (Stats{}) {
		t.Errorf("%+v", got)
	}
}

func TestProgressReachesItsTotal(t *testing.T) {
	seen := &meter{done: map[v1.Hash]int64{}}
	s := newStore(t, func(o *Options) { o.Progress = seen })
	src := randomImage(t, 3)
	img, err := s.Image(t.Context(), describe(t, src), src)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fetch(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	want := map[v1.Hash]int64{}
	for _, l := range m.Layers {
		want[l.Digest] = l.Size
	}
	if diff := cmp.Diff(want, seen.done); diff != "" || seen.wrong != 0 {
		t.Errorf("%d steps were wrong:\n%s", seen.wrong, diff)
	}
}

type meter struct {
	mu    sync.Mutex
	done  map[v1.Hash]int64
	wrong int
}

func (m *meter) Layer(digest v1.Hash, done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if done <= m.done[digest] || done > total {
		m.wrong++
	}
	m.done[digest] = done
}

func TestReadOfAnotherThatIsCancelledDoesNotEndOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := content(t, 1000)
		src := honest(gz(t, plain), plain)
		s := newStore(t)
		theirs, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		src.openFunc = func(context.Context) (io.ReadCloser, error) {
			if src.opened.Load() == 1 {
				<-release
				return nil, theirs.Err()
			}
			return io.NopCloser(bytes.NewReader(src.stored)), nil
		}
		l, err := s.layer(v1.Descriptor{MediaType: types.OCILayer, Digest: src.digest, Size: src.size}, src.diffID, src.open)
		if err != nil {
			t.Fatal(err)
		}
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- s.fetch(theirs, l, nil) }()
		synctest.Wait()
		go func() { second <- s.fetch(t.Context(), l, nil) }()
		synctest.Wait() // returns when the second fetch waits for the first one
		cancel()
		close(release)
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled one: %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the other one: %v", err)
		}
	})
}

func TestDeepDocumentDoesNotExhaustTheStack(t *testing.T) {
	raw := bytes.Repeat([]byte("["), limits.MaxManifest)
	if err := decode(raw, manifestShape, new(any)); err == nil {
		t.Error("no error")
	}
}

func FuzzDecodedManifestIsUnambiguous(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"layers":[{"size":1}],"annotations":{"a":"b"}}`))
	f.Add([]byte(`{"layers":[],"Layers":[{"size":1}]}`))
	f.Add([]byte(`{"layers":[{"size":1,"ſize":2}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var loose v1.Manifest
		if err := decode(raw, manifestShape, &loose); err != nil {
			return
		}
		// A parser that requires the exact spelling of keys must find the same layers as
		// encoding/json.
		var exact map[string]json.RawMessage
		if err := json.Unmarshal(raw, &exact); err != nil {
			return // not a JSON object
		}
		var ls []map[string]json.RawMessage
		if b, ok := exact["layers"]; ok {
			if err := json.Unmarshal(b, &ls); err != nil {
				t.Fatalf("layers of %s: %v", raw, err)
			}
		}
		if len(ls) != len(loose.Layers) {
			t.Fatalf("%d layers or %d: %s", len(loose.Layers), len(ls), raw)
		}
		for i, l := range ls {
			var size int64
			if b, ok := l["size"]; ok {
				if err := json.Unmarshal(b, &size); err != nil {
					t.Fatalf("size in %s: %v", raw, err)
				}
			}
			if size != loose.Layers[i].Size {
				t.Fatalf("size %d or %d: %s", loose.Layers[i].Size, size, raw)
			}
		}
	})
}

// TestOldMediaTypesOfConfigsAreAccepted checks that old media types of configs are accepted.
// Docker accepts these types, too. The content must be the config of an image.
func TestOldMediaTypesOfConfigsAreAccepted(t *testing.T) {
	for _, manifest := range []types.MediaType{types.DockerManifestSchema2, types.OCIManifestSchema1} {
		for _, config := range []types.MediaType{"application/octet-stream", "application/json", "text/html", types.DockerConfigJSON, types.OCIConfigJSON} {
			src := mutate.ConfigMediaType(mutate.MediaType(randomImage(t, 2), manifest), config)
			s := newStore(t)
			img, err := s.Image(t.Context(), describe(t, src), src)
			if err != nil {
				t.Errorf("%s with a %s: %v", manifest, config, err)
				continue
			}
			if err := s.Fetch(t.Context(), img); err != nil || digestOf(t, img) != digestOf(t, src) {
				t.Errorf("%s with a %s: %v", manifest, config, err)
			}
		}
	}
}

// TestArtifactIsNotTakenForAnImage checks that an artifact is not accepted as an image, whatever
// the media type of its config.
func TestArtifactIsNotTakenForAnImage(t *testing.T) {
	layer, err := random.Layer(100, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	diffID, err := layer.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layer.Size()
	if err != nil {
		t.Fatal(err)
	}
	rootfs := fmt.Sprintf(`"rootfs":{"type":"layers","diff_ids":[%q]}`, diffID)
	for name, c := range map[string]struct{ mediaType, config, artifactType string }{
		"no JSON":                       {"application/octet-stream", "MZ", ""},
		"an empty config":               {"application/octet-stream", "{}", ""},
		"a config without a rootfs":     {"application/octet-stream", `{"architecture":"amd64","os":"linux"}`, ""},
		"a rootfs of another type":      {"application/octet-stream", strings.Replace(`{"architecture":"amd64","os":"linux",`+rootfs+`}`, "layers", "ext4", 1), ""},
		"a rootfs with other layers":    {"application/octet-stream", `{"rootfs":{"type":"layers","diff_ids":[]}}`, ""},
		"a list":                        {"application/json", "[]", ""},
		"a page":                        {"text/html", "<html></html>", ""},
		"an artifact with a type":       {"application/octet-stream", `{` + rootfs + `}`, "application/vnd.example"},
		"a plugin":                      {"application/vnd.docker.plugin.v1+json", `{` + rootfs + `}`, ""},
		"a chart":                       {"application/vnd.cncf.helm.config.v1+json", `{` + rootfs + `}`, ""},
		"the empty config of artifacts": {"application/vnd.oci.empty.v1+json", "{}", ""},
		"another type":                  {"text/plain", `{` + rootfs + `}`, ""},
		"a type with a parameter":       {"application/octet-stream; x=y", `{` + rootfs + `}`, ""},
	} {
		config := []byte(c.config)
		raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: c.artifactType,
			Config: v1.Descriptor{MediaType: types.MediaType(c.mediaType), Digest: sum(config), Size: int64(len(config))},
			Layers: []v1.Descriptor{{MediaType: types.OCILayer, Digest: digest, Size: size}}})
		if err != nil {
			t.Fatal(err)
		}
		src, err := NewImage(types.OCIManifestSchema1, raw, func(d v1.Descriptor) (io.ReadCloser, error) {
			if d.Digest == digest {
				return layer.Compressed()
			}
			return io.NopCloser(bytes.NewReader(config)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: sum(raw), Size: int64(len(raw))}
		if _, err := newStore(t).Image(t.Context(), d, src); !isRefused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
