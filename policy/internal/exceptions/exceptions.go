// Package exceptions finds the exceptions that cover a violation, and records which ones were used.
package exceptions

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/indexed"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// Exception has the conditions of an exception. Exactly one of ID and Rule is set.
type Exception struct {
	// ID is the id of a finding. Letter case is ignored.
	ID   string
	Rule string
	// Package, Path and Image are patterns. Empty matches any.
	Package, Path, Image string
	// Expires is the first instant when the exception no longer applies.
	Expires time.Time
	// Begins is set if Expires is further in the future than the policy's maxLifetime allows. It is
	// the first instant when the policy allows the exception.
	Begins time.Time
}

// List finds exceptions of one policy for one image. It is not safe for concurrent use.
type List struct {
	now    time.Time
	all    []*Entry
	byID   map[string][]*Entry // exceptions for this image, by id in lower case
	byRule map[string][]*Entry // exceptions for this image, by rule name
}

// Entry is an exception of a List.
type Entry struct {
	Exception
	// Outside means that the exception is not for this image.
	Outside bool
	// Used means that the exception covers a violation. Lapsed means that the exception matches a
	// violation but has expired.
	Used, Lapsed bool

	index   int
	pattern match.PURLPattern
}

// New indexes the exceptions for an image of a repository.
func New(list []Exception, repository string, now time.Time) *List {
	n := match.NewImage(repository)
	x := &List{now: now, byID: make(map[string][]*Entry, len(list)), byRule: make(map[string][]*Entry)}
	for i, e := range list {
		entry := &Entry{Exception: e, index: i, pattern: match.NewPURLPattern(e.Package)}
		entry.Outside = e.Image != "" && !match.NewImagePattern(e.Image).Match(n)
		x.all = append(x.all, entry)
		switch {
		case entry.Outside || !e.Begins.IsZero():
		case e.ID != "":
			id := strings.ToLower(e.ID)
			x.byID[id] = append(x.byID[id], entry)
		case e.Rule != "":
			x.byRule[e.Rule] = append(x.byRule[e.Rule], entry)
		}
	}
	return x
}

// All returns all exceptions in the order of the list.
func (x *List) All() []*Entry { return x.all }

// Finding returns the index of the exception that covers f, or -1. If several exceptions cover f,
// it returns the one that expires last. expired lists the indexes of expired exceptions that match
// f, in ascending order. All matching exceptions are marked as used or lapsed, so call Finding only
// for a finding that blocks.
func (x *List) Finding(f *indexed.Finding) (covering int, expired []int) {
	return x.choose(x.candidates(f), One(f.PURL))
}

// Rule is like Finding, for a violation of a rule that is not about findings.
func (x *List) Rule(rule string, about About) (covering int, expired []int) {
	return x.choose(x.byRule[rule], about)
}

func (x *List) choose(candidates []*Entry, about About) (covering int, expired []int) {
	var chosen *Entry
	for _, e := range candidates {
		switch {
		case !e.matches(about):
		case !x.now.Before(e.Expires):
			e.Lapsed = true
			expired = append(expired, e.index)
		default:
			e.Used = true
			if chosen == nil || e.Expires.After(chosen.Expires) {
				chosen = e
			}
		}
	}
	if chosen == nil {
		return -1, expired
	}
	return chosen.index, expired
}

// candidates returns the exceptions for f's id and aliases, each once, in the order of the list.
func (x *List) candidates(f *indexed.Finding) []*Entry {
	if len(x.byID) == 0 {
		return nil
	}
	found := slices.Clip(x.byID[f.LowerIDs[0]]) // clipped, so that append copies the slice
	byID := len(found)
	for _, alias := range f.LowerIDs[1:] {
		found = append(found, x.byID[alias]...)
	}
	if len(found) > byID {
		slices.SortFunc(found, func(a, b *Entry) int { return cmp.Compare(a.index, b.index) })
		found = slices.Compact(found)
	}
	return found
}

// About has the packages and files of a violation. An exception must match all of them.
type About struct {
	Packages []match.PURL
	Paths    []string
}

// One returns the About of a violation with one package. The zero purl means that the violation is
// not about a package.
func One(u match.PURL) About { return About{Packages: []match.PURL{u}} }

// Add adds a package and its files.
func (a *About) Add(p *evidence.Package) {
	a.Packages = append(a.Packages, match.PackagePURL(p))
	for _, l := range p.Found {
		a.Paths = append(a.Paths, l.Path)
	}
}

// matches reports whether the exception's patterns match all packages and files of about. A pattern
// does not match an empty list.
func (e *Entry) matches(about About) bool {
	other := func(u match.PURL) bool { return !e.pattern.Match(u) }
	if !e.pattern.Any && (len(about.Packages) == 0 || slices.ContainsFunc(about.Packages, other)) {
		return false
	}
	elsewhere := func(path string) bool { return !doublestar.MatchUnvalidated(e.Path, path) }
	return e.Path == "" || len(about.Paths) > 0 && !slices.ContainsFunc(about.Paths, elsewhere)
}

// CheckPath returns an error for a pattern that matches no path in an image.
func CheckPath(s string) error {
	if !doublestar.ValidatePattern(s) {
		return fmt.Errorf("%q is not a valid pattern: it has an unclosed bracket or a backslash at its end", s)
	}
	if !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "**") {
		return fmt.Errorf(`pattern %q matches no path: paths begin with "/"`, s)
	}
	for folder := range strings.SplitSeq(strings.TrimPrefix(s, "/"), "/") {
		if folder == "" || folder == "." || folder == ".." {
			return errors.New(`matches no path: remove empty folders, ".", ".." and a "/" at the end`)
		}
	}
	return nil
}
