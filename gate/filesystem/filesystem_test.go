package filesystem

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
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
)

// member is an entry of a test archive. If typ is zero, the member is a folder if its name ends
// with "/", and a file otherwise.
type member struct {
	name, content, link string
	typ                 byte
	mode                int64
	implied             bool // a folder that the archive has no entry for, see completed
	pax                 map[string]string
	major, minor        int64 // numbers of a device; 1/3 if both are 0
}

// TestFileSystemEqualsStereoscopes checks that the gate's file tree equals stereoscope's for many
// combinations of layers. stereoscope reads a copy of each archive. In the copy, every folder has
// an entry.
func TestFileSystemEqualsStereoscopes(t *testing.T) {
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
		"whiteouts": {{{name: "a/1", content: "1"}, {name: "a/2", content: "2"}, {name: "b/3", content: "3"}, {name: "a/.wh.none"}},
			{{name: "a/.wh.1"}, {name: ".wh.b"}, {name: "a/4", content: "4"}}, {{name: "b/", mode: 0o700}}},
		"whiteouts in the lowest layer": {{{name: "a/1", content: "1"}, {name: "a/.wh.2"}, {name: "b/.wh..wh..opq"}, {name: "b/3", content: "3"}}},
		"opaque folder":                 {{{name: "a/1", content: "1"}, {name: "a/b/2", content: "2"}}, {{name: "a/.wh..wh..opq"}, {name: "a/3", content: "3"}}},
		"file becomes folder and back": {{{name: "a", content: "1"}, {name: "b/c", content: "2"}}, {{name: "a/"}, {name: "a/d", content: "3"}, {name: "b", content: "4"}},
			{{name: "a", typ: tar.TypeSymlink, link: "b"}}},
	} {
		t.Run(name, func(t *testing.T) { sameFilesystem(t, archives) })
	}
	// Use few different names, so that entries often have the same name.
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
			archives, everyLink, below := make([][]member, 1+r.IntN(4)), symlinks{}, map[string]bool{}
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
					// In these cases, stereoscope's result differs from the files that runtimes
					// unpack: a repeated name after a hard link to it or as another link; a path
					// behind a link; a whiteout of a repeated name or behind a link; and a hard
					// link to a lower layer. This test skips these cases. The tests below cover
					// them.
					p := path.Clean("/" + m.name)
					folder, base := path.Split(p)
					bare := folder + strings.TrimPrefix(base, whiteout)
					hides := strings.HasPrefix(base, whiteout)
					if before[p] && (linked || m.typ == tar.TypeSymlink) || everyLink.above(p) ||
						m.typ == tar.TypeLink && (below["/"+m.link] || everyLink.above("/"+m.link)) ||
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
				maps.Copy(below, before)
			}
			sameFilesystem(t, archives)
		})
	}
}

func sameFilesystem(t *testing.T, archives [][]member) {
	t.Helper()
	completed := completed(t, archives)
	src := imageOf(t, completed)
	theirs, terr := stereoscopes(t, src)
	for _, early := range []bool{true, false} {
		ours, err := filesystemOf(t, src, early)
		if (err == nil) != (terr == nil) {
			t.Fatalf("listed early %v: %v, and stereoscope says: %v\nof %+v", early, err, terr, archives)
		}
		if err != nil {
			continue
		}
		want := described(t, ours.Image)
		if d := cmp.Diff(described(t, theirs), want); d != "" {
			t.Errorf("listed early %v (-stereoscope +ours):\n%s\nof %+v", early, d, archives)
		}
		without, err := filesystemOf(t, imageOf(t, archives), early)
		if err != nil {
			t.Fatal(err)
		}
		digests := func(line string) bool { return strings.HasPrefix(line, "{ID:") || strings.HasPrefix(line, "{Index:") }
		if d := cmp.Diff(slices.DeleteFunc(want, digests), slices.DeleteFunc(described(t, without.Image), digests)); d != "" {
			t.Errorf("listed early %v (-with entries for folders +without):\n%s\nof %+v", early, d, archives)
		}
		if err := errors.Join(ours.Close(), without.Close()); err != nil {
			t.Error(err)
		}
	}
}

