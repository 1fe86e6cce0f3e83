package gate

import (
	"path"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/file"
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

// below reports whether the path has a folder with one of the names. The "lib" of /var/lib,
// where Debian's Tomcat has its applications, is the system's own.
func below(p string, names []string) bool {
	folders := strings.Split(strings.TrimPrefix(path.Dir(p), "/var/lib/"), "/")
	return slices.ContainsFunc(folders, func(f string) bool { return slices.Contains(names, strings.ToLower(f)) })
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

// looksOwn reports whether a package without a version looks like the application's own,
// by where it is and by what it says about itself.
func looksOwn(p *syftpkg.Package) bool {
	switch m := p.Metadata.(type) {
	case syftpkg.NpmPackage:
		// npm demands a version of what it publishes.
		return !among(p, dependencyFolders)
	case syftpkg.JavaArchive:
		return ownArchive(p, m)
	case syftpkg.PythonPackage:
		return ownDistribution(p, m)
	}
	return false
}

// among reports whether a file that describes a package is below one of the folders.
func among(p *syftpkg.Package, folders []string) bool {
	return slices.ContainsFunc(evidenceOf(p), func(l file.Location) bool { return below(l.RealPath, folders) })
}

// ownArchive: a jar of the image itself, in no folder for libraries and without any
// Maven coordinates. A jar inside another archive can be anyone's.
func ownArchive(p *syftpkg.Package, m syftpkg.JavaArchive) bool {
	if p.Type != syftpkg.JavaPkg || m.PomProperties != nil || m.PomProject != nil || m.Parent != nil || strings.Contains(m.VirtualPath, ":") {
		return false
	}
	return !among(p, dependencyFolders) && !among(p, libraryFolders)
}

// ownDistribution: installed from a folder of the build, or described in the folder of
// its source. A repository or an archive can be anyone's.
func ownDistribution(p *syftpkg.Package, m syftpkg.PythonPackage) bool {
	origin := m.DirectURLOrigin
	if origin == nil {
		return !among(p, dependencyFolders)
	}
	name := strings.ToLower(origin.URL)
	return origin.VCS == "" && strings.HasPrefix(name, "file:") && !packageArchives.MatchString(name) && !otherArchives.MatchString(name)
}
