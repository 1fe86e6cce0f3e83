package gate

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

func TestVulnerableImageIsDenied(t *testing.T) {
	h := newTester(t)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(dirty)))
	if r.Decision.Passed || r.Approval != nil || r.Approval.Valid() {
		t.Fatalf("passed, with an approval: %v", r.Approval)
	}
	if got := len(r.Decision.Violations); got != 2 {
		t.Errorf("%d violations, not 2: %v", got, r.Decision.Violations)
	}
	f := r.Input.Platforms[0].Findings
	i := slices.IndexFunc(f, func(f evidence.Finding) bool { return f.ID == "GHSA-896r-f27r-55mw" })
	if i < 0 {
		t.Fatalf("found %v", findingIDs(r.Input.Platforms[0]))
	}
	one := f[i]
	if one.Severity != evidence.SeverityCritical || one.FixState != evidence.FixAvailable || len(one.Fixes) != 1 || one.Fixes[0].Version != "0.4.0" ||
		!slices.Contains(one.Aliases, "CVE-2021-3918") || one.Package.PURL != "pkg:npm/json-schema@0.3.0" ||
		len(one.Package.Found) != 1 || !strings.HasPrefix(one.Package.Found[0].Layer, "sha256:") ||
		len(one.CVSS) == 0 || len(one.Matched) != 1 || one.Matched[0].Type != "exact-direct-match" || one.Matched[0].Constraint == "" {
		t.Errorf("the finding is %+v", one)
	}
}

func TestCleanImagePasses(t *testing.T) {
	for name, spec := range map[string]lab.ImageSpec{
		"gzip":         {Compression: lab.Gzip},
		"zstd":         {Compression: lab.Zstd},
		"uncompressed": {Compression: lab.Uncompressed},
		"docker":       {MediaTypes: lab.Docker},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			spec.OSRelease, spec.DebPackages, spec.NPM = clean.OSRelease, clean.DebPackages, clean.NPM
			r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
			if !r.Decision.Passed || !r.Approval.Valid() {
				t.Fatalf("denied: %v", r.Decision.Violations)
			}
			if got := len(r.Input.Platforms[0].Packages); got != 2 {
				t.Errorf("%d packages", got)
			}
		})
	}
}

func TestEveryPlatformIsEvaluated(t *testing.T) {
	h := newTester(t)
	idx := h.index(h.image(on(clean, "linux/amd64")), h.image(on(dirty, "linux/arm64")))
	src := h.push("app:1", idx)
	r := h.check(h.gate(blockCritical), src)
	if r.Decision.Passed {
		t.Fatal("passed")
	}
	for _, v := range r.Decision.Violations {
		if v.Platform != "linux/arm64" {
			t.Errorf("%s on %s", v.Message, v.Platform)
		}
	}
	one := h.check(h.gate(blockCritical, func(o *Options) { o.Platform = "linux/amd64" }), src)
	if !one.Decision.Passed || len(one.Image.Platforms) != 1 || one.Image.IsIndex() || one.Image.Digest != one.Image.Platforms[0].Digest {
		t.Errorf("linux/amd64 alone: %v", one.Decision.Violations)
	}
}

func TestAttestationIsNotAPlatform(t *testing.T) {
	h := newTester(t)
	plain := h.index(h.image(on(clean, "linux/amd64")), h.image(on(clean, "linux/arm64")))
	for name, attest := range map[string]func(v1.ImageIndex) (v1.ImageIndex, error){
		"image": lab.WithAttestations, "artifact": lab.WithArtifactAttestations,
	} {
		idx, err := attest(plain)
		if err != nil {
			t.Fatal(err)
		}
		r := h.check(h.gate(blockCritical), h.push("app:"+name, idx))
		if !r.Decision.Passed || len(r.Image.Platforms) != 2 || len(r.Image.Attachments) != 2 {
			t.Errorf("%s: %d platforms, %d attachments, %v", name, len(r.Image.Platforms), len(r.Image.Attachments), r.Decision.Violations)
		}
	}
}

func TestImageDressedAsAttestationIsRefused(t *testing.T) {
	h := newTester(t)
	idx, err := lab.WithSmuggledLayer(h.index(h.image(clean)), lab.File{Path: "bin/sh", Content: "not scanned"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.refuse(h.gate(blockCritical), h.push("app:1", idx)); !strings.Contains(err.Error(), "every layer must be a statement") {
		t.Error(err)
	}
}

func TestEmptyImageIsNotClean(t *testing.T) {
	h := newTester(t)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(lab.ImageSpec{Files: []lab.File{{Path: "data", Content: "x"}}})))
	if r.Decision.Passed {
		t.Fatal("passed")
	}
}

