package gate

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/grype/grype"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/matcher/dpkg"
	"github.com/anchore/grype/grype/matcher/rpm"
	"github.com/anchore/grype/grype/matcher/stock"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/format/syftjson"
	syftpkg "github.com/anchore/syft/syft/pkg"
	"github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/match"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestPackagesEqualSyftsOwn checks that the gate finds the same packages as syft, which reads the
// layers itself with its default configuration.
func TestPackagesEqualSyftsOwn(t *testing.T) {
	for name, img := range parityImages(t) {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			own := syftsOwn(t, img, syft.DefaultCreateSBOMConfig())
			var want []string
			for p := range own.Artifacts.Packages.Enumerate() {
				want = append(want, p.Name+" "+p.Version+" "+string(p.Type))
			}
			r := h.check(h.gate(blockCritical), h.push("app:1", img))
			var got []string
			for _, p := range r.Input.Platforms[0].Packages {
				got = append(got, p.Name+" "+p.Version+" "+p.Type)
			}
			slices.Sort(want)
			slices.Sort(got)
			if len(want) == 0 {
				t.Fatal("syft finds nothing, so that nothing is compared")
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("packages differ from syft's (-syft +ours):\n%s", d)
			}
			t.Logf("%d packages", len(got))
		})
	}
}

// TestFindingsEqualGrypesOwn checks that the gate has the same findings as the grype command with
// its default settings. The command reads an SBOM in syft's JSON format. It drops matches of kernel
// headers with ignore rules, and imagegate drops them by package name.
func TestFindingsEqualGrypesOwn(t *testing.T) {
	for name, img := range parityImages(t) {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			cfg := syft.DefaultCreateSBOMConfig()
			cfg.Packages.Golang = cfg.Packages.Golang.WithCaptureSymbols(cataloging.SymbolScopeAll)
			cfg.Compliance.MissingVersion = cataloging.ComplianceActionDrop
			r := h.check(h.gate(blockCritical), h.push("app:1", img))
			want := grypesOwn(t, syftsOwn(t, img, cfg), r.Input.Platforms[0].Suppressed)
			var got []string
			for _, f := range r.Input.Platforms[0].Findings {
				got = append(got, f.ID+" "+f.Package.Name+" "+f.Package.Version+" "+f.Severity.String()+" "+string(f.FixState))
			}
			slices.Sort(want)
			slices.Sort(got)
			if len(want) == 0 {
				t.Fatal("grype finds nothing, so that nothing is compared")
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("findings differ from grype's (-grype +ours):\n%s", d)
			}
			t.Logf("%d findings", len(got))
		})
	}
}

// parityImages returns a small image with every kind of package in the example records. If
// IMAGEGATE_TEST_IMAGE names an archive, it also returns the image in the archive.
func parityImages(t *testing.T) map[string]v1.Image {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "bin", "gofmt"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := lab.Image(lab.ImageSpec{
		OSRelease: "debian 12",
		DebPackages: []lab.Deb{
			{Name: "firefox-esr", Version: "128.0esr-1~deb12u1"},
			{Name: "libssl3", Version: "3.0.11-1~deb12u2", Source: "openssl"},
			{Name: "openssl", Version: "3.0.11-1~deb12u2"},
			{Name: "bind9", Version: "1:9.18.1-1"},
			{Name: "jq", Version: "1.6-2.1"},
		},
		NPM: []lab.NPM{{Name: "json-schema", Version: "0.3.0"}, {Name: "@babel/traverse", Version: "7.23.1"},
			{Name: "ip", Version: "2.0.1"}, {Name: "undici", Version: "6.6.1"}},
		GoBinary: exe,
	})
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{"small": img}
	if path := os.Getenv("IMAGEGATE_TEST_IMAGE"); path != "" {
		img, err := tarball.ImageFromPath(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		images[filepath.Base(path)] = img
	}
	return images
}

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

// grypesOwn matches an SBOM as the grype command does. It returns the matches, except the
// suppressed matches on kernel headers.
func grypesOwn(t *testing.T, s *sbom.SBOM, suppressed []evidence.Suppressed) []string {
	t.Helper()
	var doc bytes.Buffer
	if err := syftjson.NewFormatEncoder().Encode(&doc, *s); err != nil {
		t.Fatal(err)
	}
	pkgs, pkgContext, _, err := pkg.ProvideFromReader(bytes.NewReader(doc.Bytes()), pkg.ProviderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m := grype.VulnerabilityMatcher{
		VulnerabilityProvider: database.Provider(),
		Matchers: matcher.NewDefaultMatchers(matcher.Config{
			Stock: stock.MatcherConfig{UseCPEs: true},
			Dpkg:  dpkg.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyZero},
			Rpm:   rpm.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyAuto},
		}),
	}
	found, _, err := m.FindMatches(pkgs, pkgContext)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range found.Sorted() {
		if slices.ContainsFunc(suppressed, func(s evidence.Suppressed) bool {
			return s.Finding.ID == f.Vulnerability.ID && s.Finding.Package.Name == f.Package.Name && s.Reason == "kernel vulnerabilities do not apply: the package contains only kernel headers"
		}) {
			continue
		}
		severity := "unknown"
		if f.Vulnerability.Metadata != nil {
			severity = strings.ToLower(f.Vulnerability.Metadata.Severity)
		}
		out = append(out, f.Vulnerability.ID+" "+f.Package.Name+" "+f.Package.Version+" "+severity+" "+string(f.Vulnerability.Fix.State))
	}
	return out
}

