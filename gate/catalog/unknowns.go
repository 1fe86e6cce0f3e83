package catalog

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/file"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/policy/evidence"
)

// packageDatabases matches the paths of package databases: files, in any folder, that list
// installed packages.
var packageDatabases = regexp.MustCompile(`(^|/)(dpkg/status(\.d/.*)?|opkg/status|apk/db/installed|` +
	`rpm/(Packages|Packages\.db|rpmdb\.sqlite)|rpmmanifest/container-manifest-2|pacman/local/.*|var/db/pkg/.*|` +
	`nix/var/nix/db/.*|conda-meta/.*|snap/manifest\.yaml|usr/share/snappy/.*)$`)

// databaseCatalogers matches the names of catalogers that read only package databases.
var databaseCatalogers = regexp.MustCompile(`^(dpkg-db|apk-db|rpm-db|alpm-db|portage|nix-db|nix|conda-meta|snap)(-.*)?-cataloger$`)

// packageArchives matches archives that are packages or contain packages. otherArchives matches
// archives that can contain any files.
var (
	packageArchives = regexp.MustCompile(`(?i)\.(jar|war|ear|aar|par|sar|nar|jpi|hpi|kar|far|lpkg|rar|zap|whl|egg|nupkg|gem|crate|phar|` +
		`deb|udeb|rpm|apk|ipk|snap|conda)$`)
	otherArchives = regexp.MustCompile(`(?i)\.(zip|tar|tgz|tbz2|txz|gz|bz2|xz|zst)$`)
)

// testFolders are names of folders that hold test data.
var testFolders = []string{"testdata", "test", "tests", "__tests__", "test-data", "test_data", "test-fixtures", "test_fixtures",
	"fixtures", "fixture", "__fixtures__", "spec", "specs", "t", "testing", "testsuite"}

// classifyUnknowns sets two fields of each unreadable file: Class, which states what the file could
// hide, and Package, the package that the file belongs to.
func (s *SBOM) classifyUnknowns() {
	if len(s.Unknowns) == 0 {
		return
	}
	roots := newPackageFolders(s.sorted)
	for i := range s.Unknowns {
		u := &s.Unknowns[i]
		root, purl := roots.of(u.Path)
		u.Package = purl
		if owner := s.OwnerOf(u.Path); owner != nil {
			u.Package = owner.PURL
		}
		switch {
		case packageDatabases.MatchString(u.Path) || databaseCatalogers.MatchString(u.Cataloger):
			u.Class, u.Package = evidence.UnknownPackageDatabase, ""
		case packageArchives.MatchString(u.Path) || strings.Contains(u.Path, ":"):
			u.Class = evidence.UnknownArchive
		case purl != "" && isTestData(root, u.Path):
			u.Class = evidence.UnknownTestData
		case otherArchives.MatchString(u.Path):
			u.Class = evidence.UnknownArchive
		default:
			u.Class = evidence.UnknownFile
		}
	}
}

// EvaluatedUnknowns returns the unreadable files. If the vulnerability database covers the
// distribution, it marks the files that packages of the distribution own. It never marks a package
// database, except for a checksum list (status.d/NAME.md5sums) of a cataloged package.
func (s *SBOM) EvaluatedUnknowns(distributionCovered bool) []evidence.Unknown {
	out := slices.Clone(s.Unknowns)
	for i := range out {
		u := &out[i]
		if !distributionCovered {
			continue
		}
		if owner := s.checksummedBy(*u); owner != nil {
			u.Class, u.Package = evidence.UnknownOwned, owner.PURL
		} else if u.Class != evidence.UnknownPackageDatabase && s.OwnerOf(u.Path) != nil {
			u.Class = evidence.UnknownOwned
		}
	}
	return out
}