func TestMissingDistributionIsNotClean(t *testing.T) {
	none := dirty
	none.OSRelease, none.NPM = "", nil
	unknown, release, removed := none, none, none
	unknown.OSRelease = "templeos 5"
	release.OSRelease = "debian 6"
	removed.OSRelease = "debian 12"
	removed.Layers = [][]lab.File{lab.RemoveOSRelease()}
	for name, c := range map[string]struct {
		spec lab.ImageSpec
		want evidence.UnmatchedReason
	}{
		"no os-release":             {none, evidence.NoDistribution},
		"removed in the last layer": {removed, evidence.NoDistribution},
		"unknown distribution":      {unknown, evidence.NoDistribution},
		"release not in database":   {release, evidence.DistributionNotInDatabase},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			r := h.check(h.gate(blockCritical), h.push("app:1", h.image(c.spec)))
			if r.Decision.Passed {
				t.Error("passed")
			}
			got := r.Input.Platforms[0].Unmatched
			if !slices.ContainsFunc(got, func(u evidence.Unmatched) bool { return u.Package == nil && u.Reason == c.want }) {
				t.Errorf("unmatched is %+v, want %q", got, c.want)
			}
		})
	}
}

func TestUnknownVersionIsNotClean(t *testing.T) {
	h := newTester(t)
	spec := clean
	spec.DebPackages = append(slices.Clone(spec.DebPackages), lab.Deb{Name: "odd", Version: "no.version.at.all:"})
	spec.Files = []lab.File{{Path: "usr/lib/node_modules/nameless/package.json", Content: `{"name":"nameless"}`}}
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	if r.Decision.Passed {
		t.Error("passed")
	}
	var reasons []evidence.UnmatchedReason
	for _, u := range r.Input.Platforms[0].Unmatched {
		if u.Package != nil {
			reasons = append(reasons, u.Reason)
		}
	}
	if !slices.Contains(reasons, evidence.VersionNotComparable) && !slices.Contains(reasons, evidence.VersionUnknown) {
		t.Errorf("reasons are %v", reasons)
	}
}

func TestUnreadableFileIsNotDropped(t *testing.T) {
	h := newTester(t)
	spec := clean
	// syft finds a package in the folder of the unreadable file. With its default configuration,
	// syft would therefore drop the read error.
	spec.Files = []lab.File{{Path: "opt/app/broken.jar", Content: "PK\x03\x04 this is no archive"},
		{Path: "usr/lib/node_modules/json-schema/node_modules/bad/package.json", Content: `{"name": "bad", "version": `}}
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	unknowns := r.Input.Platforms[0].Unknowns
	if len(unknowns) == 0 || r.Decision.Passed {
		t.Errorf("passed is %v with the unknowns %+v", r.Decision.Passed, unknowns)
	}
	for _, u := range unknowns {
		if u.Path == "" || u.Reason == "" || !strings.HasPrefix(u.Layer, "sha256:") {
			t.Errorf("unknown %+v", u)
		}
	}
}

func TestForeignLayerIsNotFetched(t *testing.T) {
	h := newTester(t)
	elsewhere, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for name, make := range map[string]func(v1.Image) (v1.Image, error){
		"foreign": func(i v1.Image) (v1.Image, error) { return lab.ForeignLayer(i, "http://"+elsewhere.Host()+"/layer") },
		"urls":    func(i v1.Image) (v1.Image, error) { return lab.LayerURLs(i, "http://"+elsewhere.Host()+"/layer") },
	} {
		img, err := make(h.image(clean))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.refuse(h.gate(blockCritical), h.push("app:"+name, img)); !strings.Contains(err.Error(), "foreign") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := elsewhere.Requests(); len(got) != 0 {
		t.Errorf("asked elsewhere: %v", got)
	}
}

func TestLyingRegistryIsDetected(t *testing.T) {
	for name, hook := range map[string]lab.Hook{
		"flipped blob":     lab.When(lab.IsBlob, lab.Corrupt(20)),
		"short blob":       lab.When(lab.IsBlob, lab.CutBody(20)),
		"endless blob":     lab.When(lab.IsBlob, lab.Endless()),
		"endless manifest": lab.When(lab.IsManifest, lab.Endless()),
		"failing blob":     lab.When(lab.IsBlob, lab.Fail(http.StatusInternalServerError)),
		"denied":           lab.Fail(http.StatusForbidden),
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			src := h.push("app:1", h.image(clean))
			h.staging.SetHook(hook)
			err := h.refuse(h.gate(blockCritical), src)
			var failed *registry.Error
			if name != "endless manifest" && (!errors.As(err, &failed) || failed.Side != registry.Staging) {
				t.Errorf("%T: %v", err, err)
			}
		})
	}
}