// tarOf packs a folder into a tar file.
func tarOf(t *testing.T, dir, to string) {
	t.Helper()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCancelledMatchingIsNotClean checks that a canceled match returns an error, whenever the
// cancellation is noticed. grype itself stops early with partial results and no error.
func TestCancelledMatchingIsNotClean(t *testing.T) {
	h := newTester(t)
	sbom := h.check(h.gate(blockCritical), h.push("app:1", h.image(onlyModules))).SBOMs[0]
	looks := &cancelledAt{Context: t.Context(), at: -1}
	if m, err := match.SBOM(looks, database, sbom); err != nil || len(m.Findings) == 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	for at := range looks.looked {
		m, err := match.SBOM(&cancelledAt{Context: t.Context(), at: at}, database, sbom)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %d of %d: %+v, %v", at, looks.looked, m, err)
		}
	}
}

// onlyModules is an image without an operating system, so that matching needs one database query
// fewer.
var onlyModules = lab.ImageSpec{NPM: []lab.NPM{{Name: "json-schema", Version: "0.3.0"}}}

// cancelledAt is a context that is canceled at the given call of Err. Its Done channel never
// closes.
type cancelledAt struct {
	context.Context
	at, looked int
}

func (c *cancelledAt) Done() <-chan struct{} { return nil }

func (c *cancelledAt) Err() error {
	c.looked++
	if c.at >= 0 && c.looked > c.at {
		return context.Canceled
	}
	return nil
}

// TestLicensesAreSyfts checks that known and new license texts give the licenses that syft finds with
// its own scanner.
func TestLicensesAreSyfts(t *testing.T) {
	const isc = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is
hereby granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN
AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR
PERFORMANCE OF THIS SOFTWARE.
`
	spec := lab.ImageSpec{OSRelease: "debian 12", DebPackages: []lab.Deb{{Name: "one", Version: "1"}, {Name: "two", Version: "1"}, {Name: "three", Version: "1"}, {Name: "four", Version: "1"}}}
	for name, text := range map[string]string{
		"one": isc, "two": isc + "\n\n" + isc, "three": "All rights reserved.", "four": isc[:200] + strings.Repeat(" other words", 200),
	} {
		spec.Files = append(spec.Files, lab.File{Path: "usr/share/doc/" + name + "/copyright", Content: text},
			lab.File{Path: "srv/" + name + "/node_modules/x" + name + "/package.json", Content: `{"name":"x` + name + `","version":"1.0.0"}`},
			lab.File{Path: "srv/" + name + "/node_modules/x" + name + "/LICENSE", Content: text})
	}
	h := newTester(t)
	img := h.image(spec)
	licensesOf := func(s *sbom.SBOM) map[string][]syftpkg.License {
		out := map[string][]syftpkg.License{}
		for _, p := range s.Artifacts.Packages.Sorted() {
			all := p.Licenses.ToSlice()
			for i := range all {
				all[i].Locations = file.LocationSet{}
			}
			out[p.Name] = all
		}
		return out
	}
	want := licensesOf(syftsOwn(t, img, syft.DefaultCreateSBOMConfig()))
	found := 0
	for _, all := range want {
		found += len(all)
	}
	if found == 0 {
		t.Fatal("syft finds no license, so that nothing is compared")
	}
	use := h.cache(t.TempDir())
	src := h.push("app:1", img)
	for run := range 2 {
		// The second run knows the texts, but not the image.
		if run == 1 {
			spec.Files = append(spec.Files, lab.File{Path: "etc/motd", Content: "hello"})
			src = h.push("app:2", h.image(spec))
		}
		got := licensesOf(h.check(h.gate(blockCritical, use, func(o *Options) { o.Patterns = &catalog.Patterns{} }), src).SBOMs[0].Syft())
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(file.LocationSet{})); d != "" {
			t.Errorf("run %d: %s", run, d)
		}
	}
}
