package gate

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/internal/lab"
)

// linked is an image whose links give other names to folders and files, also to some that do not exist.
var linked = func() lab.ImageSpec {
	spec := base
	spec.Layers = append(slices.Clone(base.Layers), []lab.File{
		{Path: "opt/later/node_modules/ip/package.json", Link: "/srv/later.json"},
		{Path: "opt/relative", Link: "../srv/./elsewhere"},
		{Path: "opt/behind/link", Link: "../srv/behind"},
		{Path: "var/hop", Link: "/opt/relative/deep"},
	}, known)
	return spec
}()

// known is a layer below the upper layers.
var known = []lab.File{{Path: "srv/known/readme.txt", Content: "x"}}

// plain is an image without links, and climbing one with a link whose target no path tells.
var plain, climbing = func() (one, two lab.ImageSpec) {
	one, two = base, base
	one.Layers = append(slices.Clone(base.Layers), known)
	two.Layers = append(slices.Clone(base.Layers), known, []lab.File{{Path: "opt/above", Link: "../../srv/../data"}})
	return one, two
}()

// uppers are the files of an upper layer. The value of reused is true if the packages of the layers below
// must be taken from the cache, and false if they must not.
var uppers = map[string]struct {
	files  []lab.File
	reused bool
	plain  bool // reused if the layers below have no links
}{
	"a new folder":                      {[]lab.File{{Path: "app/data/asset.txt", Content: "x"}, {Path: "app/data/deep/er/code.js", Content: "x"}}, true, false},
	"a file in a known folder":          {[]lab.File{{Path: "srv/known/asset.txt", Content: "x"}}, true, false},
	"a large file":                      {[]lab.File{{Path: "app/zeros", Zeros: 3 << 20}}, true, false},
	"a package":                         {[]lab.File{{Path: "app/node_modules/ip/package.json", Content: npm("ip", "1.1.5")}}, false, false},
	"a file with the name of a package": {[]lab.File{{Path: "app/package.json", Content: "{}"}}, false, false},
	"a license of a known package":      {[]lab.File{{Path: "opt/app/node_modules/ip/LICENSE.txt", Content: "MIT License"}}, false, false},
	"a file list of a known package":    {[]lab.File{{Path: "var/lib/dpkg/info/jq.list", Content: "/usr/bin/jq\n"}}, false, false},
	"a package of Debian":               {[]lab.File{{Path: "var/lib/dpkg/status.d/x", Content: "Package: jq\nVersion: 1\nStatus: install ok installed\n"}}, false, false},
	"a program":                         {[]lab.File{{Path: "app/run", Content: "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 200), Mode: 0o755}}, false, false},
	"a script":                          {[]lab.File{{Path: "app/run", Content: "#!/bin/sh\n", Mode: 0o755}}, true, false},
	"a file of the Nix store":           {[]lab.File{{Path: "nix/store/0123456789abcdfghijklmnpqrsvwxyz-jq-1.6/x", Content: "x"}}, false, false},
	"a known file":                      {[]lab.File{{Path: "srv/known/readme.txt", Content: "y"}}, false, false},
	"a file instead of a folder":        {[]lab.File{{Path: "srv/known", Content: "y"}}, false, false},
	"a file in a file":                  {[]lab.File{{Path: "srv/known/readme.txt/x", Content: "y"}}, false, false},
	"a whiteout":                        {[]lab.File{lab.Whiteout("srv/known/readme.txt")}, false, false},
	"an opaque folder":                  {[]lab.File{lab.Opaque("srv/known")}, false, false},
	"a symbolic link":                   {[]lab.File{{Path: "app/link", Link: "/srv/known"}}, false, false},
	"a hard link":                       {[]lab.File{{Path: "app/link", HardLink: "srv/known/readme.txt"}}, false, false},
	"the target of a link":              {[]lab.File{{Path: "srv/later.json", Content: npm("ip", "1.1.5")}}, false, true},
	"a file behind a link":              {[]lab.File{{Path: "srv/elsewhere/x", Content: "x"}}, false, true},
	"a file behind two links":           {[]lab.File{{Path: "srv/elsewhere/deep/x", Content: "x"}}, false, true},
	"a file where a link climbs":        {[]lab.File{{Path: "data/x", Content: "x"}}, true, false},
	"a path through a link":             {[]lab.File{{Path: "opt/relative/x", Content: "x"}}, false, true},
}

// TestPackagesOfLowerLayersAreReused checks with many upper layers that an image has the same evidence
// and documents as without a cache, and whether its packages came from the cache.
func TestPackagesOfLowerLayersAreReused(t *testing.T) {
	below := map[string]lab.ImageSpec{"links": linked, "no links": plain, "a link that climbs": climbing}
	for name, tt := range uppers {
		for kind, spec := range below {
			t.Run(name+", "+kind, func(t *testing.T) {
				h := newTester(t)
				g := h.gate(blockCritical, h.cache(t.TempDir()))
				above := spec
				above.Layers = append(slices.Clone(spec.Layers), tt.files)
				src := h.push("app:2", h.image(above))
				cold, err := h.gate(blockCritical).Check(t.Context(), src, ExternalEvidence{})
				h.check(g, h.push("app:1", h.image(spec)))
				if err != nil {
					if warm := h.refuse(g, src); warm.Error() != err.Error() {
						t.Errorf("%v, but with a cache %v", err, warm)
					}
					return
				}
				defer cold.Close()
				warm := h.check(g, src)
				same(t, cold, warm)
				if reused := warm.CacheHits > 0; reused != (tt.reused && kind != "a link that climbs" || tt.plain && kind == "no links") {
					t.Errorf("the SBOM of the lower layers was used: %v", reused)
				}
				// The upper layer of the second image, if it is without meaning, is exchanged.
				third := spec
				third.Layers = append(slices.Clone(spec.Layers), []lab.File{{Path: "app/other.txt", Content: "x"}})
				src = h.push("app:3", h.image(third))
				same(t, h.check(h.gate(blockCritical), src), h.check(g, src))
			})
		}
	}
}

// TestRandomFilesAboveGiveTheSameResult adds random files to an image with links, and compares the
// results with and without a cache.
func TestRandomFilesAboveGiveTheSameResult(t *testing.T) {
	h := newTester(t)
	spec := linked
	spec.Layers = slices.Clone(linked.Layers)
	g := h.gate(blockCritical, h.cache(t.TempDir()))
	h.check(g, h.push("app:0", h.image(spec)))
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the test must be repeatable
	folders := []string{"app", "app/node_modules/ms", "srv", "srv/known", "srv/elsewhere", "srv/elsewhere/deep", "opt/app/node_modules/ip", "usr/lib", "var/lib/dpkg/info",
		"data", "usr/lib/python3/dist-packages/six-1.16.0.dist-info", "go/pkg/mod/x@v1", "new/one/two"}
	names := []string{"asset.txt", "index.html", "package.json", "LICENSE", "METADATA", "x.list", "later.json", "go.mod", "behind", "deep", "code.py", "code.js"}
	reused := 0
	for i := range 60 {
		above := spec
		above.Layers = slices.Clone(spec.Layers)
		for range 1 + r.IntN(2) {
			var files []lab.File
			for range 1 + r.IntN(3) {
				p := path.Join(folders[r.IntN(len(folders))], names[r.IntN(len(names))])
				if !slices.ContainsFunc(files, func(f lab.File) bool { return f.Path == p }) {
					files = append(files, lab.File{Path: p, Content: npm("ip", "1.1.5")})
				}
			}
			above.Layers = append(above.Layers, files)
		}
		img, err := lab.Image(above)
		if err != nil {
			continue // a path in a file, for example
		}
		src := h.push(fmt.Sprintf("app:%d", i+1), img)
		cold, err := h.gate(blockCritical).Check(t.Context(), src, ExternalEvidence{})
		if err != nil {
			t.Fatal(err)
		}
		warm := h.check(g, src)
		same(t, cold, warm)
		reused += warm.CacheHits
		if err := cold.Close(); err != nil {
			t.Error(err)
		}
	}
	if reused < 5 || reused > 50 {
		t.Errorf("%d of 60 SBOMs came from the cache, so that little is compared", reused)
	}
}

// TestEveryPatternOfSyftIsRespected makes a path for every pattern that syft's catalogers search, and
// checks that a file with this path prevents the reuse of packages.
func TestEveryPatternOfSyftIsRespected(t *testing.T) {
	h := newTester(t)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(base)))
	queries := r.SBOMs[0].Queries()
	if len(queries.Globs) < 100 || len(queries.MIME) < 3 || len(queries.Paths) == 0 || !queries.Nix || queries.All {
		t.Fatalf("%d patterns, %d types, %d paths, Nix %v, all %v", len(queries.Globs), len(queries.MIME), len(queries.Paths), queries.Nix, queries.All)
	}
	for glob := range queries.Globs {
		p := strings.NewReplacer("**", "one/two", "*", "x", "?", "y", `\`, "", "{", "", "}", "").Replace(glob)
		if strings.ContainsAny(glob, "[{") {
			continue // see TestPatternsMatchLikeDoublestar
		}
		if !queries.Concern([]filesystem.Added{{Path: "/" + p}}) {
			t.Errorf("a file %q has no effect, although syft searches %q", p, glob)
		}
	}
	for p := range queries.Paths {
		if !queries.Concern([]filesystem.Added{{Path: p}}) {
			t.Errorf("a file %q has no effect, although syft looks for it", p)
		}
	}
	for m := range queries.MIME {
		if !queries.Concern([]filesystem.Added{{Path: "/app/x", MIMEType: m}}) {
			t.Errorf("a file with type %q has no effect, although syft searches it", m)
		}
	}
	if queries.Concern([]filesystem.Added{{Path: "/app"}, {Path: "/app/x", MIMEType: "text/plain"}}) {
		t.Error("a text file has an effect")
	}
}
