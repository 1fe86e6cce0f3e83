package gate

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	"github.com/anchore/stereoscope/pkg/image"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/policy"
)

// member is one of an archive; with a type of zero it is a file.
type member struct {
	name, content, link string
	typ                 byte
	mode                int64
}

// TestFilesystemIsWhatStereoscopeMakesOfIt, whatever layers do to each other.
func TestFilesystemIsWhatStereoscopeMakesOfIt(t *testing.T) {
	program := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\x3e\x00" + strings.Repeat("\x00", 4000)
	for name, archives := range map[string][][]member{
		"no layer":    {},
		"empty layer": {{}},
		"files": {{{name: "./"}, {name: "./etc/"}, {name: "./etc/hosts", content: "a"}, {name: "usr/bin/app", content: program, mode: 0o4755},
			{name: "empty"}, {name: "/absolute", content: "b"}, {name: "../above", content: "c"}, {name: "a//b/./c", content: "#!/bin/sh\n"}}},
		"the same name twice": {{{name: "a", content: "1"}, {name: "a", content: "22"}, {name: "b/", mode: 0o700}, {name: "b/", mode: 0o755}}},
		"long names":          {{{name: strings.Repeat("folder/", 60) + "file", content: "1"}, {name: "ünïcode/ﬁle", content: "2"}}},
		"special files":       {{{name: "dev/null", typ: tar.TypeChar}, {name: "dev/sda", typ: tar.TypeBlock}, {name: "run/pipe", typ: tar.TypeFifo}}},
		"links": {{{name: "usr/lib/a", content: "1"}, {name: "lib", typ: tar.TypeSymlink, link: "usr/lib"}, {name: "lib64", typ: tar.TypeSymlink, link: "/usr/lib"},
			{name: "round", typ: tar.TypeSymlink, link: "round"}, {name: "gone", typ: tar.TypeSymlink, link: "nowhere"}}},
		"hard links": {{{name: "a", content: program, mode: 0o755}, {name: "b", typ: tar.TypeLink, link: "a", mode: 0o644}, {name: "c", typ: tar.TypeLink, link: "./b"},
			{name: "d", typ: tar.TypeLink, link: "missing"}, {name: "e", typ: tar.TypeLink, link: "d"}, {name: "f", typ: tar.TypeLink, link: "/"},
			{name: "g", typ: tar.TypeLink}, {name: "dir/"}, {name: "h", typ: tar.TypeLink, link: "dir"},
			{name: "s", typ: tar.TypeSymlink, link: "a"}, {name: "i", typ: tar.TypeLink, link: "s"},
			{name: "l", typ: tar.TypeSymlink, link: "dir"}, {name: "dir/x", content: "x"}, {name: "j", typ: tar.TypeLink, link: "l/x"}}},
		"hard link over a folder": {{{name: "a", content: "1"}, {name: "b/"}, {name: "b/c", content: "2"}, {name: "b", typ: tar.TypeLink, link: "a"}}},
		"hard link to a link over a file": {{{name: "t", content: "1"}, {name: "s", typ: tar.TypeSymlink, link: "t"}, {name: "b", content: "2"},
			{name: "b", typ: tar.TypeLink, link: "s"}}},
		"hard link to the layer below": {{{name: "a", content: "1"}}, {{name: "b", typ: tar.TypeLink, link: "a"}}},
		"whiteouts": {{{name: "a/1", content: "1"}, {name: "a/2", content: "2"}, {name: "b/3", content: "3"}, {name: "a/.wh.none"}},
			{{name: "a/.wh.1"}, {name: ".wh.b"}, {name: "a/4", content: "4"}}, {{name: "b/", mode: 0o700}}},
		"whiteouts in the lowest layer": {{{name: "a/1", content: "1"}, {name: "a/.wh.2"}, {name: "b/.wh..wh..opq"}, {name: "b/3", content: "3"}}},
		"opaque folder":                 {{{name: "a/1", content: "1"}, {name: "a/b/2", content: "2"}}, {{name: "a/.wh..wh..opq"}, {name: "a/3", content: "3"}}},
		"file becomes folder and back": {{{name: "a", content: "1"}, {name: "b/c", content: "2"}}, {{name: "a/"}, {name: "a/d", content: "3"}, {name: "b", content: "4"}},
			{{name: "a", typ: tar.TypeSymlink, link: "b"}}},
	} {
		t.Run(name, func(t *testing.T) { sameFilesystem(t, archives) })
	}
	// Names are few, so that they meet.
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			any := func(of ...string) string { return of[r.IntN(len(of))] }
			name := func() string {
				parts := make([]string, 1+r.IntN(3))
				for i := range parts {
					parts[i] = any("a", "b", "c", "d.tar.gz", "e")
				}
				return strings.Join(parts, "/")
			}
			archives, everyLink := make([][]member, 1+r.IntN(4)), symlinks{}
			for i := range archives {
				linked, before, links := false, map[string]bool{}, symlinks{}
				for range r.IntN(12) {
					m := member{name: name(), mode: int64(r.IntN(0o7777))}
					switch r.IntN(8) {
					case 0:
						m.name += "/"
					case 1:
						m.typ, m.link = tar.TypeSymlink, any("", "/", "../")+name()
					case 2, 3:
						m.typ, m.link = tar.TypeLink, name()
					case 4:
						m.name += any("/.wh.a", "/.wh.b", "/.wh..wh..opq")
					default:
						m.content = any("", "text", "{}", program, "\x1f\x8b\x08")
					}
					// What stereoscope makes of these is not what is unpacked, see below:
					// a name that comes once more, after something was linked to it or
					// as another link, what is behind a link, and a whiteout of what is
					// there once more or behind a link.
					p := path.Clean("/" + m.name)
					folder, base := path.Split(p)
					bare := folder + strings.TrimPrefix(base, whiteout)
					hides := strings.HasPrefix(base, whiteout)
					if before[p] && (linked || m.typ == tar.TypeSymlink) || links.above(p) || everyLink.above(p) && hides ||
						before[folder+whiteout+base] || hides && before[bare] {
						continue
					}
					before[p] = true
					for d := path.Dir(p); d != "/"; d = path.Dir(d) {
						before[d] = true
					}
					if m.typ == tar.TypeSymlink {
						links[p], everyLink[p] = m.link, m.link
					}
					linked = linked || m.typ == tar.TypeLink
					archives[i] = append(archives[i], m)
				}
			}
			sameFilesystem(t, archives)
		})
	}
}

