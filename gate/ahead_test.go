package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/anchore/grype/grype"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/internal/lab"
)

// TestMatchingAheadIsNotMatchingLess: whatever goes wrong ahead goes wrong for grype
// too, and every package gets the answer about itself.
func TestMatchingAheadIsNotMatchingLess(t *testing.T) {
	var pkgs []pkg.Package
	for i := range 100 {
		pkgs = append(pkgs, pkg.Package{ID: pkg.ID(fmt.Sprint(i)), Name: fmt.Sprint("p", i), Version: "1", Type: syftpkg.NpmPkg})
	}
	twins := append(pkgs[:50:50], pkg.Package{ID: "7", Name: "other", Version: "1", Type: syftpkg.NpmPkg},
		pkg.Package{Name: "nameless", Version: "1", Type: syftpkg.NpmPkg}, pkg.Package{Name: "another", Version: "1", Type: syftpkg.NpmPkg})
	broken := errors.New("the index is unreadable")
	for name, c := range map[string]struct {
		pkgs []pkg.Package
		m    *naming
		want string // of the error
	}{
		"found":         {pkgs, &naming{}, ""},
		"the same id":   {twins, &naming{}, ""},
		"an error":      {pkgs, &naming{fail: "p42", err: broken}, broken.Error()},
		"a panic":       {pkgs, &naming{fail: "p42"}, "no luck"},
		"one at a time": {pkgs[:1], &naming{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := grype.VulnerabilityMatcher{VulnerabilityProvider: database.Provider(),
				Matchers: matchAhead(t.Context(), database.Provider(), []match.Matcher{strictMatcher{c.m}}, c.pkgs, 4)}
			found, _, err := m.FindMatchesContext(t.Context(), c.pkgs, pkg.Context{})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("the error is %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if found.Count() != len(c.pkgs) {
				t.Errorf("%d of %d packages were matched", found.Count(), len(c.pkgs))
			}
			for one := range found.Enumerate() {
				if one.Vulnerability.ID != "about "+one.Package.Name {
					t.Errorf("%s got the answer %q", one.Package.Name, one.Vulnerability.ID)
				}
			}
			if name == "found" && c.m.asked["p42"] != 1 {
				t.Errorf("a package was matched %d times", c.m.asked["p42"])
			}
		})
	}
}

// TestCancelledMatchingIsNotClean: grype ends early then, with what it has and
// without an error. So it is cancelled wherever somebody looks whether it is.
func TestCancelledMatchingIsNotClean(t *testing.T) {
	h := newTester(t)
	sbom := h.check(h.gate(blockCritical), h.push("app:1", h.image(onlyModules))).SBOMs[0]
	looks := &cancelledAt{Context: t.Context(), at: -1}
	if m, err := scan(looks, database, sbom, 1); err != nil || len(m.findings) == 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	for at := range looks.looked {
		m, err := scan(&cancelledAt{Context: t.Context(), at: at}, database, sbom, 1)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %d of %d: %+v, %v", at, looks.looked, m, err)
		}
	}
}

// onlyModules has no operating system, for which the database would be asked once
// more.
var onlyModules = lab.ImageSpec{NPM: []lab.NPM{{Name: "json-schema", Version: "0.3.0"}}}

// cancelledAt is a context that is cancelled at that look at its error, and tells
// nobody by itself.
type cancelledAt struct {
	context.Context
	at, looked int
}

func (c *cancelledAt) Done() <-chan struct{} { return nil }

func (c *cancelledAt) Err() error {
	c.looked++
	if c.at >= 0 && c.looked > c.at {
		return context.Canceled
	}
	return nil
}

// naming is a matcher that finds one vulnerability for each package, named after it.
type naming struct {
	fail string // for which package it panics, or fails with err
	err  error

	mu    sync.Mutex
	asked map[string]int
}

func (*naming) PackageTypes() []syftpkg.Type { return []syftpkg.Type{syftpkg.NpmPkg} }
func (*naming) Type() match.MatcherType      { return match.JavascriptMatcher }
func (n *naming) Match(_ vulnerability.Provider, p pkg.Package) ([]match.Match, []match.IgnoreFilter, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asked == nil {
		n.asked = map[string]int{}
	}
	n.asked[p.Name]++
	if p.Name == n.fail {
		if n.err == nil {
			panic("no luck")
		}
		return nil, nil, n.err
	}
	p.ID = pkg.ID(p.Name) // grype keeps one match for each
	return []match.Match{{Package: p, Vulnerability: vulnerability.Vulnerability{Reference: vulnerability.Reference{ID: "about " + p.Name}},
		Details: match.Details{{Type: match.ExactDirectMatch}}}}, nil, nil
}
