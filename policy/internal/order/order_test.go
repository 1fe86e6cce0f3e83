package order

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestWorstFindingIsFirst(t *testing.T) {
	pkg := func(name, version string) evidence.Package { return evidence.Package{Name: name, Version: version} }
	want := []evidence.Finding{
		{ID: "b", Severity: evidence.SeverityUnknown},
		{ID: "a", Severity: evidence.SeverityCritical, Package: pkg("a", "1")},
		{ID: "a", Severity: evidence.SeverityCritical, Package: pkg("a", "2"), Namespace: "n"},
		{ID: "a", Severity: evidence.SeverityCritical, Package: pkg("a", "2"), Namespace: "o"},
		{ID: "a", Severity: evidence.SeverityCritical, Package: pkg("b", "1")},
		{ID: "b", Severity: evidence.SeverityCritical},
		{ID: "a", Severity: evidence.SeverityNegligible},
	}
	sorts(t, want, CompareFindings)
}

// TestWholeImageIsFirst checks that entries about the whole image, or about the distribution, come
// before entries about single packages.
func TestWholeImageIsFirst(t *testing.T) {
	sorts(t, []evidence.Unmatched{
		{Reason: evidence.NoDistribution},
		{Reason: evidence.TypeNotInDatabase, Type: "deb"},
		{Reason: evidence.TypeNotInDatabase, Type: "npm", Packages: 1},
		{Reason: evidence.TypeNotInDatabase, Type: "npm", Packages: 2},
		{Reason: evidence.VersionUnknown, Package: &evidence.Package{Name: "a"}},
		{Reason: evidence.VersionUnknown, Package: &evidence.Package{Name: "a"}, Detail: "d"},
		{Reason: evidence.MainModule, Package: &evidence.Package{Name: "b"}},
	}, CompareUnmatched)
	sorts(t, []evidence.Advisories{{Distribution: "debian 12"}, {Type: "deb"}, {Type: "npm", Count: 1}, {Type: "npm", Count: 2}}, CompareAdvisories)
}

func TestPlacesAndSigners(t *testing.T) {
	sorts(t, []evidence.Unknown{
		{Location: evidence.Location{Path: "/a"}},
		{Location: evidence.Location{Path: "/a", Layer: "l"}, Cataloger: "c"},
		{Location: evidence.Location{Path: "/a", Layer: "l"}, Cataloger: "c", Reason: "r"},
		{Location: evidence.Location{Path: "/b"}},
	}, CompareUnknowns)
	sorts(t, []evidence.Secret{{Where: "a", Kind: "b"}, {Where: "a", Kind: "c"}, {Where: "b", Kind: "a"}}, CompareSecrets)
	sorts(t, []evidence.LazyIndex{{Digest: "a"}, {Digest: "b"}}, CompareLazyIndexes)
	sorts(t, []*evidence.Signer{nil, {Subject: "a", Issuer: "i"}, {Key: "k"}}, func(a, b **evidence.Signer) int { return CompareSigners(*a, *b) })
	sorts(t, []evidence.Attestation{
		{Digest: "a"}, {Digest: "a", Subject: "s"}, {Digest: "a", Subject: "s", PredicateType: "p"},
		{Digest: "a", Subject: "s", PredicateType: "p", Signer: evidence.Signer{Key: "k"}}, {Digest: "b"},
	}, CompareAttestations)
}

// sorts checks that every rotation of want, forwards and backwards, sorts to want. The input must
// not change.
func sorts[T any](t *testing.T, want []T, compare func(a, b *T) int) {
	t.Helper()
	for i := range want {
		rotated := slices.Concat(want[i:], want[:i])
		for range 2 {
			before := slices.Clone(rotated)
			if diff := cmp.Diff(want, Sorted(rotated, compare)); diff != "" {
				t.Errorf("rotation %d: %s", i, diff)
			}
			if diff := cmp.Diff(before, rotated); diff != "" {
				t.Errorf("the input has changed: %s", diff)
			}
			slices.Reverse(rotated)
		}
	}
}

// TestPointersAreIntoTheList checks that Pointers returns pointers to the elements of the list, not
// to copies.
func TestPointersAreIntoTheList(t *testing.T) {
	packages := []evidence.Package{{Name: "b"}, {Name: "a", Licenses: []string{"MIT"}}, {Name: "a", Licenses: []string{"Apache-2.0"}}}
	if got := Packages(packages); got[0] != &packages[2] || got[1] != &packages[1] || got[2] != &packages[0] {
		t.Errorf("%+v", got)
	}
	platforms := []evidence.Platform{{Platform: "b"}, {Platform: "a", Digest: "2"}, {Platform: "a", Digest: "1"}}
	if got := Platforms(platforms); got[0] != &platforms[2] || got[1] != &platforms[1] || got[2] != &platforms[0] {
		t.Errorf("%+v", got)
	}
	if got := Pointers(platforms); got[0] != &platforms[0] || len(got) != 3 {
		t.Errorf("%+v", got)
	}
}
