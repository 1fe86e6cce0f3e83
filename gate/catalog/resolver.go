package catalog

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

// quickSource is an image source with a faster resolver, which returns the same results as syft's.
type quickSource struct {
	source.Source
	img   *image.Image
	large *largeFiles
}

// FileResolver returns the resolver of the image. For the squashed scope it is a quickResolver.
func (s quickSource) FileResolver(scope source.Scope) (file.Resolver, error) {
	inner, err := s.Source.FileResolver(scope)
	if err != nil || scope != source.SquashedScope {
		return inner, err
	}
	return &quickResolver{Resolver: inner, img: s.img, large: s.large, folders: map[string][]string{}, found: map[string][]file.Location{}}, nil
}

// quickResolver finds files faster than syft's resolver for the patterns that syft uses most, and
// for repeated paths.
//
// For every Debian package syft searches "/var/lib/dpkg/info/openssl.*", and for every npm module
// "/srv/node_modules/ms/*". syft's resolver compares each pattern with every name in the image, or
// with every folder of the same name. quickResolver also caches results by path, because syft looks
// up each file that a package owns three times. It searches programs for .NET bundles, see
// searchBundles.
type quickResolver struct {
	file.Resolver
	img   *image.Image
	large *largeFiles // the size limit for files; nil means no limit

	mu      sync.Mutex
	folders map[string][]string // the sorted paths in a folder; nil if the path is not a folder, or contains a link

	finding sync.Mutex
	found   map[string][]file.Location // the results by path; empty if no file exists
}

// FilesByPath returns the same files as syft's resolver for the image.
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

// unshared returns a copy of the locations, because catalogers may change annotations.
func unshared(found []file.Location) []file.Location {
	out := slices.Clone(found)
	for i := range out {
		out[i].Annotations = maps.Clone(out[i].Annotations)
	}
	return out
}

// FilesByGlob returns the same files as syft's resolver for the image, in the same order.
func (r *quickResolver) FilesByGlob(patterns ...string) ([]file.Location, error) {
	if len(patterns) == 1 {
		if paths, ok := r.named(patterns[0]); ok {
			return r.Resolver.FilesByPath(paths...)
		}
	}
	return r.Resolver.FilesByGlob(patterns...)
}

// FilesByMIMEType returns the same files as syft's resolver for the image.
func (r *quickResolver) FilesByMIMEType(types ...string) ([]file.Location, error) {
	found, err := r.Resolver.FilesByMIMEType(types...)
	if err == nil && isBundleSearch(types) {
		found = r.searchBundles(found)
	}
	return found, err
}

// named lists the files that match a pattern of the form FOLDER/* or FOLDER/NAME.*. It returns
// false if listing the folder is not enough: if the folder is a link, or if a match is neither a
// regular file nor a folder. A link in another folder to a matching file does not matter, because
// it is only a second name of the same file.
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
		// A folder may match, because FilesByPath and syft's FilesByGlob both skip folders. Any
		// other type needs syft's own search.
		if !r.is(all[to], stereoscope.TypeRegular) && !r.is(all[to], stereoscope.TypeDirectory) {
			return nil, false
		}
	}
	return all[from:to], true
}

// folder returns the sorted paths in a folder, and caches them. It returns nil if dir is not a
// folder or leads through a link.
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

// is reports whether the path p has the wanted type and leads through no link.
func (r *quickResolver) is(p string, want stereoscope.Type) bool {
	ok, at, err := r.img.SquashedTree().File(stereoscope.Path(p))
	if err != nil || !ok || !at.HasReference() || string(at.RealPath) != p {
		return false
	}
	entry, err := r.img.FileCatalog.Get(*at.Reference)
	return err == nil && entry.Type == want
}
