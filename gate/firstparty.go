package gate

import (
	"path"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/cataloging"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// dependencyFolders are the names of folders for other people's packages. Nothing below
// them is an application's own.
var dependencyFolders = []string{"node_modules", "bower_components", "jspm_packages", "site-packages", "dist-packages", "gems",
	"vendor", "vendored", "third_party", "third-party", "thirdparty", "external", "externals", "deps", "dependencies", "dependency",
	"nodejs", "javascript", "maven-repo", ".m2", ".gradle", "repository", "bundles"}

// libraryFolders are further names of folders that hold other people's jars.
var libraryFolders = []string{"lib", "libs", "lib64", "libexec", "library", "libraries", "ext", "endorsed", "jars", "java", "jvm",
	"plugins", "modules", "drivers", "share"}

func below(p string, names []string) bool {
	return slices.ContainsFunc(strings.Split(path.Dir(p), "/"), func(f string) bool { return slices.Contains(names, strings.ToLower(f)) })
}

// isModuleRoot reports whether npm installs a package in this folder: it is directly
// below node_modules, or below a scope there.
func isModuleRoot(dir string) bool {
	parent := path.Dir(dir)
	if strings.HasPrefix(path.Base(parent), "@") {
		parent = path.Dir(parent)
	}
	return path.Base(parent) == "node_modules" && path.Base(dir) != "node_modules"
}

func hasVersion(v string) bool {
	v = strings.TrimSpace(v)
	return v != "" && !strings.EqualFold(v, cataloging.UnknownStubValue)
}

// partOf returns the purl of the npm package of which a package.json describes a part,
// such as one that only marks a folder as a module. It is empty for a folder that npm
// installs a package in, and for one that holds other people's packages.
func partOf(p *syftpkg.Package, versioned map[string]string) string {
	if _, ok := p.Metadata.(syftpkg.NpmPackage); !ok {
		return ""
	}
	var owner string
	for _, l := range evidenceOf(p) {
		if path.Base(l.RealPath) != "package.json" {
			return ""
		}
		dir := path.Dir(l.RealPath)
		for ; !isModuleRoot(dir) && dir != "/" && !slices.Contains(dependencyFolders, path.Base(dir)); dir = path.Dir(dir) {
			if versioned[path.Dir(dir)] != "" {
				break
			}
		}
		if isModuleRoot(dir) || slices.Contains(dependencyFolders, path.Base(dir)) {
			return ""
		}
		owner = versioned[path.Dir(dir)]
	}
	return owner
}

// versionedModules are the purls of npm packages with a version, by folder.
func versionedModules(packages []syftpkg.Package) map[string]string {
	folders := map[string]string{}
	for i := range packages {
		p := &packages[i]
		if _, ok := p.Metadata.(syftpkg.NpmPackage); !ok || !hasVersion(p.Version) {
			continue
		}
		for _, l := range evidenceOf(p) {
			if path.Base(l.RealPath) == "package.json" {
				folders[path.Dir(l.RealPath)] = p.PURL
			}
		}
	}
	return folders
}

// ownPackage is how sure it is that a package without a version is the application's
// own.
type ownPackage uint8

const (
	// notOwn: it can be anyone's.
	notOwn ownPackage = iota
	// ownUnlessKnown: it looks like the application's own, unless the database has
	// advisories for that name.
	ownUnlessKnown
	// ownForSure: its author says that it is never published.
	ownForSure
)

// ownPackageOf decides by where the package is and by what it says about itself.
func ownPackageOf(p *syftpkg.Package) ownPackage {
	switch m := p.Metadata.(type) {
	case syftpkg.NpmPackage:
		return ownModule(p, m)
	case syftpkg.JavaArchive:
		return ownArchive(p, m)
	case syftpkg.PythonPackage:
		return ownDistribution(p, m)
	}
	return notOwn
}

// ownModule: npm demands a version of what it publishes, and refuses to publish what is
// private.
func ownModule(p *syftpkg.Package, m syftpkg.NpmPackage) ownPackage {
	for _, l := range evidenceOf(p) {
		if below(l.RealPath, dependencyFolders) {
			return notOwn
		}
	}
	if m.Private {
		return ownForSure
	}
	return ownUnlessKnown
}

// ownArchive: a jar of the image itself, in no folder for libraries and without any
// Maven coordinates. A jar inside another archive can be anyone's.
func ownArchive(p *syftpkg.Package, m syftpkg.JavaArchive) ownPackage {
	if p.Type != syftpkg.JavaPkg || m.PomProperties != nil || m.PomProject != nil || m.Parent != nil || strings.Contains(m.VirtualPath, ":") {
		return notOwn
	}
	for _, l := range evidenceOf(p) {
		if below(l.RealPath, dependencyFolders) || below(l.RealPath, libraryFolders) {
			return notOwn
		}
	}
	return ownUnlessKnown
}

// ownDistribution: installed from a folder of the build, or described in the folder of
// its source. A repository or an archive can be anyone's.
func ownDistribution(p *syftpkg.Package, m syftpkg.PythonPackage) ownPackage {
	if origin := m.DirectURLOrigin; origin != nil {
		name := strings.ToLower(origin.URL)
		if origin.VCS == "" && strings.HasPrefix(name, "file:") && !packageArchives.MatchString(name) && !otherArchives.MatchString(name) {
			return ownUnlessKnown
		}
		return notOwn
	}
	for _, l := range evidenceOf(p) {
		if below(l.RealPath, dependencyFolders) {
			return notOwn
		}
	}
	return ownUnlessKnown
}
