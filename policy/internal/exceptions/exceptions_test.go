package exceptions

import (
	"slices"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/indexed"
	"github.com/imagegate/imagegate/policy/internal/match"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// TestLongestExceptionCovers checks that Finding returns the exception that expires last among the
// exceptions by id and by alias. It also checks which exceptions are marked as used or lapsed.
func TestLongestExceptionCovers(t *testing.T) {
	later := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	x := New([]Exception{
		{ID: "CVE-1", Expires: later(1)},
		{ID: "ghsa-1", Expires: later(3)},
		{ID: "CVE-1", Expires: now},
		{ID: "CVE-1", Expires: later(9), Package: "pkg:npm/other"},
		{ID: "CVE-1", Expires: later(9), Image: "elsewhere/*"},
		{ID: "CVE-1", Expires: later(9), Begins: later(1)},
		{Rule: "CVE-1", Expires: later(9)},
		{Expires: later(9)},
	}, "registry.example/app", now)
	f := &evidence.Finding{ID: "GHSA-1", Aliases: []string{"CVE-1", "cve-1"}, Package: evidence.Package{PURL: "pkg:npm/lodash@4"}}
	covering, expired := x.Finding(indexed.New(f, &evidence.Platform{}))
	if covering != 1 || !slices.Equal(expired, []int{2}) {
		t.Errorf("%d covers, %v have expired", covering, expired)
	}
	for i, e := range x.All() {
		if e.Used != (i < 2) || e.Lapsed != (i == 2) || e.Outside != (i == 4) {
			t.Errorf("%d: %+v", i, e)
		}
	}
	if covering, _ := x.Finding(indexed.New(&evidence.Finding{}, &evidence.Platform{})); covering != -1 {
		t.Errorf("%d covers a finding without an id", covering)
	}
}

// TestExceptionMustMatchEverything checks that an exception does not apply if its pattern does not
// match one of the packages or files of a violation, or if the violation has none.
func TestExceptionMustMatchEverything(t *testing.T) {
	about := func(packages ...evidence.Package) (a About) {
		for i := range packages {
			a.Add(&packages[i])
		}
		return a
	}
	at := func(purl, path string) evidence.Package {
		return evidence.Package{PURL: purl, Found: []evidence.Location{{Path: path}}}
	}
	for name, test := range map[string]struct {
		e     Exception
		about About
		want  bool
	}{
		"no pattern":       {Exception{}, About{}, true},
		"package":          {Exception{Package: "pkg:npm/*"}, about(at("pkg:npm/a", "/a"), at("pkg:npm/b", "/b")), true},
		"one package":      {Exception{Package: "pkg:npm/a"}, about(at("pkg:npm/a", "/a"), at("pkg:npm/b", "/b")), false},
		"without package":  {Exception{Package: "pkg:npm/*"}, About{}, false},
		"zero purl":        {Exception{Package: "pkg:npm/*"}, One(match.PURL{}), false},
		"path":             {Exception{Path: "/srv/**"}, about(at("", "/srv/a"), at("", "/srv/b/c")), true},
		"one path":         {Exception{Path: "/srv/*"}, about(at("", "/srv/a"), at("", "/srv/b/c")), false},
		"without path":     {Exception{Path: "**"}, About{}, false},
		"package and path": {Exception{Package: "pkg:npm/a", Path: "/b"}, about(at("pkg:npm/a", "/a")), false},
	} {
		test.e.Rule, test.e.Expires = "r", now.Add(1)
		covering, _ := New([]Exception{test.e}, "a", now).Rule("r", test.about)
		if (covering == 0) != test.want {
			t.Errorf("%s: %d", name, covering)
		}
	}
}

func TestPathThatCanNeverMatchIsRefused(t *testing.T) {
	for path, ok := range map[string]bool{
		"/srv/*.jar": true, "**/a": true, "/a/**/b": true,
		"srv/a": false, "/srv/": false, "/a//b": false, "/a/../b": false, "/a/./b": false, "/[": false, "": false,
	} {
		if err := CheckPath(path); (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}
