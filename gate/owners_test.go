package gate

import (
	"crypto/md5" //nolint:gosec // what dpkg records
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy/evidence"
)

// versionless returns a jar without a version. The content of the jar depends on name, so that jars
// with different names differ.
func versionless(t *testing.T, name string) string {
	t.Helper()
	return zipOf(t, manifest, "Manifest-Version: 1.0\nMain-Class: "+name+".Main\n")
}

// gapsOf returns the path of each file whose package is unmatched or that is unreadable, with the
// reason.
func gapsOf(r *Result) map[string]string {
	out := map[string]string{}
	for _, u := range r.Input.Platforms[0].Unmatched {
		switch {
		case u.Package == nil:
			out[u.Type] = string(u.Reason)
		default:
			for _, l := range u.Package.Found {
				out[l.Path] = string(u.Reason)
			}
		}
	}
	for _, u := range r.Input.Platforms[0].Unknowns {
		out[u.Path] = string(u.Class)
	}
	return out
}

func compareGaps(t *testing.T, r *Result, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, gapsOf(r)); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
}

// owning returns a Debian image with these files and a package that owns them.
func owning(files ...lab.File) lab.ImageSpec {
	spec := clean
	spec.DebPackages = append(slices.Clone(clean.DebPackages), lab.Deb{Name: "owner", Version: "1.0-1", Arch: "all", Files: files})
	return spec
}

const owned = string(evidence.OwnedByDistribution)

// TestFileOfTheDistributionIsNotDenied checks that an image is not denied for files of Debian's own
// packages. These packages contain jars, modules and gems without a version that a matcher could
// use.
func TestFileOfTheDistributionIsNotDenied(t *testing.T) {
	h := newTester(t)
	jar := versionless(t, "ca")
	spec := owning(
		lab.File{Path: "usr/share/ca-certificates-java/ca-certificates-java.jar", Content: jar},
		lab.File{Path: "usr/share/java/log4j-core.jar", Content: versionless(t, "log4j")},
		lab.File{Path: "usr/share/maven/lib/linked.jar", Link: "../../java/log4j-core.jar"},
		lab.File{Path: "usr/share/nodejs/a/package.json", Content: `{"name":"a"}`},
		lab.File{Path: "usr/lib/python3/dist-packages/b-x.egg-info", Content: "Metadata-Version: 1.1\nName: b\n"},
		lab.File{Path: "usr/share/go-1.19/src/debug/pe/testdata/hello.jar", Content: "PK\x03\x04 broken"},
		lab.File{Path: "usr/share/nodejs/a/test/package.json", Content: "{"},
	)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	if !r.Decision.Passed || len(r.Decision.Warnings) > 0 {
		t.Errorf("denied or warned: %+v %+v", r.Decision.Violations, r.Decision.Warnings)
	}
	compareGaps(t, r, map[string]string{
		"/usr/share/ca-certificates-java/ca-certificates-java.jar": owned,
		"/usr/share/java/log4j-core.jar":                           owned,
		"/usr/share/nodejs/a/package.json":                         owned,
		"/usr/lib/python3/dist-packages/b-x.egg-info":              owned,
		"/usr/share/go-1.19/src/debug/pe/testdata/hello.jar":       owned,
		"/usr/share/nodejs/a/test/package.json":                    owned,
	})
	for _, u := range r.Input.Platforms[0].Unmatched {
		if !strings.Contains(u.Owner, "/owner@1.0-1") {
			t.Errorf("%s is owned by %q", u.Package.Name, u.Owner)
		}
	}
}

// TestOwnershipSurvivesTheCache checks that the cached catalog keeps the owners of files. The
// second run does not read the image, so it cannot compare checksums again.
func TestOwnershipSurvivesTheCache(t *testing.T) {
	h := newTester(t)
	src := h.push("app:1", h.image(owning(lab.File{Path: "usr/share/java/x.jar", Content: versionless(t, "x")},
		lab.File{Path: "usr/share/java/broken.jar", Content: "PK\x03\x04"})))
	g := h.gate(blockCritical, h.cache(t.TempDir()))
	first, second := h.check(g, src), h.check(g, src)
	if second.CacheHits == 0 {
		t.Error("the second run made the catalog again")
	}
	if diff := cmp.Diff(first.Input, second.Input); diff != "" {
		t.Error(diff)
	}
}

