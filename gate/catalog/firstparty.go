package catalog

import (
	"path"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/file"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// dependencyFolders are names of folders that contain dependencies. A package below such a folder
// is not one of the application's own packages.
var dependencyFolders = []string{"node_modules", "bower_components", "jspm_packages", "site-packages", "dist-packages", "gems",
	"vendor", "vendored", "third_party", "third-party", "thirdparty", "external", "externals", "deps", "dependencies", "dependency",
	"nodejs", "javascript", "maven-repo", ".m2", ".gradle", "repository", "bundles"}

// libraryFolders are more names of folders. A jar in such a folder is a dependency.
var libraryFolders = []string{"lib", "libs", "lib64", "libexec", "library", "libraries", "ext", "endorsed", "jars", "java", "jvm",
	"plugins", "modules", "drivers", "share"}

// below reports whether the path contains a folder with one of the names. It ignores the prefix
// /var/lib, a folder of the system where applications may be: Debian's Tomcat has its applications
// there.
func below(p string, names []string) bool {
	folders := strings.Split(strings.TrimPrefix(path.Dir(p), "/var/lib/"), "/")
	return slices.ContainsFunc(folders, func(f string) bool { return slices.Contains(names, strings.ToLower(f)) })
}

// isModuleRoot reports whether dir is a folder that npm installs a package in: directly below
// node_modules, or below a scope in node_modules.
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

// PartOf returns the purl of the npm package that contains p. p is a package.json without a
// version, for example one that only marks a folder of the npm package as a module. versioned is
// the result of VersionedModules. PartOf returns "" if p is not inside an npm package with a
// version, if npm installs packages in the folder of p, or if the path of p contains a folder of
// dependencies.
func PartOf(p *syftpkg.Package, versioned map[string]string) string {
	if _, ok := p.Metadata.(syftpkg.NpmPackage); !ok {
		return ""
	}
	var owner string
	for _, l := range Evidence(p) {
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

// VersionedModules returns the purls of all npm packages that have a version. The keys are the
// folders of the packages.
func VersionedModules(packages []syftpkg.Package) map[string]string {
	folders := map[string]string{}
	for i := range packages {
		p := &packages[i]
		if _, ok := p.Metadata.(syftpkg.NpmPackage); !ok || !hasVersion(p.Version) {
			continue
		}
		for _, l := range Evidence(p) {
			if path.Base(l.RealPath) == "package.json" {
				folders[path.Dir(l.RealPath)] = p.PURL
			}
		}
	}
	return folders
}

// LooksOwn reports whether a package without a version looks like one of the application's own
// packages, by its path and its metadata.
func LooksOwn(p *syftpkg.Package) bool {
	switch m := p.Metadata.(type) {
	case syftpkg.NpmPackage:
		// npm requires a version in every published package, so a package without one was not
		// installed from a registry.
		return !among(p, dependencyFolders)
	case syftpkg.JavaArchive:
		return ownArchive(p, m)
	case syftpkg.PythonPackage:
		return ownDistribution(p, m)
	}
	return false
}

// among reports whether a file that describes package p is below one of the folders.
func among(p *syftpkg.Package, folders []string) bool {
	return slices.ContainsFunc(Evidence(p), func(l file.Location) bool { return below(l.RealPath, folders) })
}

// ownArchive reports whether a jar is one of the application's own. Such a jar is a file of the
// image, outside the folders for libraries, and has no Maven coordinates. A jar inside another
// archive does not count.
func ownArchive(p *syftpkg.Package, m syftpkg.JavaArchive) bool {
	if p.Type != syftpkg.JavaPkg || m.PomProperties != nil || m.PomProject != nil || m.Parent != nil || strings.Contains(m.VirtualPath, ":") {
		return false
	}
	return !among(p, dependencyFolders) && !among(p, libraryFolders)
}

// ownDistribution reports whether a Python package is one of the application's own: pip installed
// it from a local folder, or its description is in its source folder. A package from a repository
// or an archive does not count.
func ownDistribution(p *syftpkg.Package, m syftpkg.PythonPackage) bool {
	origin := m.DirectURLOrigin
	if origin == nil {
		return !among(p, dependencyFolders)
	}
	name := strings.ToLower(origin.URL)
	return origin.VCS == "" && strings.HasPrefix(name, "file:") && !packageArchives.MatchString(name) && !otherArchives.MatchString(name)
}
