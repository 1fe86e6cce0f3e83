package lab_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/lab"
)

func everything() lab.ImageSpec {
	return lab.ImageSpec{
		OSRelease:   "debian 12",
		DebPackages: []lab.Deb{{Name: "libssl3", Version: "3.0.11-1~deb12u2", Source: "openssl", License: "Apache-2.0"}, {Name: "bash", Version: "5.2.15-2+b2", Source: "bash (5.2.15-2)"}},
		ApkPackages: []lab.Apk{{Name: "musl-utils", Version: "1.2.5-r0", Origin: "musl", License: "MIT"}},
		NPM:         []lab.NPM{{Name: "@scope/left", Version: "1.0.0", License: "MIT"}},
		GoBinary:    []byte("\x7fELF not really"),
		Layers:      [][]lab.File{{lab.Opaque("etc/apt"), lab.Whiteout("usr/lib/os-release")}},
		Files:       []lab.File{{Path: "data", Dir: true, Mode: 0o700}, {Path: "/data/zeros", Zeros: 1 << 20}, {Path: "data/link", Link: "zeros"}, {Path: "data/hard", HardLink: "/data/zeros"}},
	}
}

// entries reads a layer. It returns a list with the type, mode and name of each entry, and the
// contents of files by name.
func entries(t *testing.T, layer v1.Layer) (list []string, contents map[string]string) {
	t.Helper()
	rc := must(layer.Uncompressed())(t)
	defer rc.Close()
	contents = map[string]string{}
	for tr := tar.NewReader(rc); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return list, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(lab.Created) {
			t.Errorf("%s is of %s", h.Name, h.ModTime)
		}
		list = append(list, fmt.Sprintf("%c %o %s%s", h.Typeflag, h.Mode, h.Name, strings.TrimSuffix(" "+h.Linkname, " ")))
		contents[h.Name] = string(must(io.ReadAll(tr))(t))
	}
}

func TestSameSpecSameDigest(t *testing.T) {
	for _, c := range []lab.Compression{lab.Gzip, lab.Zstd, lab.Uncompressed} {
		spec := everything()
		spec.Compression = c
		spec.Labels = map[string]string{"a": "1", "b": "2", "c": "3"}
		a, b := build(t, spec), build(t, spec)
		if x, y := must(a.Digest())(t), must(b.Digest())(t); x != y {
			t.Errorf("compression %d: %s and %s", c, x, y)
		}
		if err := check(a); err != nil {
			t.Errorf("compression %d: %v", c, err)
		}
	}
}

