package gate

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/cache"
)

func (t *tester) cache(dir string) func(*Options) {
	t.Helper()
	return t.cacheOf(dir, 1<<30, make([]byte, 32))
}

func (t *tester) cacheOf(dir string, size int64, key []byte) func(*Options) {
	t.Helper()
	c, err := cache.Open(cache.Options{Dir: dir, Max: size, Now: time.Now, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Cache = c }
}

// layerReads counts how often the image's layers were read from the registry.
func (t *tester) layerReads(img v1.Image) int {
	t.Helper()
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range ls {
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		n += t.staging.BlobReads()[digest.String()]
	}
	return n
}

// TestCachedCatalogIsEqual checks that a second check of an image has equal evidence and documents,
// and reads no layer.
func TestCachedCatalogIsEqual(t *testing.T) {
	for name, img := range parityImages(t) {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			src := h.push("app:1", img)
			g := h.gate(blockCritical, h.cache(t.TempDir()))
			first := h.check(g, src)
			h.staging.ResetRequests()
			second := h.check(g, src)
			if n := h.layerReads(img); n > 0 || second.Fetched.Bytes > 0 {
				t.Errorf("%d layers were read, %d bytes", n, second.Fetched.Bytes)
			}
			if first.CacheHits != 0 || second.CacheHits != 1 {
				t.Errorf("%d from the cache, then %d", first.CacheHits, second.CacheHits)
			}
			if len(first.Input.Platforms[0].Findings) == 0 {
				t.Fatal("no findings, so that little is compared")
			}
			if d := cmp.Diff(first.Input, second.Input); d != "" {
				t.Errorf("the evidence differs: %s", d)
			}
			for i, s := range first.SBOMs {
				again := second.SBOMs[i]
				if string(s.SPDX) != string(again.SPDX) || string(s.CycloneDX) != string(again.CycloneDX) || s.Digest != again.Digest {
					t.Error("the documents differ")
				}
			}
		})
	}
}

// TestCachedCatalogIsEvaluatedAgain checks that a stricter policy denies an image that passed
// before, with the cached catalog and without pulling the image.
func TestCachedCatalogIsEvaluatedAgain(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(dirty))
	use := h.cache(t.TempDir())
	if r := h.check(h.gate("version: 1\nrules: [{name: all, effect: warn}]\n", use), src); !r.Decision.Passed {
		t.Fatal("denied")
	}
	if r := h.check(h.gate(blockCritical, use), src); r.Decision.Passed || r.CacheHits != 1 {
		t.Errorf("passed %v, %d from the cache", r.Decision.Passed, r.CacheHits)
	}
}

// TestKnownFindingsNeedNoMatcher checks that a second check with the same database takes the findings
// from the cache, and that a check with another database, build or cache secret does not. The matcher
// fails in all these checks, because the databases are closed.
func TestKnownFindingsNeedNoMatcher(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(dirty))
	dir := t.TempDir()
	use := h.cache(dir)
	records := t.TempDir()
	if err := os.CopyFS(records, os.DirFS("../examples/records")); err != nil {
		t.Fatal(err)
	}
	open := func() func(*Options) {
		t.Helper()
		db, err := openRecords(t.Context(), t.TempDir(), records)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return func(o *Options) { o.Database = db }
	}
	closed := func(o *Options) { o.Database.Close() }
	same := open()
	want := h.check(h.gate(blockCritical, use, same), src)
	got := h.check(h.gate(blockCritical, use, same, closed), src)
	if len(want.Input.Platforms[0].Findings) == 0 {
		t.Fatal("no findings, so that little is compared")
	}
	if d := cmp.Diff(want.Input, got.Input); d != "" {
		t.Error(d)
	}
	fails := func(name string, change ...func(*Options)) {
		t.Helper()
		if r, err := h.gate(blockCritical, append(change, closed)...).Check(t.Context(), src, ExternalEvidence{}); err == nil {
			t.Errorf("%s: the check passed without its database", name)
			_ = r.Close()
		}
	}
	fails("no cache", same)
	fails("another build", use, same, func(o *Options) { o.Tool.Build = "other" })
	fails("another secret", h.cacheOf(dir, 1<<30, bytes.Repeat([]byte{1}, 32)), same)
	if err := os.RemoveAll(filepath.Join(records, "kev")); err != nil {
		t.Fatal(err)
	}
	fails("another database", use, open())
}

