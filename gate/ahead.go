package gate

import (
	"context"
	"slices"
	"sync"

	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/vulnerability"
	"golang.org/x/sync/errgroup"
)

// matchAhead matches packages side by side, and returns matchers that give what they
// have found once grype asks them. grype itself takes one package after the other, as
// what a matcher says to ignore can be about another package; but what it finds for a
// package depends on that package and the database alone. So grype puts the same
// together as ever, in the same order.
//
// What was not found ahead is looked for when grype asks: a matcher that panics does
// so where grype expects it, and one that grype asks about a package of a type that
// is not its own answers as without.
func matchAhead(ctx context.Context, provider vulnerability.Provider, matchers []match.Matcher, pkgs []pkg.Package, parallel int) []match.Matcher {
	out := make([]match.Matcher, len(matchers))
	all := make([]*aheadMatcher, len(matchers))
	for i, m := range matchers {
		all[i] = &aheadMatcher{Matcher: m, found: map[pkg.ID]foundAhead{}}
		out[i] = all[i]
	}
	times := map[pkg.ID]int{}
	for _, p := range pkgs {
		times[p.ID]++
	}
	var group errgroup.Group
	group.SetLimit(parallel)
	for some := range slices.Chunk(pkgs, matchedAtOnce) {
		group.Go(func() error {
			for _, p := range some {
				for _, m := range all {
					if ctx.Err() != nil {
						return nil // grype looks as well
					}
					if m.takes(p) && times[p.ID] == 1 { // else it would answer for another one
						m.find(provider, p)
					}
				}
			}
			return nil
		})
	}
	_ = group.Wait() // what went wrong is among what was found
	return out
}

// matchedAtOnce is how many packages are matched before the next ones are fetched.
const matchedAtOnce = 16

// aheadMatcher answers with what it has found before.
type aheadMatcher struct {
	match.Matcher

	mu    sync.Mutex
	found map[pkg.ID]foundAhead
}

// foundAhead is what a matcher returns for a package.
type foundAhead struct {
	matches []match.Match
	filters []match.IgnoreFilter
	err     error
}

// takes reports whether the matcher is for packages of this type.
func (m *aheadMatcher) takes(p pkg.Package) bool { return slices.Contains(m.PackageTypes(), p.Type) }

func (m *aheadMatcher) find(provider vulnerability.Provider, p pkg.Package) {
	defer func() { _ = recover() }() // it will panic once more
	var f foundAhead
	f.matches, f.filters, f.err = m.Matcher.Match(provider, p)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.found[p.ID] = f
}

// Match returns what was found for the package, or finds it.
func (m *aheadMatcher) Match(provider vulnerability.Provider, p pkg.Package) ([]match.Match, []match.IgnoreFilter, error) {
	m.mu.Lock()
	f, ok := m.found[p.ID]
	m.mu.Unlock()
	if !ok {
		return m.Matcher.Match(provider, p)
	}
	return f.matches, f.filters, f.err
}