func TestImageContents(t *testing.T) {
	layers := must(build(t, everything()).Layers())(t)
	if len(layers) != 3 {
		t.Fatalf("%d layers, want 3", len(layers))
	}
	list, contents := entries(t, layers[0])
	want := []string{
		"5 755 usr/", "5 755 usr/lib/", "0 644 usr/lib/os-release", "5 755 etc/", "2 777 etc/os-release ../usr/lib/os-release",
		"5 755 var/", "5 755 var/lib/", "5 755 var/lib/dpkg/", "0 644 var/lib/dpkg/status",
		"5 755 usr/share/", "5 755 usr/share/doc/", "5 755 usr/share/doc/libssl3/", "0 644 usr/share/doc/libssl3/copyright",
		"5 755 var/lib/dpkg/info/", "0 644 var/lib/dpkg/info/libssl3.list", "0 644 var/lib/dpkg/info/libssl3.md5sums",
		"0 644 var/lib/dpkg/info/bash.list", "0 644 var/lib/dpkg/info/bash.md5sums",
		"5 755 lib/", "5 755 lib/apk/", "5 755 lib/apk/db/", "0 644 lib/apk/db/installed", "5 755 etc/apk/", "0 644 etc/apk/world",
		"5 755 usr/lib/node_modules/", "5 755 usr/lib/node_modules/@scope/", "5 755 usr/lib/node_modules/@scope/left/", "0 644 usr/lib/node_modules/@scope/left/package.json",
		"5 755 usr/local/", "5 755 usr/local/bin/", "0 755 usr/local/bin/app",
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("first layer (-want +got):\n%s", diff)
	}
	for name, parts := range map[string][]string{
		"usr/lib/os-release": {"ID=debian\n", `VERSION_ID="12"`, `PRETTY_NAME="Debian GNU/Linux 12"`},
		"var/lib/dpkg/status": {"Package: libssl3\nStatus: install ok installed\n", "Source: openssl\nVersion: 3.0.11-1~deb12u2\n",
			"Source: bash (5.2.15-2)\nVersion: 5.2.15-2+b2\n", "Architecture: amd64\n", "lab\n\nPackage: bash\n"},
		"usr/share/doc/libssl3/copyright":               {"License: Apache-2.0\n"},
		"var/lib/dpkg/info/libssl3.md5sums":             {"  usr/share/doc/libssl3/copyright\n"},
		"lib/apk/db/installed":                          {"P:musl-utils\nV:1.2.5-r0\nA:x86_64\n", "o:musl\n", "L:MIT\n", "C:Q1"},
		"usr/lib/node_modules/@scope/left/package.json": {`"name": "@scope/left"`, `"version": "1.0.0"`, `"license": "MIT"`},
	} {
		for _, part := range parts {
			if !strings.Contains(contents[name], part) {
				t.Errorf("%s has no %q:\n%s", name, part, contents[name])
			}
		}
	}
	list, _ = entries(t, layers[1])
	if diff := cmp.Diff([]string{"5 755 etc/", "5 755 etc/apt/", "0 644 etc/apt/.wh..wh..opq", "5 755 usr/", "5 755 usr/lib/", "0 644 usr/lib/.wh.os-release"}, list); diff != "" {
		t.Errorf("second layer (-want +got):\n%s", diff)
	}
	list, contents = entries(t, layers[2])
	if diff := cmp.Diff([]string{"5 700 data/", "0 644 data/zeros", "2 777 data/link zeros", "1 644 data/hard data/zeros"}, list); diff != "" {
		t.Errorf("third layer (-want +got):\n%s", diff)
	}
	if got := contents["data/zeros"]; got != strings.Repeat("\x00", 1<<20) {
		t.Errorf("data/zeros has %d bytes or not only zeros", len(got))
	}
	config := must(build(t, everything()).ConfigFile())(t)
	if diff := cmp.Diff([]string{"/usr/local/bin/app"}, config.Config.Entrypoint); diff != "" {
		t.Error(diff)
	}
}

func TestArchitectureNamesFollowTheDistribution(t *testing.T) {
	for platform, want := range map[string][2]string{
		"linux/amd64": {"amd64", "x86_64"}, "linux/arm64/v8": {"arm64", "aarch64"}, "linux/arm/v7": {"armhf", "armv7"},
		"linux/386": {"i386", "x86"}, "linux/ppc64le": {"ppc64el", "ppc64le"}, "linux/s390x": {"s390x", "s390x"},
	} {
		spec := everything()
		spec.Platform = platform
		_, contents := entries(t, must(build(t, spec).Layers())(t)[0])
		if !strings.Contains(contents["var/lib/dpkg/status"], "\nArchitecture: "+want[0]+"\n") {
			t.Errorf("%s: dpkg has not %s", platform, want[0])
		}
		if !strings.Contains(contents["lib/apk/db/installed"], "\nA:"+want[1]+"\n") {
			t.Errorf("%s: apk has not %s", platform, want[1])
		}
	}
}

func TestReleases(t *testing.T) {
	for release, want := range map[string][]string{
		"ubuntu 22.04":   {"ID=ubuntu\n", `VERSION_ID="22.04"`, `ID_LIKE="debian"`},
		"wolfi 20230201": {"ID=wolfi\n", `VERSION_ID="20230201"`},
		"debian":         {"ID=debian\n", `PRETTY_NAME="Debian GNU/Linux"`},
		"homemade 1":     {"ID=homemade\n", `PRETTY_NAME="homemade 1"`},
	} {
		_, contents := entries(t, must(build(t, lab.ImageSpec{OSRelease: release}).Layers())(t)[0])
		for _, part := range want {
			if !strings.Contains(contents["usr/lib/os-release"], part) {
				t.Errorf("%s: no %q in\n%s", release, part, contents["usr/lib/os-release"])
			}
		}
	}
	if layers := must(build(t, lab.ImageSpec{}).Layers())(t); len(layers) != 0 {
		t.Errorf("%d layers of nothing", len(layers))
	}
	_, contents := entries(t, must(build(t, lab.ImageSpec{OSRelease: "alpine 3.20.3", ApkPackages: []lab.Apk{{Name: "musl", Version: "1"}}}).Layers())(t)[0])
	if got := contents["etc/apk/repositories"]; got != "https://dl-cdn.alpinelinux.org/alpine/v3.20/main\n" {
		t.Errorf("repositories: %q", got)
	}
}