// TestChangedLayerIsDetected checks that a layer with the right diffID but the wrong digest is
// refused. Only go-containerregistry verifies this digest, while it fetches the layer.
func TestChangedLayerIsDetected(t *testing.T) {
	h := newTester(t)
	img := h.image(clean)
	src := h.push("app:1", img)
	digest := h.layerFromTop(img, 0)
	const modified = 4 // the offset of the time in a gzip header, which does not change the decompressed content
	h.staging.SetHook(lab.When(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, digest.String()) }, lab.Corrupt(modified)))
	g := h.gate(blockCritical)
	err := h.refuse(g, src)
	var corrupt *layers.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Digest != digest {
		t.Errorf("%T: %v", err, err)
	}
	h.staging.SetHook(nil)
	if r := h.check(g, src); !r.Decision.Passed {
		t.Error("denied although the layer is served unchanged")
	}
}

func TestWrongDiffIDIsNotCataloged(t *testing.T) {
	h := newTester(t)
	img, err := lab.WrongDiffID(h.image(clean))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.refuse(h.gate(blockCritical), h.push("app:1", img)); !strings.Contains(err.Error(), "diffID") {
		t.Error(err)
	}
}

func TestMovedTagIsReportedNotFollowed(t *testing.T) {
	h := newTester(t)
	before := h.image(clean)
	src := h.push("app:1", before)
	after := h.image(dirty)
	moved := false
	g := h.gate(blockCritical, func(o *Options) { o.Progress = onStart(func() { moved = true; h.push("app:1", after) }) })
	r := h.check(g, src)
	want, err := before.Digest()
	if err != nil {
		t.Fatal(err)
	}
	now, err := after.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if !moved || r.Image.Digest != want || r.Moved != now.String() || !r.Decision.Passed {
		t.Errorf("moved %v, checked %s, now %s, passed %v", moved, r.Image.Digest, r.Moved, r.Decision.Passed)
	}
}

// onStart is a Progress that calls f when cataloging starts, which is the first stage after the
// pull.
type onStart func()

func (f onStart) Start(ctx context.Context, step Step) (context.Context, func(error)) {
	if step.Stage == Catalog {
		f()
	}
	return ctx, func(error) {}
}
func (onStart) Bytes(Step, string, int64, int64) {}

func TestFolderIsNotReadInPlaceOfTheRegistry(t *testing.T) {
	h := newTester(t)
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("app/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	src := h.source("127.0.0.1:1/app")
	err := h.refuse(h.gate(blockCritical), src)
	var failed *registry.Error
	if !errors.As(err, &failed) {
		t.Errorf("%T: %v", err, err)
	}
	if src := h.source("app"); src.Transport != Registry {
		t.Errorf("app is read by %s", src.Transport)
	}
}

func TestEachLayerIsReadOnce(t *testing.T) {
	h := newTester(t)
	shared := []lab.File{{Path: "shared", Content: strings.Repeat("shared by all platforms\n", 1000)}}
	a, b := on(clean, "linux/amd64"), on(clean, "linux/arm64")
	a.Layers, b.Layers = [][]lab.File{shared}, [][]lab.File{shared}
	src := h.push("app:1", h.index(h.image(a), h.image(b)))
	h.staging.ResetRequests()
	r := h.check(h.gate(blockCritical), src)
	reads := h.staging.BlobReads()
	if len(reads) != 5 { // one shared layer; for each platform, a layer and a config
		t.Errorf("%d blobs were read: %v", len(reads), reads)
	}
	for digest, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", digest, n)
		}
	}
	if r.Fetched.Fetches != 3 {
		t.Errorf("%d layers were fetched", r.Fetched.Fetches)
	}
}