// checksummedBy returns the package whose files are listed in u, if u is a checksum list of dpkg.
// Otherwise it returns nil. Distroless images have a checksum list status.d/NAME.md5sums for each
// package in status.d/NAME, and syft reads both as package databases
// (syft/pkg/cataloger/debian/cataloger.go).
func (s *SBOM) checksummedBy(u evidence.Unknown) *evidence.Package {
	record, ok := strings.CutSuffix(u.Path, ".md5sums")
	if !ok || path.Dir(u.Path) != "/var/lib/dpkg/status.d" || u.Reason != "unable to determine packages" {
		return nil
	}
	for i := range s.Packages {
		p := &s.Packages[i]
		if p.Type == string(syftpkg.DebPkg) && slices.ContainsFunc(p.Found, func(l evidence.Location) bool { return l.Path == record }) {
			return p
		}
	}
	return nil
}

// OwnerOf returns the package of the distribution that owns the file p, or nil. A colon in p
// belongs to the path, because the name of a folder can contain a colon.
func (s *SBOM) OwnerOf(p string) *evidence.Package {
	i, ok := slices.BinarySearchFunc(s.owners, p, func(o ownedFile, p string) int { return strings.Compare(o.Path, p) })
	if !ok {
		return nil
	}
	return &s.owners[i].Owner
}

// isTestData reports whether the file p is test data: root is the folder of its package, and p is
// in a test folder below root. The package.json of a package that npm installed in a test folder is
// not test data.
func isTestData(root, p string) bool {
	rel := strings.TrimPrefix(path.Dir(p), strings.TrimSuffix(root, "/"))
	folders := strings.Split(rel, "/")
	return slices.ContainsFunc(folders, func(f string) bool { return slices.Contains(testFolders, f) }) &&
		!(path.Base(p) == "package.json" && isModuleRoot(path.Dir(p)))
}

// packageFolders maps files to the cataloged package that they belong to.
type packageFolders struct {
	folders map[string]string    // purls of packages, by folder
	files   map[string]installed // packages, by the files that they list
}

// installed is an installed package: its folder and its purl.
type installed struct{ root, purl string }

func newPackageFolders(packages []syftpkg.Package) packageFolders {
	f := packageFolders{map[string]string{}, map[string]installed{}}
	for i := range packages {
		p := &packages[i]
		for _, l := range Evidence(p) {
			f.add(p, l)
		}
	}
	return f
}

func (f *packageFolders) add(p *syftpkg.Package, l file.Location) {
	dir, base := path.Split(l.RealPath)
	dir = path.Clean(dir)
	switch m := p.Metadata.(type) {
	case syftpkg.NpmPackage:
		if base == "package.json" && hasVersion(p.Version) {
			f.folders[dir] = p.PURL
		}
	case syftpkg.PythonPackage:
		for _, r := range m.Files {
			root := path.Join("/", m.SitePackagesRootPath)
			f.files[path.Join(root, r.Path)] = installed{root, p.PURL}
		}
		for _, name := range m.TopLevelPackages {
			f.folders[path.Join("/", m.SitePackagesRootPath, name)] = p.PURL
		}
	case syftpkg.RubyGemspec:
		if name, ok := strings.CutSuffix(base, ".gemspec"); ok && path.Base(dir) == "specifications" {
			f.folders[path.Join(path.Dir(dir), "gems", name)] = p.PURL
		}
	case syftpkg.BinarySignature:
		if path.Base(dir) != "bin" {
			return
		}
		switch prefix := path.Dir(dir); p.Name {
		case "go":
			f.folders[prefix] = p.PURL
		case "python":
			f.folders[path.Join(prefix, "lib", base)] = p.PURL
		case "perl":
			f.folders[path.Join(prefix, "lib/perl5")] = p.PURL
		}
	}
}

// of returns the folder and the purl of the package that a file belongs to. The search goes upward
// from the file and stops at the folder of an installed npm package, because the folders above
// belong to a package that depends on it.
func (f *packageFolders) of(p string) (root, purl string) {
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if purl, ok := f.folders[dir]; ok {
			return dir, purl
		}
		if dir == "/" || dir == "." || isModuleRoot(dir) {
			break
		}
	}
	listed := f.files[p]
	return listed.root, listed.purl
}
