package gate

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	stereoscope "github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/source"
)

// quickSource is an image whose resolver answers faster, and the same.
type quickSource struct {
	source.Source
	img   *image.Image
	large *largeFiles
}

// FileResolver is that of the image.
func (s quickSource) FileResolver(scope source.Scope) (file.Resolver, error) {
	inner, err := s.Source.FileResolver(scope)
	if err != nil || scope != source.SquashedScope {
		return inner, err
	}
	return &quickResolver{Resolver: inner, img: s.img, large: s.large, folders: map[string][]string{}, found: map[string][]file.Location{}}, nil
}

// quickResolver knows a short way for patterns such as
// "/var/lib/dpkg/info/openssl.*" and "/srv/node_modules/ms/*", which syft asks
// for once for every Debian package and every npm module: the long way holds each
// against every name in the image, or in all folders that are called the same. It
// remembers which file is at a path: of each one that a package owns syft asks three
// times. It also searches programs for .NET bundles, see searchBundles.
type quickResolver struct {
	file.Resolver
	img   *image.Image
	large *largeFiles // nil bounds nothing

	mu      sync.Mutex
	folders map[string][]string // paths in a folder, sorted; nil where links are in the way

	finding sync.Mutex
	found   map[string][]file.Location // by path; empty where nothing is
}

// FilesByPath finds what the image's own resolver finds.
func (r *quickResolver) FilesByPath(paths ...string) ([]file.Location, error) {
	if len(paths) != 1 {
		return r.Resolver.FilesByPath(paths...)
	}
	r.finding.Lock()
	found, ok := r.found[paths[0]]
	r.finding.Unlock()
	if ok {
		return unshared(found), nil
	}
	found, err := r.Resolver.FilesByPath(paths[0])
	if err == nil {
		r.finding.Lock()
		defer r.finding.Unlock()
		r.found[paths[0]] = unshared(found)
	}
	return found, err
}

// unshared are the same locations, which catalogers may annotate by themselves.
func unshared(found []file.Location) []file.Location {
	out := slices.Clone(found)
	for i := range out {
		out[i].Annotations = maps.Clone(out[i].Annotations)
	}
	return out
}

// FilesByGlob finds what the image's own resolver finds, in the same order.
func (r *quickResolver) FilesByGlob(patterns ...string) ([]file.Location, error) {
	if len(patterns) == 1 {
		if paths, ok := r.named(patterns[0]); ok {
			return r.Resolver.FilesByPath(paths...)
		}
	}
	return r.Resolver.FilesByGlob(patterns...)
}

// FilesByMIMEType finds what the image's own resolver finds.
func (r *quickResolver) FilesByMIMEType(types ...string) ([]file.Location, error) {
	found, err := r.Resolver.FilesByMIMEType(types...)
	if err == nil && isBundleSearch(types) {
		found = r.searchBundles(found)
	}
	return found, err
}

// named lists the files that a pattern of the form FOLDER/* or FOLDER/NAME.*
// names, if that can be told without looking elsewhere: the folder is one and not
// a link to one, and the files are files. A link to one of them, from wherever, is
// then found as the same file under a second name, and the first one counts.
func (r *quickResolver) named(pattern string) ([]string, bool) {
	prefix, ok := strings.CutSuffix(pattern, "*")
	if !ok || strings.ContainsAny(prefix, `*?[]{}\!`) || path.Clean(prefix+"x") != prefix+"x" {
		return nil, false
	}
	dir, name := path.Split(prefix)
	dir = strings.TrimSuffix(dir, "/")
	if dir == "" || name != "" && (len(name) < 2 || !strings.HasSuffix(name, ".")) {
		return nil, false
	}
	all := r.folder(dir)
	if all == nil {
		return nil, false
	}
	from, _ := slices.BinarySearch(all, prefix)
	to := from
	for ; to < len(all) && strings.HasPrefix(all[to], prefix); to++ {
		// Folders are passed over, here as there.
		if !r.is(all[to], stereoscope.TypeRegular) && !r.is(all[to], stereoscope.TypeDirectory) {
			return nil, false
		}
	}
	return all[from:to], true
}

// folder lists what is in a folder, once.
func (r *quickResolver) folder(dir string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	paths, ok := r.folders[dir]
	if !ok && r.is(dir, stereoscope.TypeDirectory) {
		if found, err := r.img.SquashedTree().ListPaths(stereoscope.Path(dir)); err == nil {
			paths = make([]string, 0, len(found))
			for _, p := range found {
				paths = append(paths, string(p))
			}
			slices.Sort(paths)
		}
	}
	r.folders[dir] = paths
	return paths
}

// is reports whether there is something of a type at a path, and no link on the
// way to it.
func (r *quickResolver) is(p string, want stereoscope.Type) bool {
	ok, at, err := r.img.SquashedTree().File(stereoscope.Path(p))
	if err != nil || !ok || !at.HasReference() || string(at.RealPath) != p {
		return false
	}
	entry, err := r.img.FileCatalog.Get(*at.Reference)
	return err == nil && entry.Type == want
}
