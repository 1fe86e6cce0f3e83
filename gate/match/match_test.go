package match

import (
	"errors"
	"strings"
	"testing"

	"github.com/anchore/grype/grype"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// TestMatcherErrorIsNotSwallowed checks that strictMatcher makes grype return every matcher error.
// If a matcher returns an error that is not fatal, grype only logs the error and returns the
// matches so far.
func TestMatcherErrorIsNotSwallowed(t *testing.T) {
	broken := errors.New("the index is unreadable")
	m := grype.VulnerabilityMatcher{Matchers: []match.Matcher{failing{broken}}}
	pkgs := []pkg.Package{{Name: "json-schema", Version: "0.3.0", Type: syftpkg.NpmPkg}}
	if _, _, err := m.FindMatches(pkgs, pkg.Context{}); err != nil {
		t.Fatalf("grype now returns the error itself, so strictMatcher can be removed: %v", err)
	}
	m.Matchers = []match.Matcher{strictMatcher{failing{broken}}}
	if _, _, err := m.FindMatches(pkgs, pkg.Context{}); err == nil || !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("the error is %v", err)
	}
}

type failing struct{ err error }

func (failing) PackageTypes() []syftpkg.Type { return []syftpkg.Type{syftpkg.NpmPkg} }
func (failing) Type() match.MatcherType      { return match.JavascriptMatcher }
func (f failing) Match(vulnerability.Provider, pkg.Package) ([]match.Match, []match.IgnoreFilter, error) {
	return nil, nil, f.err
}

// TestKernelHeadersAreSuppressedAndListed checks that kernel findings are suppressed for packages
// of kernel headers, because these packages contain none of the kernel's code. A finding whose
// advisory names such a package directly is kept.
func TestKernelHeadersAreSuppressedAndListed(t *testing.T) {
	upstream := []pkg.UpstreamPackage{{Name: "linux"}}
	for name, c := range map[string]struct {
		m    match.Match
		want bool
	}{
		"through the source": {match.Match{Package: pkg.Package{Name: "linux-libc-dev", Type: syftpkg.DebPkg, Upstreams: upstream},
			Details: match.Details{{Type: match.ExactIndirectMatch}}}, true},
		"directly": {match.Match{Package: pkg.Package{Name: "linux-libc-dev", Type: syftpkg.DebPkg, Upstreams: upstream},
			Details: match.Details{{Type: match.ExactIndirectMatch}, {Type: match.ExactDirectMatch}}}, false},
		"another package": {match.Match{Package: pkg.Package{Name: "linux-image-amd64", Type: syftpkg.DebPkg, Upstreams: upstream},
			Details: match.Details{{Type: match.ExactIndirectMatch}}}, false},
		"another source": {match.Match{Package: pkg.Package{Name: "linux-libc-dev", Type: syftpkg.DebPkg, Upstreams: []pkg.UpstreamPackage{{Name: "other"}}},
			Details: match.Details{{Type: match.ExactIndirectMatch}}}, false},
		"another ecosystem": {match.Match{Package: pkg.Package{Name: "linux-libc-dev", Type: syftpkg.NpmPkg, Upstreams: upstream},
			Details: match.Details{{Type: match.ExactIndirectMatch}}}, false},
	} {
		if got := kernelHeaders(c.m) != ""; got != c.want {
			t.Errorf("%s: suppressed is %v", name, got)
		}
	}
}
