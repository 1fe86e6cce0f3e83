package gate

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/registry"
)

func npm(name, version string) string { return fmt.Sprintf(`{"name":%q,"version":%q}`, name, version) }

// base is an image with packages of several kinds, and with files that no cataloger reads.
var base = lab.ImageSpec{
	OSRelease: "debian 12",
	DebPackages: []lab.Deb{{Name: "libssl3", Version: "3.0.11-1~deb12u2", Source: "openssl"}, {Name: "bind9", Version: "1:9.18.1-1"},
		{Name: "jq", Version: "1.6-2.1"}},
	NPM: []lab.NPM{{Name: "json-schema", Version: "0.3.0"}, {Name: "ip", Version: "2.0.1"}},
	Layers: [][]lab.File{{
		{Path: "srv/data/one.json", Content: npm("undici", "6.6.1")}, // becomes a package if a layer links it to package.json
		{Path: "srv/data/two.json", Content: npm("@babel/traverse", "7.23.1")},
		{Path: "opt/app/node_modules/ip/package.json", Content: npm("ip", "1.1.5")},
		{Path: "opt/app/big.bin", Zeros: 3 << 20},
	}},
}

// changes are upper layers that change in different ways what the layers below mean.
var changes = map[string][]lab.File{
	"a new package":                             {{Path: "opt/new/node_modules/ip/package.json", Content: npm("ip", "1.1.4")}},
	"a file without meaning":                    {{Path: "etc/motd", Content: "hello"}},
	"a replaced package":                        {{Path: "opt/app/node_modules/ip/package.json", Content: npm("ip", "2.0.2")}},
	"a deleted package":                         {lab.Whiteout("opt/app/node_modules/ip")},
	"a hidden folder":                           {lab.Opaque("usr/lib/node_modules")},
	"a replaced database":                       {{Path: "var/lib/dpkg/status", Content: "Package: jq\nStatus: install ok installed\nVersion: 1.6-2.1+deb12u1\nArchitecture: amd64\nDescription: x\n"}},
	"a deleted database":                        {lab.Whiteout("var/lib/dpkg/status")},
	"another distribution":                      {{Path: "etc/os-release", Content: "ID=debian\nVERSION_ID=\"11\"\n"}},
	"a hard link to a known file":               {{Path: "opt/linked/node_modules/ip/package.json", HardLink: "opt/app/node_modules/ip/package.json"}},
	"a hard link to a file that was never read": {{Path: "opt/linked/node_modules/undici/package.json", HardLink: "srv/data/one.json"}},
	"a symbolic link to such a file":            {{Path: "opt/linked/node_modules/babel/package.json", Link: "/srv/data/two.json"}},
	"a folder that became a link":               {lab.Whiteout("opt/app"), {Path: "opt/app", Link: "/usr/lib"}},
}

// same compares two results: the evidence and the documents.
func same(t *testing.T, cold, warm *Result) {
	t.Helper()
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "Reference") }, cmp.Ignore())
	if d := cmp.Diff(cold.Input, warm.Input, ignore); d != "" {
		t.Errorf("the evidence differs: %s", d)
	}
	for i, s := range cold.SBOMs {
		if again := warm.SBOMs[i]; string(s.SPDX) != string(again.SPDX) || string(s.CycloneDX) != string(again.CycloneDX) {
			t.Error("the documents differ")
		}
	}
}

// TestRecalledLayersGiveTheSameResult checks that a rebuilt image on a known base has the same
// evidence and documents as without a cache, whatever its new layer does to the layers below.
func TestRecalledLayersGiveTheSameResult(t *testing.T) {
	for name, files := range changes {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			g := h.gate(blockCritical, h.cache(t.TempDir()))
			rebuilt := base
			rebuilt.Files = files
			img := h.image(rebuilt)
			src := h.push("app:2", img)
			cold := h.check(h.gate(blockCritical), src)
			if len(cold.Input.Platforms[0].Findings) == 0 && !strings.Contains(name, "database") {
				t.Fatal("no findings, so that little is compared")
			}
			h.check(g, h.push("app:1", h.image(base)))
			h.staging.ResetRequests()
			warm := h.check(g, src)
			same(t, cold, warm)
			h.readsOnly(img, strings.Contains(name, "never read") || strings.Contains(name, "such a file"))
			h.staging.ResetRequests()
			third := base
			third.Files = append([]lab.File{{Path: "etc/third", Content: "3"}}, files...)
			h.check(g, h.push("app:3", h.image(third)))
			h.readsOnly(h.image(third), false) // what was missing is remembered now
		})
	}
}

// readsOnly checks which layers of an image were read: the last layer once, and the layer below it
// only if missed is true. The other layers must not be read.
func (t *tester) readsOnly(img v1.Image, missed bool) {
	t.Helper()
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	reads := t.staging.BlobReads()
	for i, l := range ls {
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if i == len(ls)-1 || missed && i == len(ls)-2 {
			want = 1
		}
		if got := reads[digest.String()]; got != want {
			t.Errorf("layer %d of %d was read %d times, not %d", i, len(ls), got, want)
		}
	}
}

