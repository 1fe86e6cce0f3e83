package gate

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/policy/evidence"
)

// member is an entry of a test archive. If typ is zero, the member is a folder if its name ends
// with "/", and a file otherwise.
type member struct {
	name, content, link string
	typ                 byte
	mode                int64
}

func archiveOf(t *testing.T, i int, members []member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for j, m := range members {
		h := &tar.Header{Name: m.name, Linkname: m.link, Typeflag: m.typ, Mode: m.mode, Size: int64(len(m.content)), Uid: j, Gid: i,
			ModTime: time.Unix(int64(1000*i+j), 0)}
		if h.Typeflag == 0 && strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = io.WriteString(w, m.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// fetched fetches the layers of an image. It returns their file lists and the fetched platform.
func fetched(t *testing.T, src v1.Image) (*filesystem.Archives, *Platform) {
	t.Helper()
	a := filesystem.New()
	store, err := layers.New(layers.Options{Dir: t.TempDir(), Index: a.List})
	if err != nil {
		t.Fatal(err)
	}
	a.Use(store)
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
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return a, &Platform{Name: "linux/amd64", Digest: d.Digest, Image: img, Config: config}
}

// layered adds archives as layers to an image.
func layered(t *testing.T, img v1.Image, archives ...[]byte) v1.Image {
	t.Helper()
	for _, raw := range archives {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
		if err == nil {
			img, err = mutate.AppendLayers(img, l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// sparse returns an archive with one file that omits a run of zeros, as GNU tar --sparse writes it.
func sparse(t *testing.T, name, content string, from, to, size int) []byte {
	t.Helper()
	packed := fmt.Sprintf("2\n0\n%d\n%d\n%d\n", from, to, len(content)-to)
	packed += strings.Repeat("\x00", 512-len(packed)) + content[:from] + content[to:]
	records := ""
	for _, r := range []string{"major=1", "minor=0", "name=" + name, fmt.Sprint("realsize=", size)} {
		r = " GNU.sparse." + r + "\n"
		n := len(r) + 2 // A record begins with its own length, which has two digits here.
		records += fmt.Sprint(n) + r
	}
	var buf bytes.Buffer
	for _, m := range []struct {
		typ     byte
		content string
	}{{tar.TypeXHeader, records}, {tar.TypeReg, packed}} {
		w := tar.NewWriter(&buf)
		at := buf.Len()
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/" + name, Mode: 0o755, Size: int64(len(m.content)), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		retype(buf.Bytes()[at:at+512], m.typ)
	}
	return buf.Bytes()
}

// retype sets the type in a tar header to one that Go's tar package does not write, and updates the
// checksum of the header.
func retype(header []byte, typ byte) {
	header[156] = typ
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// TestLinkedPackageIsCataloged checks that the gate catalogs a package behind a hard link to the
// first of two entries with the same name. The link keeps the first content, because the second
// entry is unpacked as a new file.
func TestLinkedPackageIsCataloged(t *testing.T) {
	const before, after = `{"name":"json-schema","version":"0.3.0"}`, `{"name":"json-schema","version":"0.4.0"}`
	const at = "srv/node_modules/json-schema/package.json"
	raw := archiveOf(t, 0, []member{{name: "x", content: before}, {name: at, typ: tar.TypeLink, link: "x"}, {name: "x", content: after}})
	h := newTester(t)
	spec := clean
	spec.NPM = nil
	p := h.check(h.gate(blockCritical), h.push("app:1", layered(t, h.image(spec), raw))).Input.Platforms[0]
	if !slices.ContainsFunc(p.Packages, func(p evidence.Package) bool { return p.Name == "json-schema" && p.Version == "0.3.0" }) {
		t.Errorf("the linked package was not found: %+v", p.Packages)
	}
}

// TestWhatIsUnpackedIsCataloged checks that a package is cataloged if containerd unpacks it. In
// each case, layers change the package's path in a way that cannot be seen in the final file tree.
func TestWhatIsUnpackedIsCataloged(t *testing.T) {
	const at, content = "srv/node_modules/json-schema/package.json", `{"name":"json-schema","version":"0.3.0"}`
	global := archiveOf(t, 0, []member{{name: at, content: "13 comment=x\n"}})
	retype(global[:512], tar.TypeXGlobalHeader)
	for name, archives := range map[string][][]byte{
		"hard link to a file that goes": {archiveOf(t, 0, []member{{name: "x/file", content: content}}),
			archiveOf(t, 0, []member{{name: at, typ: tar.TypeLink, link: "x/file"}, {name: ".wh.x"}})},
		"hard link behind a link below": {archiveOf(t, 0, []member{{name: "x/file", content: content}, {name: "l", typ: tar.TypeSymlink, link: "x"}}),
			archiveOf(t, 0, []member{{name: at, typ: tar.TypeLink, link: "l/file"}}), archiveOf(t, 0, []member{{name: "x/file", content: "{}"}})},
		"mode of a folder": {archiveOf(t, 0, []member{{name: at, content: content, mode: 0o40644}})},
		"whiteout of what is there anew": {archiveOf(t, 0, []member{{name: "app/.venv/old"}}),
			archiveOf(t, 0, []member{{name: "app/.wh..venv"}, {name: "app/.venv/"}, {name: "app/.venv/" + at, content: content}})},
		"whiteout under a folder": {archiveOf(t, 0, []member{{name: "app/" + at, content: content}}),
			archiveOf(t, 0, []member{{name: ".wh.app"}, {name: "app/"}})},
		"global header": {archiveOf(t, 0, []member{{name: at, content: content}}), global},
		"behind a link that goes": {archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: "b/../c"}, {name: "a/" + at, content: content}}),
			archiveOf(t, 0, []member{{name: ".wh.a"}})},
		"behind a link that is replaced": {archiveOf(t, 0, []member{{name: "x/a", typ: tar.TypeSymlink, link: "../b"}, {name: "x/a/" + at, content: content}}),
			archiveOf(t, 0, []member{{name: "x/a/.wh.srv"}})},
		"behind a link that leads up from another": {archiveOf(t, 0, []member{{name: "d/e/"}, {name: "s", typ: tar.TypeSymlink, link: "d/e"},
			{name: "a", typ: tar.TypeSymlink, link: "s/../c"}, {name: "a/" + at, content: content}}), archiveOf(t, 0, []member{{name: ".wh.c"}})},
		"behind a hard link to a link": {archiveOf(t, 0, []member{{name: "s", typ: tar.TypeSymlink, link: "t"}, {name: "h", typ: tar.TypeLink, link: "s"},
			{name: "h/" + at, content: content}}), archiveOf(t, 0, []member{{name: ".wh.h"}})},
		"opaque root": {archiveOf(t, 0, []member{{name: at, content: content}}), archiveOf(t, 0, []member{{name: ".wh..wh..opq"}})},
		"opaque root behind a link": {archiveOf(t, 0, []member{{name: at, content: content}}),
			archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: "."}, {name: "a/" + ".wh..wh..opq"}})},
		"whiteout behind a link below": {archiveOf(t, 0, []member{{name: "b/" + at, content: content}, {name: "a", typ: tar.TypeSymlink, link: "b"}}),
			archiveOf(t, 0, []member{{name: "a/.wh.srv"}})},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			spec := clean
			spec.NPM = nil
			p := h.check(h.gate(blockCritical), h.push("app:1", layered(t, h.image(spec), archives...))).Input.Platforms[0]
			if !slices.ContainsFunc(p.Packages, func(p evidence.Package) bool { return p.Name == "json-schema" && p.Version == "0.3.0" }) {
				t.Errorf("the package is hidden: %+v", p.Packages)
			}
		})
	}
}