// stereoscopes returns the image as stereoscope itself reads it.
func stereoscopes(t *testing.T, src v1.Image) (*image.Image, error) {
	t.Helper()
	raw, err := src.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	out := image.New(src, nil, t.TempDir(), image.WithManifest(raw))
	if err := out.Read(t.Context()); err != nil {
		return nil, err
	}
	t.Cleanup(func() { out.Cleanup() })
	return out, nil
}

// completed adds an entry for every folder that has no entry, at the position where runtimes create
// the folder.
func completed(t *testing.T, archives [][]member) [][]member {
	t.Helper()
	out := make([][]member, 0, len(archives))
	for _, members := range archives {
		var below *filetree.FileTree
		if img, err := stereoscopes(t, imageOf(t, out)); err == nil && len(img.Layers) > 0 {
			below = img.Layers[len(img.Layers)-1].SquashedTree.(*filetree.FileTree)
		}
		has, gone := map[string]bool{}, map[string]bool{}
		var layer []member
		for _, m := range members {
			p := path.Clean("/" + m.name)
			var missing []member
			for d := path.Dir(p); d != "/"; d = path.Dir(d) {
				hidden := false
				for at := d; at != "/"; at = path.Dir(at) {
					hidden = hidden || gone[at] || gone[path.Dir(at)+opaque]
				}
				if below != nil && !hidden {
					if n := nodeAt(below, file.Path(d)); n != nil && n.FileType == file.TypeDirectory && n.Reference != nil {
						has[d] = true
					}
				}
				if !has[d] {
					has[d] = true
					missing = append([]member{{name: d[1:] + "/", mode: 0o755, implied: true}}, missing...)
				}
			}
			has[p] = true
			switch folder, base := path.Split(p); {
			case base == opaque:
				gone[path.Clean(folder)+opaque] = true
			case strings.HasPrefix(base, whiteout):
				gone[folder+strings.TrimPrefix(base, whiteout)] = true
			}
			layer = append(append(layer, missing...), m)
		}
		out = append(out, layer)
	}
	return out
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
	j := -1
	for _, m := range members {
		if !m.implied {
			j++
		}
		h := &tar.Header{Name: m.name, Linkname: m.link, Typeflag: m.typ, Mode: m.mode, Size: int64(len(m.content)), Uid: j, Gid: i,
			ModTime: time.Unix(int64(1000*i+j), 0)}
		if h.Typeflag == 0 && strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if h.PAXRecords = m.pax; h.Typeflag == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: h.Typeflag, Name: h.Name, PAXRecords: m.pax}
		}
		if m.implied {
			h.Uid, h.Gid, h.ModTime = 0, 0, time.Unix(0, 0)
		}
		if h.Typeflag == tar.TypeChar {
			if h.Devmajor, h.Devminor = m.major, m.minor; m.major == 0 && m.minor == 0 {
				h.Devmajor, h.Devminor = 1, 3
			}
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

// layered returns img with the archives added as layers, the lowest first.
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

// filesystemOf fetches an image and merges its layers. If early is true, the layers are listed
// while they are fetched, and afterwards otherwise.
func filesystemOf(t *testing.T, src v1.Image, early bool) (*Filesystem, error) {
	t.Helper()
	a, img, digest := fetched(t, src, early)
	return a.Stack(t.Context(), img, digest)
}

func fetched(t *testing.T, src v1.Image, early bool) (*Archives, v1.Image, v1.Hash) {
	t.Helper()
	a := New()
	opts := layers.Options{Dir: t.TempDir()}
	if early {
		opts.Index = a.List
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
	return a, img, d.Digest
}

// described returns a text for each path of an image: its type, layer and content, and the searches
// that find the path.
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
		files = append(files, fmt.Sprintf("%s: %s %q %v %d %d/%d %q %q %v dir %v, %s, in %d", ref.RealPath, m.Path, m.Name(), m.Mode(), m.Size(), m.UserID, m.GroupID,
			m.MIMEType, m.LinkDestination, m.ModTime().UTC(), m.IsDir(), content, img.FileCatalog.Layer(ref).Metadata.Index))
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

// contentAt returns the content of the file at a path of the merged image.
func contentAt(t *testing.T, fs *Filesystem, path string) (string, error) {
	t.Helper()
	rc, err := fs.OpenPathFromSquash(file.Path(path))
	if err != nil {
		return "", err
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	return string(data), err
}

// TestHardLinkKeepsItsOriginalTarget checks that a hard link to the first of two entries with the
// same name keeps the first content. The second entry is unpacked as a new file.
func TestHardLinkKeepsItsOriginalTarget(t *testing.T) {
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
}

// whiteoutDevice returns an archive with the character device 0/0, which is a whiteout for an
// overlay file system.
func whiteoutDevice(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeChar, Name: "srv/app"}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestHardLinkBelowIsNotHidden checks that a hard link to a file of a lower layer has that file's
// content. Runtimes that unpack all layers into one folder link to the file that exists at that
// moment.
func TestHardLinkBelowIsNotHidden(t *testing.T) {
	link := func(name, to string) member { return member{name: name, typ: tar.TypeLink, link: to} }
	symlink := func(name, to string) member { return member{name: name, typ: tar.TypeSymlink, link: to} }
	file := member{name: "x/file", content: "below"}
	for name, archives := range map[string][][]member{
		"which stays":              {{file}, {link("new", "x/file")}},
		"then removed":             {{file}, {link("new", "x/file"), {name: "x/.wh.file"}}},
		"removed by its folder":    {{file}, {link("new", "x/file"), {name: ".wh.x"}}},
		"removed above":            {{file}, {link("new", "x/file")}, {{name: ".wh.x"}}},
		"replaced above":           {{file}, {link("new", "x/file")}, {{name: "x/file", content: "above"}}},
		"replaced after it":        {{file}, {link("new", "x/file"), {name: "x/file", content: "above"}}},
		"behind a link below":      {{file, symlink("l", "x")}, {link("new", "l/file")}},
		"behind a link of its own": {{file}, {symlink("l", "x"), link("new", "l/file")}},
		"to a hard link":           {{file, link("h", "x/file")}, {link("new", "h")}},
		"two layers below":         {{file}, {{name: "other"}}, {link("new", "x/file")}},
		"of a link to it":          {{file}, {link("h", "x/file"), link("new", "h"), {name: ".wh.h"}}},
	} {
		fs, err := filesystemOf(t, imageOf(t, archives), true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := contentAt(t, fs, "/new"); got != "below" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOverlayRedirectIsRefused checks that overlay attributes are refused. With such an attribute
// the kernel shows a different folder or different file content than was unpacked and cataloged.
func TestOverlayRedirectIsRefused(t *testing.T) {
	for record, attribute := range map[string]string{
		"SCHILY.xattr.trusted.overlay.redirect":         "trusted.overlay.redirect",
		"SCHILY.xattr.trusted.overlay.metacopy":         "trusted.overlay.metacopy",
		"SCHILY.xattr.trusted.overlay.overlay.opaque":   "trusted.overlay.overlay.opaque",
		"SCHILY.xattr.user.overlay.redirect":            "user.overlay.redirect",
		"SCHILY.xattr.user.fuseoverlayfs.opaque":        "user.fuseoverlayfs.opaque",
		"SCHILY.xattr.user.containers.override_stat":    "user.containers.override_stat",
		"LIBARCHIVE.xattr.trusted.overlay.redirect":     "trusted.overlay.redirect",
		"LIBARCHIVE.xattr.trusted%2Eoverlay%2Eredirect": "trusted.overlay.redirect",
	} {
		for _, m := range []member{{name: "srv/x/"}, {name: "srv/x", content: "1"}, {name: "srv/x", typ: tar.TypeXGlobalHeader}} {
			m.pax = map[string]string{record: "0:0:0755:symlink"}
			fs, err := filesystemOf(t, imageOf(t, [][]member{{m}}), false)
			if err == nil {
				fs.Close()
			}
			var refused *layers.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), `"/srv/x"`) || !strings.Contains(err.Error(), attribute) {
				t.Errorf("%s of %+v: %v", record, m, err)
			}
		}
	}
}

// TestOtherAttributesAreNotRefused checks that other extended attributes are accepted. Builders set
// capabilities, and users may set any other attribute.
func TestOtherAttributesAreNotRefused(t *testing.T) {
	for _, record := range []string{"SCHILY.xattr.security.capability", "SCHILY.xattr.user.note", "SCHILY.xattr.user.overlays", "SCHILY.xattr.Trusted.overlay.opaque",
		"SCHILY.xattr.user.containers.override_stat", "LIBARCHIVE.xattr.security.capability", "comment", "SCHILY.xattr.trusted.overlayed.x"} {
		fs, err := filesystemOf(t, imageOf(t, [][]member{{{name: "a", content: "1", pax: map[string]string{record: "0:0:0755"}}}}), true)
		if err != nil {
			t.Errorf("%s: %v", record, err)
			continue
		}
		fs.Close()
	}
}

// TestAmbiguousLayerIsRefused checks that an entry is refused if only some runtimes unpack it.
func TestAmbiguousLayerIsRefused(t *testing.T) {
	odd := func(name string, typ byte) []byte {
		raw := archiveOf(t, 0, []member{{name: name}})
		retype(raw[:block], typ)
		return raw
	}
	global := func(record string) []byte {
		return archiveOf(t, 0, []member{{name: "global", typ: tar.TypeXGlobalHeader, pax: map[string]string{record: "x"}}, {name: "a"}})
	}
	for name, archive := range map[string][]byte{
		"whiteout device":             whiteoutDevice(t),
		"in a whiteout":               archiveOf(t, 0, []member{{name: ".wh.app/srv/file"}}),
		"in a folder that was AUFS's": archiveOf(t, 0, []member{{name: ".wh..wh.plnk/file"}}),
		"hard link to two places": archiveOf(t, 0, []member{{name: "p", content: "1"}, {name: "b/c/"}, {name: "b/p", content: "2"},
			{name: "l", typ: tar.TypeSymlink, link: "b/c"}, {name: "h", typ: tar.TypeLink, link: "l/../p"}}),
		"whiteout of a link of its own":   archiveOf(t, 0, []member{{name: "s", typ: tar.TypeSymlink, link: "t"}, {name: ".wh.s"}}),
		"file and folder":                 archiveOf(t, 0, []member{{name: "a", content: "1"}, {name: "a/"}}),
		"in a whiteout further down":      archiveOf(t, 0, []member{{name: "srv/.wh.app/file"}}),
		"whiteout of nothing":             archiveOf(t, 0, []member{{name: "srv/.wh."}}),
		"global header and whiteout":      odd("srv/.wh.app", tar.TypeXGlobalHeader),
		"of a kind that nobody knows":     odd("srv/app", 'Z'),
		"two links in one place":          archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: "b"}, {name: "a", typ: tar.TypeSymlink, link: "c"}}),
		"links that lead to each other":   archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: "b"}, {name: "b", typ: tar.TypeSymlink, link: "a"}, {name: "a/c"}}),
		"a link that is too long":         archiveOf(t, 0, []member{{name: "a", typ: tar.TypeSymlink, link: strings.Repeat("a/", maxName/2) + "a"}}),
		"an attribute for all":            global("SCHILY.xattr.user.note"),
		"a path for all":                  global("path"),
		"a target for all":                global("linkpath"),
		"behind a link below":             archiveOf(t, 0, []member{{name: "below/file", content: "1"}}),
		"a folder behind a link below":    archiveOf(t, 0, []member{{name: "below/folder/"}}),
		"a hard link behind a link below": archiveOf(t, 0, []member{{name: "file"}, {name: "below/file", typ: tar.TypeLink, link: "file"}}),
		"a name that is too long":         archiveOf(t, 0, []member{{name: strings.Repeat("a/", maxName/2) + "a"}}),
	} {
		for _, early := range []bool{true, false} {
			below := archiveOf(t, 0, []member{{name: "app"}, {name: "below", typ: tar.TypeSymlink, link: "app"}})
			a, img, digest := fetched(t, layered(t, empty.Image, below, archive), early)
			fs, err := a.Stack(t.Context(), img, digest)
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