func TestInvalidSpecIsAnError(t *testing.T) {
	for name, spec := range map[string]lab.ImageSpec{
		"platform":       {Platform: "linux"},
		"nonsense":       {Platform: "a/b/c/d"},
		"docker zstd":    {MediaTypes: lab.Docker, Compression: lab.Zstd, Files: []lab.File{{Path: "a"}}},
		"no compression": {Compression: 99, Files: []lab.File{{Path: "a"}}},
	} {
		if _, err := lab.Image(spec); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPathThatLeavesTheArchiveStays(t *testing.T) {
	img := build(t, lab.ImageSpec{Files: []lab.File{{Path: "../../etc/passwd", Content: "x"}}})
	list, _ := entries(t, must(img.Layers())(t)[0])
	if diff := cmp.Diff([]string{"0 644 ../../etc/passwd"}, list); diff != "" {
		t.Error(diff)
	}
}

func TestAttestationManifestIsNotAPlatform(t *testing.T) {
	docker := small("linux/amd64")
	docker.MediaTypes = lab.Docker
	for name, tc := range map[string]struct {
		attest   func(v1.ImageIndex) (v1.ImageIndex, error)
		image    lab.ImageSpec
		manifest types.MediaType
		config   types.MediaType
		artifact string
	}{
		"buildx":   {lab.WithAttestations, small("linux/amd64"), types.OCIManifestSchema1, types.OCIConfigJSON, ""},
		"docker":   {lab.WithAttestations, docker, types.DockerManifestSchema2, types.DockerConfigJSON, ""},
		"artifact": {lab.WithArtifactAttestations, small("linux/amd64"), types.OCIManifestSchema1, types.OCIEmptyJSON, "application/vnd.docker.attestation.manifest.v1+json"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, lab.Options{})
			img := build(t, tc.image)
			digest := must(img.Digest())(t)
			index := must(tc.attest(must(lab.Index(img))(t)))(t)
			must(r.Push(t.Context(), "app:1", index))(t)
			pulled := must(pull(t, r, "app:1").ImageIndex())(t)
			children := must(pulled.IndexManifest())(t).Manifests
			if len(children) != 2 || children[0].Digest != digest {
				t.Fatalf("got children %+v", children)
			}
			desc := children[1]
			if desc.MediaType != tc.manifest || desc.Platform.String() != "unknown/unknown" {
				t.Errorf("got %s for %s", desc.MediaType, desc.Platform)
			}
			if diff := cmp.Diff(map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest.String()}, desc.Annotations); diff != "" {
				t.Error(diff)
			}
			child := must(pulled.Image(desc.Digest))(t)
			manifest := must(child.Manifest())(t)
			if manifest.Config.MediaType != tc.config || manifest.ArtifactType != tc.artifact {
				t.Errorf("got config %s, artifact %q", manifest.Config.MediaType, manifest.ArtifactType)
			}
			if named := manifest.Subject != nil && manifest.Subject.Digest == digest; named != (tc.artifact != "") {
				t.Errorf("got subject %+v", manifest.Subject)
			}
			var predicates []string
			for i, layer := range must(child.Layers())(t) {
				body := string(must(io.ReadAll(must(layer.Compressed())(t)))(t))
				kind := manifest.Layers[i].Annotations["in-toto.io/predicate-type"]
				predicates = append(predicates, kind)
				if manifest.Layers[i].MediaType != "application/vnd.in-toto+json" {
					t.Errorf("layer %d is %s", i, manifest.Layers[i].MediaType)
				}
				for _, part := range []string{`"predicateType":"` + kind + `"`, digest.Hex, "https://in-toto.io/Statement/v0.1"} {
					if !strings.Contains(body, part) {
						t.Errorf("no %q in %s", part, body)
					}
				}
			}
			if diff := cmp.Diff([]string{"https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2"}, predicates); diff != "" {
				t.Error(diff)
			}
			if tc.artifact == "" {
				if got := must(child.ConfigFile())(t); got.OS != "unknown" || got.Architecture != "unknown" || len(got.RootFS.DiffIDs) != 2 {
					t.Errorf("got config %+v", got)
				}
			}
		})
	}
	if _, err := lab.WithAttestations(must(lab.Index())(t)); err == nil {
		t.Error("attesting an index without images is no error")
	}
}

