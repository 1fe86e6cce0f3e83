package catalog

import (
	"context"
	"path"
	"runtime"
	"strings"
	"sync"

	"github.com/anchore/syft/syft/file"
	"github.com/bmatcuk/doublestar/v4"

	"github.com/imagegate/imagegate/gate/filesystem"
)

// Queries are the questions about files that catalogers asked, and whose answer another file could
// change. The questions about a file that was found are missing: layers that only add files cannot
// change their answer.
type Queries struct {
	Paths map[string]bool // clean and absolute paths that were not found
	Globs map[string]bool // patterns, without the leading slash
	MIME  map[string]bool // MIME types
	Nix   bool            // the locations of all files, of which the cataloger for Nix uses those of the Nix store
	All   bool            // a question whose answer any file could change
}

func newQueries() *Queries {
	return &Queries{Paths: map[string]bool{}, Globs: map[string]bool{}, MIME: map[string]bool{}}
}

// nixStore is in the path of every file that the cataloger for Nix uses.
const nixStore = "nix/store"

// Concern reports whether the answer of a question could change if the files were added to the image.
func (q *Queries) Concern(added []filesystem.Added) bool {
	if q.All {
		return true
	}
	globs := newPatterns(q.Globs)
	for _, a := range added {
		if q.Paths[a.Path] || a.MIMEType != "" && q.MIME[a.MIMEType] || q.Nix && strings.Contains(a.Path, nixStore) || globs.match(a.Path) {
			return true
		}
	}
	return false
}

// patterns are glob patterns. Most patterns contain a text that a matching path must contain, which is
// faster to look for.
type patterns struct {
	names map[string]bool // the last elements of patterns that end with an element without wildcards
	other []glob          // all other patterns
}

type glob struct{ pattern, part string }

func newPatterns(all map[string]bool) patterns {
	out := patterns{names: map[string]bool{}}
	for p := range all {
		if last := path.Base(p); !strings.ContainsAny(last, `*?[]{}\`) && !strings.ContainsAny(p, `[]{}\`) {
			out.names[last] = true
			continue
		}
		out.other = append(out.other, glob{p, longestPart(p)})
	}
	return out
}

// longestPart returns the longest text that every path contains that matches the pattern, or "".
func longestPart(pattern string) string {
	longest := ""
	if strings.ContainsAny(pattern, `[]{}\`) {
		return longest
	}
	for part := range strings.FieldsFuncSeq(pattern, func(r rune) bool { return r == '*' || r == '?' }) {
		if part = strings.Trim(part, "/"); len(part) > len(longest) { // a slash next to "**" need not be in the path
			longest = part
		}
	}
	return longest
}

// match reports whether a pattern matches the path. It may also return true for a path with the same
// last element as a match.
func (p patterns) match(at string) bool {
	if p.names[path.Base(at)] {
		return true
	}
	at = strings.TrimPrefix(at, "/")
	for _, g := range p.other {
		if !strings.Contains(at, g.part) {
			continue
		}
		if ok, err := doublestar.Match(g.pattern, at); ok || err != nil {
			return true
		}
	}
	return false
}

// recorder is a resolver that records questions. It is safe for concurrent use.
type recorder struct {
	file.Resolver
	mu      *sync.Mutex
	queries *Queries
}

func newRecorder(r file.Resolver, q *Queries) *recorder { return &recorder{r, &sync.Mutex{}, q} }

func clean(p string) string { return path.Clean("/" + p) }

func (r *recorder) missing(paths ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range paths {
		r.queries.Paths[clean(p)] = true
	}
}

// HasPath implements [file.Resolver].
func (r *recorder) HasPath(p string) bool {
	found := r.Resolver.HasPath(p)
	if !found {
		r.missing(p)
	}
	return found
}

// FilesByPath implements [file.Resolver].
func (r *recorder) FilesByPath(paths ...string) ([]file.Location, error) {
	found, err := r.Resolver.FilesByPath(paths...)
	if len(found) < len(paths) {
		r.missing(paths...)
	}
	return found, err
}

// RelativeFileByPath implements [file.Resolver].
func (r *recorder) RelativeFileByPath(from file.Location, p string) *file.Location {
	found := r.Resolver.RelativeFileByPath(from, p)
	if found == nil {
		r.missing(p, path.Join(path.Dir(from.RealPath), p))
	}
	return found
}

// FilesByGlob implements [file.Resolver].
func (r *recorder) FilesByGlob(patterns ...string) ([]file.Location, error) {
	r.mu.Lock()
	for _, p := range patterns {
		r.queries.Globs[strings.TrimPrefix(path.Clean(p), "/")] = true
	}
	r.mu.Unlock()
	return r.Resolver.FilesByGlob(patterns...)
}

// FilesByMIMEType implements [file.Resolver].
func (r *recorder) FilesByMIMEType(types ...string) ([]file.Location, error) {
	r.mu.Lock()
	for _, t := range types {
		r.queries.MIME[t] = true
	}
	r.mu.Unlock()
	return r.Resolver.FilesByMIMEType(types...)
}

// AllLocations implements [file.Resolver]. Only syft's cataloger for Nix is known to use a part of the
// locations.
func (r *recorder) AllLocations(ctx context.Context) <-chan file.Location {
	nix := calledBy("/syft/pkg/cataloger/nix.")
	r.mu.Lock()
	if nix {
		r.queries.Nix = true
	} else {
		r.queries.All = true
	}
	r.mu.Unlock()
	return r.Resolver.AllLocations(ctx)
}

// calledBy reports whether the caller of the calling method is a function whose name contains part.
func calledBy(part string) bool {
	callers := make([]uintptr, 1)
	if runtime.Callers(3, callers) == 0 {
		return false
	}
	frame, _ := runtime.CallersFrames(callers).Next()
	return strings.Contains(frame.Function, part)
}