func sameFilesystem(t *testing.T, archives [][]member) {
	t.Helper()
	src := imageOf(t, archives)
	raw, err := src.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	theirs := image.New(src, nil, t.TempDir(), image.WithManifest(raw))
	terr := theirs.Read(t.Context())
	if terr == nil {
		defer theirs.Cleanup()
	}
	for _, early := range []bool{true, false} {
		ours, err := filesystemOf(t, src, early)
		if (err == nil) != (terr == nil) {
			t.Fatalf("listed early %v: %v, and stereoscope says: %v", early, err, terr)
		}
		if err != nil {
			continue
		}
		if d := cmp.Diff(described(t, theirs), described(t, ours.Image)); d != "" {
			t.Errorf("listed early %v (-stereoscope +ours):\n%s\nof %+v", early, d, archives)
		}
		if err := ours.Close(); err != nil {
			t.Error(err)
		}
	}
}

func imageOf(t *testing.T, archives [][]member) v1.Image {
	t.Helper()
	var raw [][]byte
	for i, members := range archives {
		raw = append(raw, archiveOf(t, i, members))
	}
	return layered(t, empty.Image, raw...)
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

// layered puts archives on top of an image.
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

// filesystemOf fetches an image and indexes it, while that is fetched or after.
func filesystemOf(t *testing.T, src v1.Image, early bool) (*filesystem, error) {
	t.Helper()
	a, p := fetched(t, src, early)
	return a.filesystem(t.Context(), p)
}

func fetched(t *testing.T, src v1.Image, early bool) (*archives, *Platform) {
	t.Helper()
	a := newArchives()
	opts := layers.Options{Dir: t.TempDir()}
	if early {
		opts.Index = a.list
	}
	var err error
	if a.store, err = layers.New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.store.Close() })
	d, err := partial.Descriptor(src)
	if err != nil {
		t.Fatal(err)
	}
	img, err := a.store.Image(t.Context(), *d, src)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.Fetch(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if want := len(ls); early && len(a.listed) == 0 && want > 0 || !early && len(a.listed) > 0 {
		t.Errorf("%d of %d layers are listed", len(a.listed), want)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return a, &Platform{Name: "linux/amd64", Digest: d.Digest, Image: img, Config: config}
}

// described puts an image into words: what is where, of which kind, in which layer
// and with which content, and how it is found.
func described(t *testing.T, img *image.Image) []string {
	t.Helper()
	out := []string{fmt.Sprintf("%+v", img.Metadata)}
	for _, l := range img.Layers {
		out = append(out, fmt.Sprintf("%+v", l.Metadata))
	}
	tree := img.SquashedTree()
	paths := tree.AllRealPaths()
	slices.Sort(paths)
	out = append(out, fmt.Sprint(paths))
	var files []string
	types := map[string]bool{}
	for _, ref := range tree.AllFiles(file.AllTypes()...) {
		m, err := img.FileCatalog.Get(ref)
		if err != nil {
			t.Fatal(err)
		}
		content := "none"
		if rc, err := img.OpenReference(ref); err == nil {
			b, err := io.ReadAll(rc)
			content = fmt.Sprintf("%d %.4x %v %v", len(b), sha256.Sum256(b), err, rc.Close())
		}
		types[m.MIMEType] = true
		files = append(files, fmt.Sprintf("%s: %s %q %v %d %d/%d %q %q %v dir %v, %s, in %s", ref.RealPath, m.Path, m.Name(), m.Mode(), m.Size(), m.UserID, m.GroupID,
			m.MIMEType, m.LinkDestination, m.ModTime().UTC(), m.IsDir(), content, img.FileCatalog.Layer(ref).Metadata.Digest))
	}
	slices.Sort(files)
	out = append(out, files...)
	for mime := range types {
		found, err := img.SquashedSearchContext.SearchByMIMEType(mime)
		words := []string{fmt.Sprintf("of type %q, in this order: %v", mime, err)}
		for _, f := range found {
			words = append(words, resolved(f))
		}
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	for _, glob := range []string{"**/*", "**/a", "**/*.gz", "/a/*", "**/a/**", "/b/c"} {
		found, err := img.SquashedSearchContext.SearchByGlob(glob, filetree.FollowBasenameLinks)
		words := []string{}
		for _, f := range found {
			words = append(words, resolved(f))
		}
		slices.Sort(words)
		out = append(out, fmt.Sprint(glob, ": ", words, err))
	}
	return out
}

func resolved(f file.Resolution) string {
	if !f.HasReference() {
		return fmt.Sprint(f.RequestPath, " nowhere")
	}
	return fmt.Sprint(f.RequestPath, " ", f.RealPath)
}

// contentAt reads what is at a path.
func contentAt(t *testing.T, fs *filesystem, path string) (string, error) {
	t.Helper()
	rc, err := fs.OpenPathFromSquash(file.Path(path))
	if err != nil {
		return "", err
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	return string(data), err
}

// TestHardLinkIsToWhatWasThereThen: a name that comes once more in a layer is
// unpacked as a new file, and what was linked to the first one still is.
func TestHardLinkIsToWhatWasThereThen(t *testing.T) {
	const before, after = `{"name":"json-schema","version":"0.3.0"}`, `{"name":"json-schema","version":"0.4.0"}`
	const at = "srv/node_modules/json-schema/package.json"
	raw := archiveOf(t, 0, []member{{name: "x", content: before}, {name: at, typ: tar.TypeLink, link: "x"}, {name: "x", content: after}})
	for _, early := range []bool{true, false} {
		fs, err := filesystemOf(t, layered(t, empty.Image, raw), early)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{"/" + at: before, "/x": after} {
			if got, err := contentAt(t, fs, path); got != want || err != nil {
				t.Errorf("listed early %v, %s: %q, %v", early, path, got, err)
			}
		}
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	}

	h := newTester(t)
	spec := clean
	spec.NPM = nil
	p := h.check(h.gate(blockCritical), h.push("app:1", layered(t, h.image(spec), raw))).Input.Platforms[0]
	if !slices.ContainsFunc(p.Packages, func(p policy.Package) bool { return p.Name == "json-schema" && p.Version == "0.3.0" }) {
		t.Errorf("what is linked was not found: %+v", p.Packages)
	}
}

// TestWhatIsUnpackedIsCataloged, in the ways in which one layer changes another that
// a file tree alone does not tell: containerd unpacks a package in each of these.
func TestWhatIsUnpackedIsCataloged(t *testing.T) {
	const at, content = "srv/node_modules/json-schema/package.json", `{"name":"json-schema","version":"0.3.0"}`
	global := archiveOf(t, 0, []member{{name: at, content: "13 comment=x\n"}})
	retype(global[:block], tar.TypeXGlobalHeader)
	for name, archives := range map[string][][]byte{
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
		"opaque root": {archiveOf(t, 0, []member{{name: at, content: content}}), archiveOf(t, 0, []member{{name: opaque}})},
		"opaque root behind a link": {archiveOf(t, 0, []member{{name: at, content: content}}),
			archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: "."}, {name: "a/" + opaque}})},
		"whiteout behind a link below": {archiveOf(t, 0, []member{{name: "b/" + at, content: content}, {name: "a", typ: tar.TypeSymlink, link: "b"}}),
			archiveOf(t, 0, []member{{name: "a/.wh.srv"}})},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			spec := clean
			spec.NPM = nil
			p := h.check(h.gate(blockCritical), h.push("app:1", layered(t, h.image(spec), archives...))).Input.Platforms[0]
			if !slices.ContainsFunc(p.Packages, func(p policy.Package) bool { return p.Name == "json-schema" && p.Version == "0.3.0" }) {
				t.Errorf("it is hidden: %+v", p.Packages)
			}
		})
	}
}

