package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/source"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/lab"
)

// TestFastResolverFindsTheSameFiles checks that quickResolver and syft's resolver return the same
// files in the same order with the same names, even with links, deleted files and folders.
func TestFastResolverFindsTheSameFiles(t *testing.T) {
	const info = "var/lib/dpkg/info/"
	folders := []lab.File{{Path: "var/lib/dpkg", Dir: true}, {Path: "var/lib/dpkg/info", Dir: true}}
	files := slices.Concat(folders, []lab.File{
		{Path: info + "zlib1g.list", Content: "1"},
		{Path: info + "zlib1g.md5sums", Content: "2"},
		{Path: info + "zlib1g.conffiles", Content: "3"},
		{Path: info + "zlib1g-dev.list", Content: "4"},
		{Path: info + "libstdc++6.list", Content: "5"},
		{Path: info + "folder.d/file", Content: "6"}, {Path: info + "entry.d", Dir: true}, {Path: info + "entry.d/file", Content: "7"},
		{Path: info + "a.list", Content: "same"},
		{Path: info + "b.list", HardLink: info + "a.list"},
	})
	for name, layers := range map[string][][]lab.File{
		"plain": {files},
		"deleted and replaced": {files, append(slices.Clone(folders), lab.Whiteout(info+"zlib1g.list"),
			lab.File{Path: info + "zlib1g.md5sums", Content: "new"}, lab.File{Path: info + "zlib1g.new", Content: "n"})},
		"deleted folder":           {files, {lab.Whiteout("var/lib/dpkg/info")}},
		"hidden files":             {files, {lab.Opaque("var/lib/dpkg/info"), {Path: info + "zlib1g.list", Content: "new"}}},
		"the same names elsewhere": {files, {{Path: "srv/zlib1g.list", Content: "e"}, {Path: "zlib1g.list", Content: "r"}}},
		"link to a file":           {files, {{Path: "aaa/zlib1g.list", Link: "/" + info + "zlib1g.list"}, {Path: "aaa/zlib1g.other", Link: "/" + info + "zlib1g.md5sums"}}},
		"link among the files":     {files, {{Path: info + "zlib1g.link", Link: "zlib1g.list"}}},
		"link out of the folder":   {files, {{Path: "srv/real", Content: "r"}, {Path: info + "zlib1g.out", Link: "/srv/real"}}},
		"broken link":              {files, {{Path: info + "zlib1g.broken", Link: "nowhere"}}},
		"link that goes round":     {files, {{Path: info + "zlib1g.round", Link: "zlib1g.round"}}},
		"link to the folder":       {files, {{Path: "aaa", Link: "/var/lib/dpkg/info"}}},
		"folder that is a link": {{{Path: "srv/zlib1g.list", Content: "1"}, {Path: "var/lib/dpkg", Dir: true},
			{Path: "var/lib/dpkg/info", Link: "/srv"}}},
		"folder above that is a link": {{{Path: "srv/dpkg/info/zlib1g.list", Content: "1"}, {Path: "var/lib", Link: "/srv"}}},
		"folder that became a link":   {files, {{Path: "srv/zlib1g.x", Content: "1"}, lab.Whiteout("var/lib/dpkg/info")}, {{Path: "var/lib/dpkg/info", Link: "/srv"}}},
		"no folder":                   {{{Path: "etc/hosts", Content: "1"}}},
		"folder without an entry":     {{{Path: info + "zlib1g.list", Content: "1"}}},
		"files and links to them": {files, {{Path: info + "0.list", Link: "a.list"}, {Path: info + "1.list", Link: "/srv/real"},
			{Path: info + "2.list", Link: "/srv/real"}, {Path: "srv/real", Content: "r"}, {Path: info + "dir", Link: "/srv"},
			{Path: info + "3.list", Link: "0.list"}}},
		"folders of the same name": {files, {{Path: "srv/info", Dir: true}, {Path: "srv/info/x", Content: "1"},
			{Path: info + "linked", Link: "/srv/info/x"}, {Path: "usr/info", Link: "/var/lib/dpkg/info"}}},
		"links from folders of the same name": {files, {{Path: "bin/info", Dir: true}, {Path: "bin/info/x", Link: "/" + info + "a.list"},
			{Path: "usr/info", Link: "/var/lib/dpkg/info"}, {Path: "bin/x", Link: "/bin/info"}}},
	} {
		t.Run(name, func(t *testing.T) {
			img := image.New(labImage(t, lab.ImageSpec{Layers: layers}), nil, t.TempDir())
			if err := img.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := img.Cleanup(); err != nil {
					t.Error(err)
				}
			})
			plain := stereoscopesource.New(img, stereoscopesource.ImageConfig{})
			long, err := plain.FileResolver(source.SquashedScope)
			if err != nil {
				t.Fatal(err)
			}
			short, err := quickSource{Source: plain, img: img}.FileResolver(source.SquashedScope)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				for _, path := range []string{"/srv/real", "/aaa/zlib1g.list", "/usr/info/x", "/usr/info", "/none", "/", ""} {
					want, got := found(long.FilesByPath(path)), found(short.FilesByPath(path))
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("%q (-long +short):\n%s", path, d)
					}
				}
			}
			for _, pattern := range []string{"zlib1g.*", "zlib1g-dev.*", "libstdc++6.*", "folder.*", "entry.*", "a.*", "b.*", "none.*", "*.list",
				"zlib1g*", ".*", "z[a-z]*.*", "zlib1g.list", "../info/zlib1g.*", "sub/zlib1g.*", "*", "folder.d/*", "none/*", "./*"} {
				for range 2 { // The second result comes from the cache.
					path := "/" + info + strings.ReplaceAll(pattern, "*", "list")
					want, got := found(long.FilesByPath(path)), found(short.FilesByPath(path))
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("%s (-long +short):\n%s", path, d)
					}
				}
				for _, pattern := range []string{"/" + info + pattern, info + pattern, "**/" + pattern} {
					want, got := found(long.FilesByGlob(pattern)), found(short.FilesByGlob(pattern))
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("%s (-long +short):\n%s", pattern, d)
					}
				}
			}
		})
	}
}

// TestFastResolverIsUsed checks that quickResolver uses its faster search for an image without
// links.
func TestFastResolverIsUsed(t *testing.T) {
	img := image.New(labImage(t, lab.ImageSpec{DebPackages: []lab.Deb{{Name: "zlib1g", Version: "1"}}}), nil, t.TempDir())
	if err := img.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer img.Cleanup()
	r := &quickResolver{img: img, folders: map[string][]string{}}
	for _, pattern := range []string{"/var/lib/dpkg/info/zlib1g.*", "/var/lib/dpkg/info/*"} {
		paths, ok := r.named(pattern)
		if !ok || len(paths) != 2 {
			t.Errorf("%s: %q, %v", pattern, paths, ok)
		}
	}
}

// found returns the error and the locations of a search as texts, so that the results of two
// resolvers can be compared.
func found(locations []file.Location, err error) []string {
	out := []string{fmt.Sprint("error: ", err)}
	for _, l := range locations {
		ref := l.Reference()
		out = append(out, fmt.Sprintf("%s %s %s %d", l.RealPath, l.AccessPath, l.FileSystemID, ref.ID()))
	}
	return out
}
