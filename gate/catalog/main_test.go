package catalog

import (
	"testing"

	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/layers"
	_ "github.com/imagegate/imagegate/gate/vulndb" // registers the SQLite driver that syft needs for RPM databases
	"github.com/imagegate/imagegate/internal/lab"
)

var testCataloger = Cataloger{Tool: Tool{Name: "imagegate", Version: "test", URI: "https://example.com/imagegate"}, Patterns: &Patterns{}}

func labImage(t *testing.T, spec lab.ImageSpec) v1.Image {
	t.Helper()
	img, err := lab.Image(spec)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// generate fetches the layers of an image and generates its SBOM.
func generate(t *testing.T, src v1.Image) *SBOM {
	t.Helper()
	archives := filesystem.New()
	store, err := layers.New(layers.Options{Dir: t.TempDir(), Index: archives.List})
	if err != nil {
		t.Fatal(err)
	}
	archives.Use(store)
	t.Cleanup(func() { store.Close() })
	d, err := partial.Descriptor(src)
	if err != nil {
		t.Fatal(err)
	}
	img, err := store.Image(t.Context(), *d, src)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Fetch(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	s, err := testCataloger.Generate(t.Context(), archives, img, d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// syftsOwn returns the SBOM that syft generates without imagegate: syft writes the image to disk
// and reads it with its own resolver.
func syftsOwn(t *testing.T, img v1.Image, cfg *syft.CreateSBOMConfig) *sbom.SBOM {
	t.Helper()
	own := image.New(img, nil, t.TempDir())
	t.Cleanup(func() { own.Cleanup() })
	if err := own.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := syft.CreateSBOM(t.Context(), stereoscopesource.New(own, stereoscopesource.ImageConfig{Reference: "image"}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