func TestDocumentsAreTheSameForTheSameDigest(t *testing.T) {
	h := newTester(t)
	img := h.image(dirty)
	first := h.check(h.gate(blockCritical), h.push("app:1", img))
	second := h.check(h.gate(blockCritical), h.push("elsewhere/other:2", img))
	a, b := first.SBOMs[0], second.SBOMs[0]
	if !bytes.Equal(a.SPDX, b.SPDX) {
		t.Error("the SPDX documents differ")
	}
	if !bytes.Equal(a.CycloneDX, b.CycloneDX) {
		t.Error("the CycloneDX documents differ")
	}
	for name, want := range map[string]string{"spdx": `"spdxVersion":"SPDX-2.3"`, "cyclonedx": `"specVersion":"1.6"`} {
		doc := map[string][]byte{"spdx": a.SPDX, "cyclonedx": a.CycloneDX}[name]
		if !bytes.Contains(bytes.ReplaceAll(doc, []byte(`": `), []byte(`":`)), []byte(want)) {
			t.Errorf("%s has no %s", name, want)
		}
		if !bytes.Contains(doc, []byte("json-schema")) || bytes.Contains(doc, []byte(h.staging.Host())) {
			t.Errorf("%s lacks a package or names the registry", name)
		}
	}
}

func TestOtherSourcesGiveTheSameEvidence(t *testing.T) {
	h := newTester(t)
	img := h.image(dirty)
	dir := t.TempDir()
	path, err := layout.Write(filepath.Join(dir, "layout"), h.index())
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	tarOf(t, filepath.Join(dir, "layout"), filepath.Join(dir, "layout.tar"))
	tag := h.source("app:1").Ref
	if err := tarball.WriteToFile(filepath.Join(dir, "saved.tar"), tag, img); err != nil {
		t.Fatal(err)
	}
	want := h.check(h.gate(blockCritical), h.push("app:1", img)).Input.Platforms[0]
	for _, ref := range []string{"oci:" + dir + "/layout", "oci-archive:" + dir + "/layout.tar", "docker-archive:" + dir + "/saved.tar"} {
		r := h.check(h.gate(blockCritical), h.source(ref))
		got := r.Input.Platforms[0]
		if !slices.Equal(findingIDs(got), findingIDs(want)) || len(got.Packages) != len(want.Packages) || r.Decision.Passed {
			t.Errorf("%s: %v, not %v", ref, findingIDs(got), findingIDs(want))
		}
	}
}

func TestLayoutIsVerified(t *testing.T) {
	h := newTester(t)
	img := h.image(clean)
	dir := filepath.Join(t.TempDir(), "layout")
	path, err := layout.Write(dir, h.index())
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := ls[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs", digest.Algorithm, digest.Hex)
	data, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(blob, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.refuse(h.gate(blockCritical), h.source("oci:"+dir)); !strings.Contains(err.Error(), "corrupt") {
		t.Error(err)
	}
}

func TestOldDatabaseIsNotUsed(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(clean))
	h.staging.ResetRequests()
	g := h.gate(blockCritical, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(6 * 24 * time.Hour) } })
	err := h.refuse(g, src)
	var unusable *vulndb.UnusableError
	if !errors.As(err, &unusable) || unusable.Problem != vulndb.TooOld {
		t.Errorf("%T: %v", err, err)
	}
	if got := h.staging.Requests(); len(got) != 0 {
		t.Errorf("the image was read anyway: %v", got)
	}
}

// TestWrongClockIsNotADenial checks that a slow clock never denies an image, because the image is
// not at fault. Within the tolerance the gate decides. Beyond the tolerance the gate makes no
// decision.
func TestWrongClockIsNotADenial(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(clean))
	info := database.Info()
	newest := info.Built
	for _, p := range info.Providers {
		if p.Captured.After(newest) {
			newest = p.Captured
		}
	}
	at := func(behind time.Duration) *Gate {
		return h.gate(blockCritical, func(o *Options) { o.Now = func() time.Time { return newest.Add(-behind) } })
	}
	for _, behind := range []time.Duration{clock.Skew + 1, 30 * time.Minute, 2 * time.Hour} {
		err := h.refuse(at(behind), src)
		var unusable *vulndb.UnusableError
		if !errors.As(err, &unusable) || unusable.Problem != vulndb.FromFuture {
			t.Errorf("a clock behind by %s: %T: %v", behind, err, err)
		}
	}
	if d := h.check(at(clock.Skew), src).Decision; !d.Passed {
		t.Errorf("a clock behind by the tolerance denies: %+v", d.Violations)
	}
}