// TestLookAlikeOfAnOwnedFileBlocks checks that the advisories of a distribution cover only the
// exact files that its packages installed in the image. Similar files block.
func TestLookAlikeOfAnOwnedFileBlocks(t *testing.T) {
	const unknownVersion, archive = string(evidence.VersionUnknown), string(evidence.UnknownArchive)
	jar, other := versionless(t, "a"), versionless(t, "b")
	file := lab.File{Path: "usr/share/java/a.jar", Content: jar}
	for name, c := range map[string]struct {
		layers [][]lab.File
		want   map[string]string
	}{
		"beside it": {[][]lab.File{{{Path: "usr/share/java/b.jar", Content: jar}}}, map[string]string{
			"/usr/share/java/a.jar": owned, "/usr/share/java/b.jar": unknownVersion}},
		"replaced later": {[][]lab.File{{{Path: "usr/share/java/a.jar", Content: other}}}, map[string]string{
			"/usr/share/java/a.jar": unknownVersion}},
		"replaced by something unreadable": {[][]lab.File{{{Path: "usr/share/java/a.jar", Content: "PK\x03\x04"}}}, map[string]string{
			"/usr/share/java/a.jar": archive}},
		"replaced by a link": {[][]lab.File{{{Path: "srv/lib/evil.jar", Content: other}, {Path: "usr/share/java/a.jar", Link: "/srv/lib/evil.jar"}}},
			map[string]string{"/srv/lib/evil.jar": unknownVersion}},
		"a copy through a linked folder": {[][]lab.File{{{Path: "srv/java/lib/a.jar", Content: other}, lab.Whiteout("usr/share/java"),
			{Path: "usr/share/java", Link: "/srv/java/lib"}}}, map[string]string{"/srv/java/lib/a.jar": unknownVersion}},
		"a list without the package": {[][]lab.File{{{Path: "usr/share/java/b.jar", Content: other},
			{Path: "var/lib/dpkg/info/ghost.md5sums", Content: md5Line(other, "usr/share/java/b.jar")}}},
			map[string]string{"/usr/share/java/a.jar": owned, "/usr/share/java/b.jar": unknownVersion}},
		"below a folder with its name": {[][]lab.File{{{Path: "usr/share/java/a.jar:x/b.jar", Content: "PK\x03\x04"},
			{Path: "usr/share/java/a.jar:x/c.jar", Content: other}}},
			map[string]string{"/usr/share/java/a.jar": owned, "/usr/share/java/a.jar:x/b.jar": archive, "/usr/share/java/a.jar:x/c.jar": unknownVersion}},
		"another database": {[][]lab.File{{{Path: "usr/share/java/b.jar", Content: other},
			{Path: "opt/root/var/lib/dpkg/status", Content: "Package: ghost\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n"},
			{Path: "opt/root/var/lib/dpkg/info/ghost.md5sums", Content: md5Line(other, "usr/share/java/b.jar")}}},
			map[string]string{"/usr/share/java/a.jar": owned, "/usr/share/java/b.jar": unknownVersion}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			spec := owning(file)
			spec.Layers = c.layers
			r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
			compareGaps(t, r, c.want)
			if r.Decision.Passed == slices.Contains(valuesOfMap(c.want), unknownVersion) && r.Decision.Passed {
				t.Error("passed")
			}
		})
	}
}