// TestRandomStacksGiveTheSameResult checks images with random layers in random order, one after the
// other with one cache, against checks without a cache.
func TestRandomStacksGiveTheSameResult(t *testing.T) {
	h := newTester(t)
	g := h.gate(blockCritical, h.cache(t.TempDir()))
	cold := h.gate(blockCritical)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the test must be repeatable
	var pool [][]lab.File
	for _, name := range slices.Sorted(maps.Keys(changes)) { // the order must be repeatable, too
		pool = append(pool, changes[name])
	}
	pool = append(pool, base.Layers...)
	recalled := 0
	for i := range 40 {
		spec := base
		spec.Layers = nil
		for range 1 + r.IntN(5) {
			spec.Layers = append(spec.Layers, pool[r.IntN(len(pool))])
		}
		img, err := lab.Image(spec)
		if err != nil {
			t.Fatal(err)
		}
		src := h.push(fmt.Sprintf("app:%d", i), img)
		want, err := cold.Check(t.Context(), src, ExternalEvidence{})
		if err != nil {
			got, err2 := g.Check(t.Context(), src, ExternalEvidence{})
			if err2 == nil {
				got.Close()
			}
			if err2 == nil || err2.Error() != err.Error() {
				t.Fatalf("%v, but with a cache %v", err, err2)
			}
			continue
		}
		defer want.Close()
		got := h.check(g, src)
		same(t, want, got)
		if got.Fetched.Bytes < want.Fetched.Bytes {
			recalled++
		}
	}
	if recalled < 20 {
		t.Errorf("layers were recalled for %d images only, so that little is compared", recalled)
	}
}

// TestMissingPartOfARecalledLayerIsNotAnUnreadableFile checks that a check fails with an error of the
// registry if a layer cannot be read after all.
func TestMissingPartOfARecalledLayerIsNotAnUnreadableFile(t *testing.T) {
	h := newTester(t)
	g := h.gate(blockCritical, h.cache(t.TempDir()))
	if err := h.check(g, h.push("app:1", h.image(base))).Close(); err != nil {
		t.Fatal(err)
	}
	rebuilt := base
	rebuilt.Files = changes["a hard link to a file that was never read"]
	img := h.image(rebuilt)
	src := h.push("app:2", img)
	digest := h.layerFromTop(img, 1)
	h.staging.SetHook(lab.When(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, digest.String()) }, lab.Fail(http.StatusForbidden)))
	err := h.refuse(g, src)
	var failed *registry.Error
	if !errors.As(err, &failed) || failed.Side != registry.Staging {
		t.Errorf("%T: %v", err, err)
	}
}

// annotated returns the image with an annotation on each layer.
func (t *tester) annotated(img v1.Image) v1.Image {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	out := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for _, l := range ls {
		if out, err = mutate.Append(out, mutate.Addendum{Layer: l, MediaType: types.OCILayer, Annotations: map[string]string{"note": "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err = mutate.ConfigFile(out, config); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRecalledLayerHasTheCheckedAnnotations checks that a layer is recalled only with the annotations that
// were checked with it.
func TestRecalledLayerHasTheCheckedAnnotations(t *testing.T) {
	h := newTester(t)
	g := h.gate(blockCritical, h.cache(t.TempDir()))
	img := h.image(base)
	h.check(g, h.push("app:1", img))
	other := h.annotated(img)
	src := h.push("app:2", other)
	h.staging.ResetRequests()
	h.check(g, src)
	if n := h.layerReads(other); n == 0 {
		t.Error("no layer was read again")
	}
}

// TestFilesOfAnImageAreEncryptedInTheCache checks that a credential in a file that a cataloger reads is
// not in the cache in plain text, although a later check reads the file from there.
func TestFilesOfAnImageAreEncryptedInTheCache(t *testing.T) {
	const canary = "CANARY-in-a-file-of-the-image"
	h := newTester(t)
	dir := t.TempDir()
	g := h.gate(blockCritical, h.cache(dir))
	spec := base
	spec.Layers = append(slices.Clone(base.Layers), []lab.File{{Path: "opt/x/node_modules/ip/package.json",
		Content: `{"name":"ip","version":"1.1.5","publishConfig":{"token":"` + canary + `"}}`}})
	h.check(g, h.push("app:1", h.image(spec)))
	spec.Files = changes["a file without meaning"]
	img := h.image(spec)
	h.staging.ResetRequests()
	h.check(g, h.push("app:2", img))
	h.readsOnly(img, false)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for _, f := range files {
		stored, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var plain []byte
		if strings.HasSuffix(f, ".zst") { // the other entries are encrypted
			if plain, err = dec.DecodeAll(stored, nil); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(string(stored), canary) || strings.Contains(string(plain), canary) {
			t.Errorf("%s has the credential", f)
		}
	}
}

// TestNothingIsRememberedWithoutACache checks that a cache that stores nothing costs no work.
func TestNothingIsRememberedWithoutACache(t *testing.T) {
	h := newTester(t)
	for what, change := range map[string]func(*Options){
		"no cache":  func(o *Options) { o.Cache = nil },
		"no space":  h.cacheOf(t.TempDir(), 0, make([]byte, 32)),
		"no secret": h.cacheOf(t.TempDir(), 1<<30, nil),
		"no build":  func(o *Options) { h.cache(t.TempDir())(o); o.Tool.Build = "" },
	} {
		store, err := h.gate(blockCritical, change).newStore(h.source(h.staging.Ref("app:1")), filesystem.New())
		if err != nil {
			t.Fatal(err)
		}
		if store.Remembers() {
			t.Errorf("%s: the layers are remembered", what)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