// TestUndecodableInputOfTheMatcherIsCatalogedAgain checks that the gate catalogs an image again if the
// matcher needs the cached packages and they cannot be decoded.
func TestUndecodableInputOfTheMatcherIsCatalogedAgain(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(dirty))
	use := h.cache(t.TempDir())
	g := h.gate(blockCritical, use)
	want := h.check(g, src)
	key := g.cataloger.Key(want.SBOMs[0].Digest)
	first, _, ok := g.opts.Cache.GetParts(key)
	if !ok {
		t.Fatal("the cache has no SBOM")
	}
	if err := g.opts.Cache.PutParts(key, first, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if got := h.check(g, src); got.CacheHits != 1 {
		t.Error("the packages were decoded, although the findings are known")
	}
	if err := g.opts.Cache.Put(g.resultKey(want.SBOMs[0]), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	got := h.check(g, src)
	if got.CacheHits != 0 {
		t.Error("the cached SBOM was used")
	}
	if d := cmp.Diff(want.Input, got.Input); d != "" {
		t.Error(d)
	}
}

// TestDamagedCacheEntryIsNotUsed checks that the gate catalogs an image again if its cache entry is
// damaged.
func TestDamagedCacheEntryIsNotUsed(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(dirty))
	dir := t.TempDir()
	g := h.gate(blockCritical, h.cache(dir))
	want := h.check(g, src)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(f, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.staging.ResetRequests()
	got := h.check(g, src)
	if got.CacheHits != 0 {
		t.Error("the cache entry was used")
	}
	if h.layerReads(h.image(dirty)) == 0 {
		t.Error("no layer was read")
	}
	if d := cmp.Diff(want.Input, got.Input); d != "" {
		t.Error(d)
	}
}

// TestOtherBuildDoesNotUseTheCache checks that the gate does not use catalogs of another version,
// of another build of the same version, or of another version of syft.
func TestOtherBuildDoesNotUseTheCache(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(dirty))
	use := h.cache(t.TempDir())
	h.check(h.gate(blockCritical, use), src)
	for name, change := range map[string]func(*Tool){
		"version": func(t *Tool) { t.Version = "other" },
		"build":   func(t *Tool) { t.Build = "other" },
		"syft":    func(t *Tool) { t.Components = map[string]string{"syft": "other", "grype": "test"} },
	} {
		if r := h.check(h.gate(blockCritical, use, func(o *Options) { change(&o.Tool) }), src); r.CacheHits != 0 {
			t.Errorf("another %s: the cache entry was used", name)
		}
	}
}

// TestCachedPlatformsAreNotFetched checks that the gate fetches only the platforms of an index that
// are not in the cache.
func TestCachedPlatformsAreNotFetched(t *testing.T) {
	h := newTester(t)
	one, two := h.image(clean), h.image(dirty)
	use := h.cache(t.TempDir())
	h.check(h.gate(blockCritical, use), h.push("app:1", one))
	h.staging.ResetRequests()
	r := h.check(h.gate(blockCritical, use), h.push("app:2", h.index(one, two)))
	if r.CacheHits != 1 || len(r.Input.Platforms) != 2 {
		t.Errorf("%d of %d from the cache", r.CacheHits, len(r.Input.Platforms))
	}
	if h.layerReads(two) == 0 || len(r.Input.Platforms[1].Packages) == 0 {
		t.Error("the image that is not cached was not read")
	}
	shared := h.layerReads(one)
	ls, err := two.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls { // Do not count a layer that both images have. It was read for the second image.
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.LayerByDigest(digest); err == nil {
			shared -= h.staging.BlobReads()[digest.String()]
		}
	}
	if shared > 0 {
		t.Errorf("%d layers of the cached image were read", shared)
	}
}
