package gate

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy"
)

const exceptLazy = blockCritical + "exceptions:\n  - {rule: image.lazyIndexes, reason: r, owner: o, expires: 2099-01-01}\n"

func (t *tester) soci(images ...v1.Image) v1.ImageIndex {
	t.Helper()
	idx, err := lab.WithSOCI(images...)
	if err != nil {
		t.Fatal(err)
	}
	return idx
}

// TestSOCIIndexIsEvaluated checks that the images next to a SOCI index are checked, and that the
// policy treats the SOCI index as a violation.
func TestSOCIIndexIsEvaluated(t *testing.T) {
	h := newTester(t)
	two := h.push("app:1", h.soci(h.image(on(clean, "linux/amd64")), h.image(on(clean, "linux/arm64"))))
	r := h.check(h.gate(blockCritical), two)
	if v := r.Decision.Violations; r.Decision.Passed || len(v) != 2 || v[0].Rule != policy.RuleLazyIndexes || len(r.Image.Platforms) != 2 || len(r.Image.Unlisted) != 0 {
		t.Errorf("%d platforms, %+v", len(r.Image.Platforms), v)
	}
	r = h.check(h.gate(exceptLazy), two)
	if !r.Decision.Passed || len(r.Decision.Excepted) != 2 || len(r.Image.LazyIndexes) != 2 || len(r.Image.Others()) != 2 {
		t.Errorf("with an exception: %+v", r.Decision)
	}
	one := h.check(h.gate(blockCritical, func(o *Options) { o.Platform = "linux/arm64" }), two)
	if !one.Decision.Passed || one.Image.IsIndex() || len(one.Image.Unlisted) != 1 || len(one.Image.Others()) != 0 {
		t.Errorf("one platform: %+v, %v", one.Decision.Violations, one.Image.Unlisted)
	}
	// The policy's exception covers the SOCI index, not the findings in the image.
	r = h.check(h.gate(exceptLazy), h.push("app:2", h.soci(h.image(dirty))))
	if r.Decision.Passed || len(r.Decision.Violations) != 2 {
		t.Errorf("a vulnerable image: %+v", r.Decision.Violations)
	}
}

// TestImageDressedAsSOCIIndexIsRefused checks that an image that an index lists as a SOCI index is
// refused. Otherwise the gate would promote the image without a scan.
func TestImageDressedAsSOCIIndexIsRefused(t *testing.T) {
	h := newTester(t)
	for name, d := range map[string]v1.Descriptor{
		"by its type":       {ArtifactType: sociTypes + "index.v2+json"},
		"by its annotation": {Annotations: map[string]string{"com.amazon.soci.image-manifest-digest": "sha256:x"}},
	} {
		d.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
		idx := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: h.image(clean), Descriptor: v1.Descriptor{Platform: d.Platform}},
			mutate.IndexAddendum{Add: h.image(dirty), Descriptor: d})
		src := h.push("app:1", idx)
		if err := h.refuse(h.gate(exceptLazy), src); !strings.Contains(err.Error(), "SOCI index") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// child is a manifest with the content of its blobs, which a test adds to an index.
type child struct {
	manifest v1.Manifest
	config   string
	blobs    []string
}

func (c *child) MediaType() (types.MediaType, error) { return c.manifest.MediaType, nil }
func (c *child) RawConfigFile() ([]byte, error)      { return []byte(c.config), nil }
func (c *child) RawManifest() ([]byte, error)        { return json.Marshal(c.manifest) }
func (c *child) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == c.manifest.Config.Digest {
		return partial.ConfigLayer(c)
	}
	for _, b := range c.blobs {
		if digestOf(b) == h {
			return static.NewLayer([]byte(b), sociBlob), nil
		}
	}
	return nil, errors.New("no such blob")
}

func TestSOCIIndexThatARuntimeCouldRunIsRefused(t *testing.T) {
	tar := string(archiveOf(t, 0, []member{{name: "bin/sh", content: "not scanned"}}))
	for name, c := range map[string]struct {
		config, artifact string
		content, blob    string
		layer            types.MediaType
		ok               bool
	}{
		"as soci writes it":      {sociTypes + "index.v2+json", sociTypes + "index.v2+json", "{}", "ztoc", sociBlob, true},
		"of the first version":   {sociTypes + "index.v1+json", "", "{}", "ztoc", sociBlob, true},
		"with the empty config":  {string(emptyConfig), sociTypes + "index.v2+json", "{}", "ztoc", sociBlob, true},
		"the config of an image": {string(types.OCIConfigJSON), sociTypes + "index.v2+json", "{}", "ztoc", sociBlob, false},
		"an old config type":     {"application/octet-stream", sociTypes + "index.v2+json", "{}", "ztoc", sociBlob, false},
		"a config with content":  {sociTypes + "index.v2+json", sociTypes + "index.v2+json", `{"os":"linux"}`, "ztoc", sociBlob, false},
		"another artifact":       {string(emptyConfig), "application/vnd.example", "{}", "ztoc", sociBlob, false},
		"a layer of files":       {sociTypes + "index.v2+json", sociTypes + "index.v2+json", "{}", "ztoc", types.OCILayer, false},
		"an archive as a ztoc":   {sociTypes + "index.v2+json", sociTypes + "index.v2+json", "{}", tar, sociBlob, false},
		"a compressed ztoc":      {sociTypes + "index.v2+json", sociTypes + "index.v2+json", "{}", "\x1f\x8b\x08", sociBlob, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			soci, err := partial.CompressedToImage(&child{config: c.content, blobs: []string{c.blob}, manifest: v1.Manifest{
				SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: c.artifact,
				Config: v1.Descriptor{MediaType: types.MediaType(c.config), Digest: digestOf(c.content), Size: int64(len(c.content))},
				Layers: []v1.Descriptor{{MediaType: c.layer, Digest: digestOf(c.blob), Size: int64(len(c.blob))}}}})
			if err != nil {
				t.Fatal(err)
			}
			src := h.push("app:1", mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: h.image(clean)},
				mutate.IndexAddendum{Add: soci, Descriptor: v1.Descriptor{ArtifactType: sociTypes + "index.v2+json"}}))
			if c.ok {
				if r := h.check(h.gate(exceptLazy), src); !r.Decision.Passed {
					t.Error(r.Decision.Violations)
				}
				return
			}
			var refused *layers.RefusedError
			if err := h.refuse(h.gate(exceptLazy), src); !errors.As(err, &refused) {
				t.Error(err)
			}
		})
	}
}
