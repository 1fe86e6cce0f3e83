package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// exceptions finds the exceptions that cover a finding, and remembers which of
// them did.
type exceptions struct {
	now  time.Time
	all  []*exception
	byID map[string][]*exception // by lower-cased id, those for this image only
}

type exception struct {
	Exception
	index   int // in the file
	pattern purlPattern
	outside bool // not for this image
	used    bool // covers a finding now
	lapsed  bool // has expired and would cover a finding
}

func newExceptions(list []Exception, repository string, now time.Time) *exceptions {
	x := &exceptions{now: now, byID: make(map[string][]*exception, len(list))}
	for i, e := range list {
		compiled := &exception{Exception: e, index: i, pattern: newPURLPattern(e.Package)}
		compiled.outside = e.Image != "" && !newGlob(e.Image).match(repository)
		x.all = append(x.all, compiled)
		if e.ID != "" && !compiled.outside {
			id := strings.ToLower(e.ID)
			x.byID[id] = append(x.byID[id], compiled)
		}
	}
	return x
}

// cover returns the exception that covers f, of several the one that lasts
// longest, or nil; expired are those that no longer do, in the file's order. f
// must be a finding that blocks: an exception counts as used from then on.
func (x *exceptions) cover(f *subject) (covering *exception, expired []Exception) {
	for _, e := range x.candidates(f) {
		switch {
		case !e.pattern.match(f.purl):
		case !x.now.Before(e.Expires):
			e.lapsed = true
			expired = append(expired, e.Exception)
		default:
			e.used = true
			if covering == nil || e.Expires.After(covering.Expires) {
				covering = e
			}
		}
	}
	return covering, expired
}

// candidates returns the exceptions with f's id or one of its aliases, each
// once, in the file's order.
func (x *exceptions) candidates(f *subject) []*exception {
	if len(x.byID) == 0 {
		return nil
	}
	found := slices.Clip(x.byID[f.ids[0]]) // appending copies it
	byID := len(found)
	for _, alias := range f.ids[1:] {
		found = append(found, x.byID[alias]...)
	}
	if len(found) > byID {
		slices.SortFunc(found, func(a, b *exception) int { return cmp.Compare(a.index, b.index) })
		found = slices.Compact(found)
	}
	return found
}