// TestAmbiguousLayerIsRefused: what one runtime unpacks and another does not cannot be
// judged.
func TestAmbiguousLayerIsRefused(t *testing.T) {
	odd := func(name string, typ byte) []byte {
		raw := archiveOf(t, 0, []member{{name: name}})
		retype(raw[:block], typ)
		return raw
	}
	for name, archive := range map[string][]byte{
		"in a whiteout":               archiveOf(t, 0, []member{{name: ".wh.app/srv/file"}}),
		"in a folder that was AUFS's": archiveOf(t, 0, []member{{name: ".wh..wh.plnk/file"}}),
		"hard link to two places": archiveOf(t, 0, []member{{name: "p", content: "1"}, {name: "b/c/"}, {name: "b/p", content: "2"},
			{name: "l", typ: tar.TypeSymlink, link: "b/c"}, {name: "h", typ: tar.TypeLink, link: "l/../p"}}),
		"whiteout of a link of its own": archiveOf(t, 0, []member{{name: "s", typ: tar.TypeSymlink, link: "t"}, {name: ".wh.s"}}),
		"file and folder":               archiveOf(t, 0, []member{{name: "a", content: "1"}, {name: "a/"}}),
		"in a whiteout further down":    archiveOf(t, 0, []member{{name: "srv/.wh.app/file"}}),
		"whiteout of nothing":           archiveOf(t, 0, []member{{name: "srv/.wh."}}),
		"global header and whiteout":    odd("srv/.wh.app", tar.TypeXGlobalHeader),
		"of a kind that nobody knows":   odd("srv/app", 'Z'),
		"two links in one place":        archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: "b"}, {name: "a", typ: tar.TypeSymlink, link: "c"}}),
		"links that lead to each other": archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: "b"}, {name: "b", typ: tar.TypeSymlink, link: "a"}, {name: "a/c"}}),
		"a link that is too long":       archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: strings.Repeat("a/", maxName/2) + "a"}}),
		"a name that is too long":       archiveOf(t, 0, []member{{name: strings.Repeat("a/", maxName/2) + "a"}}),
	} {
		for _, early := range []bool{true, false} {
			a, p := fetched(t, layered(t, empty.Image, archiveOf(t, 0, []member{{name: "app"}}), archive), early)
			fs, err := a.filesystem(t.Context(), p)
			if err == nil {
				t.Errorf("%s, listed early %v: no error", name, early)
				fs.Close()
			}
			var refused *layers.RefusedError
			if err != nil && !errors.As(err, &refused) {
				t.Errorf("%s, listed early %v: %T: %v", name, early, err, err)
			}
		}
	}
}
