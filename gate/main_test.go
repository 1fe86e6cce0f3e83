package gate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// database is built once from real records and shared by all tests.
var database *vulndb.DB

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gate-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	if database, err = openRecords(ctx, dir, "../examples/records"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer database.Close()
	return m.Run()
}

// openRecords builds a database from the records in the folder from, installs it in dir and opens it.
func openRecords(ctx context.Context, dir, from string) (*vulndb.DB, error) {
	archive := filepath.Join(dir, "database.tar.gz")
	if _, err := vulndb.Build(ctx, vulndb.BuildOptions{From: from, To: archive, TempDir: dir, Now: time.Now}); err != nil {
		return nil, err
	}
	if _, err := vulndb.Import(ctx, vulndb.ImportOptions{Dir: filepath.Join(dir, "db"), File: archive, Now: time.Now}); err != nil {
		return nil, err
	}
	return vulndb.Open(ctx, filepath.Join(dir, "db"))
}

const blockCritical = `
version: 1
rules:
  - name: no critical
    severity: critical
  - name: no high with a fix
    severity: high
    fix: available
`

// tester has a staging registry, and creates gates that read from it.
type tester struct {
	testing.TB
	staging *lab.Registry
	temp    string
}

func newTester(t testing.TB) *tester {
	t.Helper()
	r, err := lab.StartRegistry(lab.Options{ForeignURLs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &tester{TB: t, staging: r, temp: t.TempDir()}
}

var testTool = Tool{Name: "imagegate", Version: "test", Build: "1", URI: "https://example.com/imagegate",
	Components: map[string]string{"syft": "test", "grype": "test"}}

// testPatterns are compiled once for all tests.
var testPatterns = &catalog.Patterns{}

var testCataloger = catalog.Cataloger{Tool: testTool, Patterns: testPatterns}

// gate returns a gate with the given policy. Each function in change may modify its options.
func (t *tester) gate(yaml string, change ...func(*Options)) *Gate {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Policies: policy.Set{p}, Database: database, TempDir: t.temp, Now: time.Now, Tool: testTool, Patterns: testPatterns}
	for _, c := range change {
		c(&opts)
	}
	g, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (t *tester) image(spec lab.ImageSpec) v1.Image {
	t.Helper()
	img, err := lab.Image(spec)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// layerFromTop returns the digest of the layer that has n layers above it.
func (t *tester) layerFromTop(img v1.Image, n int) v1.Hash {
	t.Helper()
	all, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := all[len(all)-1-n].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func (t *tester) index(images ...v1.Image) v1.ImageIndex {
	t.Helper()
	idx, err := lab.Index(images...)
	if err != nil {
		t.Fatal(err)
	}
	return idx
}

// push pushes an image or index to the staging registry. It returns the Source of the pushed tag.
func (t *tester) push(path string, what remote.Taggable) Source {
	t.Helper()
	if _, err := t.staging.Push(t.Context(), path, what); err != nil {
		t.Fatal(err)
	}
	return t.source(t.staging.Ref(path))
}

func (t *tester) source(ref string) Source {
	t.Helper()
	src, err := ParseSource(ref)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// check checks an image, and fails the test if the check returns an error. A denial is not an
// error.
func (t *tester) check(g *Gate, src Source) *Result {
	t.Helper()
	r, err := g.Check(t.Context(), src, ExternalEvidence{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	r.cacheWrites.Wait() // Wait until the cache has all entries, so that the next check finds them.
	return r
}

// refuse checks an image and returns the error. It fails the test if the check succeeds or leaves
// files on disk.
func (t *tester) refuse(g *Gate, src Source) error {
	t.Helper()
	r, err := g.Check(t.Context(), src, ExternalEvidence{})
	if err == nil {
		r.Close()
		t.Fatalf("checked, and passed is %v", r.Decision.Passed)
	}
	t.nothingLeft()
	return err
}

func (t *tester) nothingLeft() {
	t.Helper()
	entries, err := os.ReadDir(t.temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

// clean is a Debian 12 image without findings. dirty is a Debian 12 image with a critical and a
// high finding.
var (
	clean = lab.ImageSpec{OSRelease: "debian 12",
		DebPackages: []lab.Deb{{Name: "openssl", Version: "3.0.13-1~deb12u1"}},
		NPM:         []lab.NPM{{Name: "json-schema", Version: "0.4.0"}}}
	dirty = lab.ImageSpec{OSRelease: "debian 12",
		DebPackages: []lab.Deb{{Name: "firefox-esr", Version: "128.0esr-1~deb12u1"}},
		NPM:         []lab.NPM{{Name: "json-schema", Version: "0.3.0"}}}
)

// on returns a copy of spec for another platform.
func on(spec lab.ImageSpec, platform string) lab.ImageSpec {
	spec.Platform = platform
	return spec
}

func findingIDs(p evidence.Platform) []string {
	ids := []string{}
	for _, f := range p.Findings {
		ids = append(ids, f.ID)
	}
	return ids
}