func TestInterruptedCheckLeavesNothing(t *testing.T) {
	for _, stage := range []Stage{Pull, Catalog, Scan} {
		t.Run(string(stage), func(t *testing.T) {
			h := newTester(t)
			src := h.push("app:1", h.image(dirty))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g := h.gate(blockCritical, func(o *Options) { o.Progress = cancelAt{stage, cancel} })
			r, err := g.Check(ctx, src, ExternalEvidence{})
			if err == nil {
				r.Close()
				t.Fatal("no error")
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%T: %v", err, err)
			}
			h.nothingLeft()
		})
	}
}

type cancelAt struct {
	stage  Stage
	cancel func()
}

func (c cancelAt) Start(ctx context.Context, step Step) (context.Context, func(error)) {
	if step.Stage == c.stage {
		c.cancel()
	}
	return ctx, func(error) {}
}

func (c cancelAt) Bytes(step Step, _ string, _, _ int64) {
	if step.Stage == c.stage {
		c.cancel()
	}
}

func TestNewValidatesOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"nothing":   {},
		"no policy": {Database: database, TempDir: t.TempDir(), Now: time.Now, Tool: testTool},
	} {
		if g, err := New(opts); err == nil || g != nil {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
	var zero Approval
	if zero.Valid() {
		t.Error("the zero approval is valid")
	}
}

// TestRelabelledDistributionIsNotClean checks that an image is denied if os-release names another
// distribution. Every package is then looked up among advisories that cannot match.
func TestRelabelledDistributionIsNotClean(t *testing.T) {
	h := newTester(t)
	spec := dirty
	spec.NPM = nil
	spec.Layers = [][]lab.File{{{Path: "etc/os-release", Content: "ID=rhel\nVERSION_ID=9.4\n"}, {Path: "usr/lib/os-release", Content: "ID=rhel\nVERSION_ID=9.4\n"}}}
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	if r.Decision.Passed {
		t.Errorf("passed with %v", r.Input.Platforms[0].Unmatched)
	}
}

// TestRemovedPackageDatabaseIsNotClean checks that an image is denied if os-release names a
// distribution but the image has no package of that distribution.
func TestRemovedPackageDatabaseIsNotClean(t *testing.T) {
	h := newTester(t)
	spec := clean
	spec.Layers = [][]lab.File{{lab.Whiteout("var/lib/dpkg")}}
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	if len(r.Input.Platforms[0].Packages) != 1 || r.Decision.Passed {
		t.Errorf("passed is %v with %d packages", r.Decision.Passed, len(r.Input.Platforms[0].Packages))
	}
}

// TestImageForTwoPlatformsIsEvaluatedOnce checks that an image that an index lists for two
// platforms is evaluated once and reported under both names.
func TestImageForTwoPlatformsIsEvaluatedOnce(t *testing.T) {
	h := newTester(t)
	img := h.image(clean)
	idx := mutate.AppendManifests(h.index(), mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64", Variant: "v2"}}})
	r := h.check(h.gate(blockCritical), h.push("app:1", idx))
	if !r.Decision.Passed || len(r.Image.Platforms) != 1 || r.Image.Platforms[0].Name != "linux/amd64, linux/amd64/v2" {
		t.Errorf("passed %v, platforms %+v", r.Decision.Passed, r.Image.Platforms)
	}
}

// TestIndexAttachedToAnotherImageIsRefused checks that an index with a subject is refused. Pushing
// the index could change the referrers fallback tag of the subject.
func TestIndexAttachedToAnotherImageIsRefused(t *testing.T) {
	h := newTester(t)
	img := h.image(clean)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	idx := mutate.Subject(h.index(img), v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: 1}).(v1.ImageIndex)
	if err := h.refuse(h.gate(blockCritical), h.push("app:1", idx)); !strings.Contains(err.Error(), "has the subject") {
		t.Error(err)
	}
}

// TestChangedApprovalIsInvalid checks that Confirm returns an error if a caller changed the values
// that the accessors return.
func TestChangedApprovalIsInvalid(t *testing.T) {
	h := newTester(t)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(clean)))
	if err := r.Approval.Confirm(); err != nil {
		t.Fatal(err)
	}
	other, err := h.image(dirty).RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	r.Approval.Image().Manifest = other
	if err := r.Approval.Confirm(); err == nil {
		t.Error("another manifest is accepted")
	}
}