// TestHugeSparseFileIsAnUnknown checks that a huge sparse file is an unknown. The cataloger must
// not read the file into memory.
func TestHugeSparseFileIsAnUnknown(t *testing.T) {
	h := newTester(t)
	at := "usr/lib/node_modules/huge/package.json"
	raw := sparse(t, at, `{"name":"huge"}`, 8, 8, 1<<40)
	p := h.check(h.gate(blockCritical), h.push("app:1", layered(t, h.image(clean), raw))).Input.Platforms[0]
	if !slices.ContainsFunc(p.Unknowns, func(u evidence.Unknown) bool {
		return u.Path == "/"+at && strings.Contains(u.Reason, "the sparse file exceeds the size limit")
	}) {
		t.Errorf("unknowns: %+v", p.Unknowns)
	}
}

// TestFileOfAnotherKindIsAFile checks that an entry of type "contiguous" is cataloged as a file.
// Some runtimes unpack such entries, and old sparse entries, as files.
func TestFileOfAnotherKindIsAFile(t *testing.T) {
	h := newTester(t)
	spec := clean
	spec.NPM = nil
	raw := archiveOf(t, 0, []member{{name: "srv/node_modules/json-schema/package.json", typ: tar.TypeCont, content: `{"name":"json-schema","version":"0.3.0"}`}})
	p := h.check(h.gate(blockCritical), h.push("app:1", layered(t, h.image(spec), raw))).Input.Platforms[0]
	if !slices.ContainsFunc(p.Packages, func(p evidence.Package) bool { return p.Name == "json-schema" }) {
		t.Errorf("packages: %+v", p.Packages)
	}
}

// TestPackagesInFoldersWithoutEntryAreCataloged checks that packages are found in folders without
// entries in the archive. Some builders, for example of distroless images, write no entries for
// folders. Runtimes create these folders.
func TestPackagesInFoldersWithoutEntryAreCataloged(t *testing.T) {
	const about = "Package: firefox-esr\nArchitecture: amd64\nVersion: 128.0esr-1~deb12u1\nMaintainer: D\nDescription: x\n"
	release := member{name: "etc/os-release", content: "ID=debian\nVERSION_ID=\"12\"\n"}
	packages := member{name: "var/lib/dpkg/status.d/firefox-esr", content: about}
	status := member{name: "var/lib/dpkg/status", content: strings.ReplaceAll(about, "firefox-esr", "hello")}
	folders := []member{{name: "var/"}, {name: "var/lib/"}, {name: "var/lib/dpkg/"}, {name: "var/lib/dpkg/status.d/"}}
	for name, archives := range map[string][][]member{
		"with folders":                     {slices.Concat([]member{release}, folders, []member{packages})},
		"without folders":                  {{release, packages}},
		"two layers":                       {{release}, {packages}},
		"with another file":                {{release, status, packages}},
		"folder of a layer below":          {slices.Concat([]member{release}, folders[:3], []member{status}), {packages}},
		"folder that was removed":          {slices.Concat([]member{release}, folders), {{name: "var/.wh.lib"}}, {packages}},
		"folder that is removed before it": {slices.Concat([]member{release}, folders), {{name: "var/lib/.wh.dpkg"}, packages}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			var raw [][]byte
			for i, members := range archives {
				raw = append(raw, archiveOf(t, i, members))
			}
			img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64"})
			if err != nil {
				t.Fatal(err)
			}
			r := h.check(h.gate(blockCritical), h.push("app:1", layered(t, img, raw...)))
			if !slices.ContainsFunc(r.Input.Platforms[0].Packages, func(p evidence.Package) bool { return p.Name == "firefox-esr" }) {
				t.Errorf("the package is hidden: %+v", r.Input.Platforms[0].Packages)
			}
		})
	}
}