func valuesOfMap(m map[string]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// TestOwnerOfAnUnmatchedDistributionDoesNotCount checks that files count as uncovered if the
// database has no advisories for the distribution that owns them, even if the policy does not deny
// that distribution.
func TestOwnerOfAnUnmatchedDistributionDoesNotCount(t *testing.T) {
	h := newTester(t)
	spec := owning(lab.File{Path: "usr/share/java/a.jar", Content: versionless(t, "a")}, lab.File{Path: "usr/share/java/b.jar", Content: "PK\x03\x04"})
	spec.OSRelease = "debian 6"
	r := h.check(h.gate(blockCritical+"distribution: {notCovered: {distribution: warn}}\n"), h.push("app:1", h.image(spec)))
	compareGaps(t, r, map[string]string{"": string(evidence.DistributionNotInDatabase),
		"/usr/share/java/a.jar": string(evidence.VersionUnknown), "/usr/share/java/b.jar": string(evidence.UnknownArchive)})
	if r.Decision.Passed {
		t.Error("passed")
	}
}

// TestAlpineOwnsItsFiles checks that the files of apk packages are compared with their recorded
// checksums. apk records SHA-1.
func TestAlpineOwnsItsFiles(t *testing.T) {
	h := newTester(t)
	spec := lab.ImageSpec{OSRelease: "alpine 3.22.0", ApkPackages: []lab.Apk{{Name: "java-common", Version: "1.0-r0",
		Files: []lab.File{{Path: "usr/share/java/a.jar", Content: versionless(t, "a")}, {Path: "usr/share/java/b.jar", Content: versionless(t, "b")}}}},
		Files: []lab.File{{Path: "usr/share/java/b.jar", Content: versionless(t, "c")}}}
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	got := gapsOf(r)
	if got["/usr/share/java/a.jar"] != owned || got["/usr/share/java/b.jar"] != string(evidence.VersionUnknown) {
		t.Errorf("%v", got)
	}
}

// TestOwnedTypeIsNotMissingFromTheDatabase checks that an image with packages of a type without
// advisories passes if the distribution owns all these packages, and is denied otherwise.
func TestOwnedTypeIsNotMissingFromTheDatabase(t *testing.T) {
	h := newTester(t)
	db := databaseWithout(t, "github")
	file := lab.File{Path: "usr/share/nodejs/a/package.json", Content: `{"name":"a","version":"1.0.0"}`}
	spec := owning(file)
	spec.NPM = nil
	src := h.push("app:1", h.image(spec))
	r := h.check(h.gate(blockCritical, func(o *Options) { o.Database = db }), src)
	compareGaps(t, r, map[string]string{"/usr/share/nodejs/a/package.json": owned})
	spec.Files = []lab.File{{Path: "srv/b/package.json", Content: `{"name":"b","version":"1.0.0"}`}}
	r = h.check(h.gate(blockCritical, func(o *Options) { o.Database = db }), h.push("app:2", h.image(spec)))
	compareGaps(t, r, map[string]string{"/usr/share/nodejs/a/package.json": owned, "npm": string(evidence.TypeNotInDatabase)})
	if r.Decision.Passed {
		t.Error("passed")
	}
}

// TestFirstPartyPackageIsNotDenied checks that an image is not denied for the application's own
// packages, but is denied for a package that only looks like one of them.
func TestFirstPartyPackageIsNotDenied(t *testing.T) {
	const first, part, unknown = string(evidence.FirstParty), string(evidence.PartOfPackage), string(evidence.VersionUnknown)
	fat := zipOf(t, manifest, "Manifest-Version: 1.0\nMain-Class: org.springframework.boot.loader.JarLauncher\nStart-Class: a.App\n",
		"BOOT-INF/lib/inner.jar", versionless(t, "inner"), "BOOT-INF/lib/dated-1.0.jar", versionless(t, "dated"))
	files := map[string]struct{ content, want string }{
		"srv/app/package.json":                               {`{"name":"app","private":true}`, first},
		"srv/web/package.json":                               {`{"name":"web"}`, first},
		"srv/copy/package.json":                              {`{"name":"json-schema","private":true}`, unknown}, // The database has advisories for json-schema, so the package may be a vulnerable one.
		"srv/lodash/package.json":                            {`{"name":"json-schema"}`, unknown},                // The database has advisories for json-schema, so the package may be a vulnerable one.
		"srv/dated/package.json":                             {`{"name":"dated","version":"1.0.0"}`, ""},
		"srv/dated/esm/package.json":                         {`{"name":"dated-esm","type":"module"}`, part},
		"srv/dated/vendor/x/package.json":                    {`{"name":"x"}`, unknown},
		"srv/app/node_modules/a/package.json":                {`{"name":"a","version":"1.0.0"}`, ""},
		"srv/app/node_modules/a/dist/cjs/package.json":       {`{"name":"a/cjs","type":"commonjs"}`, part},
		"srv/app/node_modules/evil/package.json":             {`{"name":"evil"}`, unknown},
		"srv/app/node_modules/evil/esm/package.json":         {`{"name":"evil-esm"}`, unknown},
		"srv/app/node_modules/hidden/package.json":           {`{"name":"hidden","private":true}`, unknown},
		"srv/app/node_modules/@s/evil/package.json":          {`{"name":"@s/evil"}`, unknown},
		"srv/app/node_modules/a/node_modules/b/package.json": {`{"name":"b"}`, unknown},
		"usr/share/nodejs/evil2/package.json":                {`{"name":"evil2"}`, unknown},
		"srv/app.jar":                                        {versionless(t, "app"), first},
		"srv/fat.jar":                                        {fat, first},
		"srv/h2.jar":                                         {versionless(t, "org.h2"), unknown}, // The database has advisories for org.h2, so the jar may be a vulnerable one.
		"srv/lib/driver.jar":                                 {versionless(t, "driver"), unknown},
		"opt/tomcat/webapps/shop.war":                        {versionless(t, "shop"), first},
	}
	spec := clean
	want := map[string]string{"/srv/fat.jar:BOOT-INF/lib/inner.jar": unknown}
	for path, f := range files {
		spec.Files = append(spec.Files, lab.File{Path: path, Content: f.content})
		if f.want != "" {
			want["/"+path] = f.want
		}
	}
	slices.SortFunc(spec.Files, func(a, b lab.File) int { return strings.Compare(a.Path, b.Path) })
	h := newTester(t)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	compareGaps(t, r, want)

	spec.Files = slices.DeleteFunc(spec.Files, func(f lab.File) bool { return files[f.Path].want == unknown || f.Path == "srv/fat.jar" })
	src := h.push("app:2", h.image(spec))
	r = h.check(h.gate(blockCritical), src)
	if !r.Decision.Passed {
		t.Errorf("denied: %+v", r.Decision.Violations)
	}
	if r = h.check(h.gate(blockCritical+"distribution: {notCovered: {firstParty: block}}\n"), src); r.Decision.Passed {
		t.Error("passed although the policy asks for versions of first-party packages")
	}
}

// TestWheelFromACheckoutIsNotDenied checks that a wheel built from a local checkout counts as
// first-party, and that a wheel from another origin denies the image.
func TestWheelFromACheckoutIsNotDenied(t *testing.T) {
	const site = "usr/local/lib/python3.12/site-packages/"
	spec := clean
	want := map[string]string{}
	add := func(dir, name, origin string, reason evidence.UnmatchedReason) {
		spec.Files = append(spec.Files, lab.File{Path: dir + name + ".dist-info/METADATA", Content: "Metadata-Version: 2.1\nName: " + name + "\n"})
		if origin != "" {
			spec.Files = append(spec.Files, lab.File{Path: dir + name + ".dist-info/direct_url.json", Content: origin})
		}
		want["/"+dir+name+".dist-info/METADATA"] = string(reason)
	}
	add(site, "checkout", `{"dir_info":{},"url":"file:///src/checkout"}`, evidence.FirstParty)
	add(site, "editable", `{"dir_info":{"editable":true},"url":"file:///src/editable"}`, evidence.FirstParty)
	add(site, "vcs", `{"url":"https://git.example/vcs","vcs_info":{"vcs":"git","commit_id":"abc"}}`, evidence.VersionUnknown)
	add(site, "archive", `{"archive_info":{},"url":"file:///wheels/archive-1-py3-none-any.whl"}`, evidence.VersionUnknown)
	add(site, "index", "", evidence.VersionUnknown)
	add("srv/app/", "source", "", evidence.FirstParty)
	h := newTester(t)
	compareGaps(t, h.check(h.gate(blockCritical), h.push("app:1", h.image(spec))), want)
}

// TestTestDataIsNotDenied checks that unreadable test data does not deny an image, and that an
// unreadable file denies it if the file can hide packages.
func TestTestDataIsNotDenied(t *testing.T) {
	const data, file = string(evidence.UnknownTestData), string(evidence.UnknownFile)
	files := map[string]struct{ content, want string }{
		"srv/app/node_modules/resolve/package.json":                          {`{"name":"resolve","version":"1.22.8"}`, ""},
		"srv/app/node_modules/resolve/test/resolver/malformed/package.json":  {"{\n", data},
		"srv/app/node_modules/resolve/lib/package.json":                      {"{\n", file},
		"srv/app/node_modules/resolve/test/node_modules/hidden/package.json": {"{\n", file},
		"srv/app/node_modules/resolve/test/x.jar":                            {"PK\x03\x04", string(evidence.UnknownArchive)},
		"srv/app/node_modules/resolve/test/var/lib/rpm/Packages":             {"no database", string(evidence.UnknownPackageDatabase)},
		"srv/app/node_modules/unversioned/test/package.json":                 {"{\n", file},
		"usr/local/go/bin/go": {"go1.22.1\x00", ""},
		"usr/local/go/src/debug/pe/testdata/vmlinuz-4.15.0-47-generic": {"x", data},
		"usr/local/go/src/archive/zip/testdata/truncated.jar":          {"PK\x03\x04", string(evidence.UnknownArchive)},
		"usr/local/go/src/debug/pe/vmlinuz-4.15.0-47-generic":          {"x", file},
		"srv/app/test/package.json":                                    {"{\n", file},
	}
	spec := clean
	want := map[string]string{}
	for path, f := range files {
		spec.Files = append(spec.Files, lab.File{Path: path, Content: f.content})
		if f.want != "" {
			want["/"+path] = f.want
		}
	}
	slices.SortFunc(spec.Files, func(a, b lab.File) int { return strings.Compare(a.Path, b.Path) })
	h := newTester(t)
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	got := gapsOf(r)
	for path, class := range want {
		if got[path] != class {
			t.Errorf("%s is %q, want %q", path, got[path], class)
		}
	}
	if r.Decision.Passed {
		t.Error("passed")
	}
	for _, u := range r.Input.Platforms[0].Unknowns {
		if strings.Contains(u.Path, "/resolver/") && u.Package != "pkg:npm/resolve@1.22.8" {
			t.Errorf("%s belongs to %q", u.Path, u.Package)
		}
	}
}

// TestUnreadablePackageDatabaseBlocks checks that an unreadable package database blocks the image
// at any path, even if the policy accepts other unreadable files.
func TestUnreadablePackageDatabaseBlocks(t *testing.T) {
	h := newTester(t)
	spec := clean
	spec.Files = []lab.File{{Path: "var/lib/rpm/Packages", Content: "no database"}}
	r := h.check(h.gate(blockCritical+"sbom: {unknowns: {file: warn, archive: warn}}\n"), h.push("app:1", h.image(spec)))
	if got := gapsOf(r); got["/var/lib/rpm/Packages"] != string(evidence.UnknownPackageDatabase) || r.Decision.Passed {
		t.Errorf("%v, passed is %v", got, r.Decision.Passed)
	}
}

func md5Line(content, path string) string { return fmt.Sprintf("%x  %s\n", md5Of(content), path) }

func md5Of(content string) []byte {
	sum := md5.Sum([]byte(content)) //nolint:gosec // what dpkg records
	return sum[:]
}

// TestChecksumsInStatusDAreNotDenied checks that the checksum lists in status.d do not deny an
// image. Distroless images have such a list for each package, and syft reads the list as a package
// database.
func TestChecksumsInStatusDAreNotDenied(t *testing.T) {
	h := newTester(t)
	const record = "Package: hello\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.10-3\nMaintainer: D\nDescription: x\n"
	const sums = "d41d8cd98f00b204e9800998ecf8427e  usr/bin/hello\n"
	folder := "var/lib/dpkg/status.d/"
	spec := lab.ImageSpec{OSRelease: "debian 12", Files: []lab.File{
		{Path: folder + "hello", Content: record}, {Path: folder + "hello.md5sums", Content: sums},
		{Path: folder + "ghost.md5sums", Content: sums}, {Path: "opt/" + folder + "hello.md5sums", Content: sums},
	}}
	compareGaps(t, h.check(h.gate(blockCritical), h.push("app:1", h.image(spec))), map[string]string{
		"/" + folder + "hello.md5sums":     string(evidence.UnknownOwned),
		"/" + folder + "ghost.md5sums":     string(evidence.UnknownPackageDatabase),
		"/opt/" + folder + "hello.md5sums": string(evidence.UnknownPackageDatabase),
	})
}

// TestApplicationBelowVarLibIsNotDenied checks that an application in /var/lib/tomcat10/webapps
// counts as first-party. Debian's Tomcat keeps its applications there.
func TestApplicationBelowVarLibIsNotDenied(t *testing.T) {
	h := newTester(t)
	spec := clean
	spec.Files = []lab.File{{Path: "var/lib/tomcat10/webapps/shop.war", Content: versionless(t, "shop")},
		{Path: "var/lib/tomcat10/lib/other.jar", Content: versionless(t, "other")}}
	compareGaps(t, h.check(h.gate(blockCritical), h.push("app:1", h.image(spec))), map[string]string{
		"/var/lib/tomcat10/webapps/shop.war": string(evidence.FirstParty),
		"/var/lib/tomcat10/lib/other.jar":    string(evidence.VersionUnknown),
	})
}