// document is a manifest or an index that is pushed with exactly these bytes.
type document struct {
	raw       []byte
	mediaType types.MediaType
}

func (d document) RawManifest() ([]byte, error)        { return d.raw, nil }
func (d document) MediaType() (types.MediaType, error) { return d.mediaType, nil }

// TestIndexThatReadsTwoWaysIsRefused checks that an index with an ambiguous key is refused. Other
// parsers would find other platforms in the index than the gate checked.
func TestIndexThatReadsTwoWaysIsRefused(t *testing.T) {
	h := newTester(t)
	idx := h.index(h.image(clean))
	h.push("app:1", idx)
	raw, err := idx.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := idx.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{`"manifests":[],"manifests":[`, `"Manifests":[],"manifests":[`} {
		ambiguous := bytes.Replace(raw, []byte(`"manifests":[`), []byte(other), 1)
		if bytes.Equal(raw, ambiguous) {
			t.Fatalf("nothing to replace in %s", raw)
		}
		ref := h.source(h.staging.Ref("app:2")).Ref
		if err := remote.Put(ref.(name.Tag), document{ambiguous, mediaType}); err != nil {
			t.Fatal(err)
		}
		if err := h.refuse(h.gate(blockCritical), h.source(h.staging.Ref("app:2"))); !strings.Contains(err.Error(), "the key") {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// TestCheckOfALaterTimeGivesNoApproval checks that an evaluation for a later time never gives an
// approval, even if the image passes: it may not pass now.
func TestCheckOfALaterTimeGivesNoApproval(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(dirty))
	expires := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	text := "version: 1\nrules: [{name: all}]\nexceptions:\n"
	ids := findingIDs(h.check(h.gate(blockCritical), src).Input.Platforms[0])
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		text += "  - {id: " + id + ", reason: x, owner: y, expires: " + expires.Format(time.RFC3339) + "}\n"
	}
	for at, passes := range map[time.Time]bool{{}: true, expires.Add(-time.Minute): true, expires: false, expires.Add(2000 * time.Hour): false} {
		g := h.gate(text, func(o *Options) { o.At = at })
		r := h.check(g, src)
		if r.Decision.Passed != passes || (r.Approval != nil) != at.IsZero() {
			t.Errorf("at %s: passed %v, approval %v\n%+v", at, r.Decision.Passed, r.Approval != nil, r.Decision.Violations)
		}
		for _, v := range r.Decision.Violations {
			if v.Kind == policy.KindDatabase {
				t.Errorf("at %s: %s", at, v.Message)
			}
		}
	}
}

// TestDecompressedLayersAreRemovedBeforeTheDecision checks that only the blobs that will be pushed
// are still on disk after the check.
func TestDecompressedLayersAreRemovedBeforeTheDecision(t *testing.T) {
	h := newTester(t)
	img := h.image(lab.ImageSpec{DebPackages: []lab.Deb{{Name: "zlib1g", Version: "1"}}})
	var temp string
	r := h.check(h.gate(blockCritical, func(o *Options) { temp = o.TempDir }), h.push("app:1", img))
	var left []string
	err := filepath.WalkDir(temp, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != ".imagegate.lock" {
			left = append(left, filepath.Base(filepath.Dir(path)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ls, err := r.Image.Platforms[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(left)
	if want := slices.Repeat([]string{"blobs"}, len(ls)); !slices.Equal(left, want) {
		t.Errorf("files are left in %q", left)
	}
}

// TestImageListedTwiceWithoutPlatform checks that an image that an index lists twice without a
// platform is checked once, under the platform in the image's config.
func TestImageListedTwiceWithoutPlatform(t *testing.T) {
	h := newTester(t)
	img := h.image(clean)
	listed := func(n string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Annotations: map[string]string{"n": n}}}
	}
	r := h.check(h.gate(blockCritical), h.push("app:1", mutate.AppendManifests(empty.Index, listed("1"), listed("2"))))
	if len(r.Input.Platforms) != 1 || r.Input.Platforms[0].Platform != "linux/amd64" {
		t.Errorf("platforms: %+v", r.Image.Platforms)
	}
}