func TestSmuggledLayerIsInTheAttestation(t *testing.T) {
	r := start(t, lab.Options{})
	index := must(lab.WithSmuggledLayer(must(lab.Index(build(t, small("linux/amd64"))))(t), lab.File{Path: "bin/sh", Content: "#!"}))(t)
	must(r.Push(t.Context(), "app:1", index))(t)
	pulled := must(pull(t, r, "app:1").ImageIndex())(t)
	child := must(pulled.Image(must(pulled.IndexManifest())(t).Manifests[1].Digest))(t)
	if err := check(child); err != nil {
		t.Error(err)
	}
	layers := must(child.Layers())(t)
	last := layers[len(layers)-1]
	if mt := must(last.MediaType())(t); mt != types.OCILayer {
		t.Errorf("the last layer is %s", mt)
	}
	if _, contents := entries(t, last); contents["bin/sh"] != "#!" {
		t.Errorf("got %v", contents)
	}
	if _, err := lab.WithSmuggledLayer(index); err == nil {
		t.Error("smuggling nothing is no error")
	}
}

func TestURLsAreRefusedUnlessAllowed(t *testing.T) {
	for name, hostile := range map[string]func(v1.Image) (v1.Image, error){
		"foreign": func(img v1.Image) (v1.Image, error) { return lab.ForeignLayer(img, "https://elsewhere.invalid/x") },
		"added":   func(img v1.Image) (v1.Image, error) { return lab.LayerURLs(img, "https://elsewhere.invalid/x") },
	} {
		for _, family := range []lab.MediaTypes{lab.OCI, lab.Docker} {
			spec := small("linux/amd64")
			spec.MediaTypes = family
			spec.OSRelease = "debian 12"
			img := must(hostile(build(t, spec)))(t)
			// The registry checks the URLs of all layers in OCI manifests, but in Docker manifests
			// only the URLs of foreign layers.
			if name == "foreign" || family == lab.OCI {
				if _, err := start(t, lab.Options{}).Push(t.Context(), "app:1", img); err == nil || !strings.Contains(err.Error(), "invalid URL") {
					t.Errorf("%s %d: got %v, want a refusal", name, family, err)
				}
			}
			r := start(t, lab.Options{ForeignURLs: true})
			if _, err := r.Push(t.Context(), "app:1", img); err != nil {
				t.Errorf("%s %d: %v", name, family, err)
				continue
			}
			pulled := must(must(pull(t, r, "app:1").Image())(t).Manifest())(t)
			last := pulled.Layers[len(pulled.Layers)-1]
			if diff := cmp.Diff([]string{"https://elsewhere.invalid/x"}, last.URLs); diff != "" {
				t.Errorf("%s %d: %s", name, family, diff)
			}
			if got := last.MediaType.IsDistributable(); got != (name == "added") {
				t.Errorf("%s %d: %s", name, family, last.MediaType)
			}
			blob := must(get(t, r, "/v2/app/blobs/"+last.Digest.String()))(t)
			if there := blob.status == http.StatusOK; there != (name == "added") {
				t.Errorf("%s %d: the blob's status is %d", name, family, blob.status)
			}
		}
	}
}

func TestWrongStatementsAreWrong(t *testing.T) {
	r := start(t, lab.Options{})
	for name, hostile := range map[string]func(v1.Image) (v1.Image, error){
		"content": lab.WrongDiffID,
		"size":    func(img v1.Image) (v1.Image, error) { return lab.WrongSize(img, 1) },
	} {
		img := must(hostile(build(t, small("linux/amd64"))))(t)
		must(r.Push(t.Context(), name+":1", img))(t)
		if err := check(must(pull(t, r, name+":1").Image())(t)); err == nil {
			t.Errorf("%s: the image is valid", name)
		}
	}
	if _, err := lab.WrongDiffID(build(t, lab.ImageSpec{})); err == nil {
		t.Error("an image without layers has a last one")
	}
}
