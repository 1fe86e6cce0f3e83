package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// sorted returns a sorted copy of s.
func sorted[T any](s []T, compare func(a, b *T) int) []T {
	order := pointers(s)
	slices.SortStableFunc(order, compare)
	out := make([]T, len(s))
	for i, p := range order {
		out[i] = *p
	}
	return out
}

// sortedPlatforms returns pointers to the platforms in sorted order.
func sortedPlatforms(platforms []evidence.Platform) []*evidence.Platform {
	order := pointers(platforms)
	slices.SortStableFunc(order, func(a, b *evidence.Platform) int {
		return cmp.Or(strings.Compare(a.Platform, b.Platform), strings.Compare(a.Digest, b.Digest))
	})
	return order
}

func pointers[T any](s []T) []*T {
	out := make([]*T, len(s))
	for i := range s {
		out[i] = &s[i]
	}
	return out
}

// compareFindings puts the worst first. It compares everything that distinguishes two findings, so
// that the result does not depend on the order of the input.
func compareFindings(a, b *evidence.Finding) int {
	if c := b.Severity.Compare(a.Severity); c != 0 {
		return c
	}
	if c := strings.Compare(a.ID, b.ID); c != 0 {
		return c
	}
	if c := comparePackages(&a.Package, &b.Package); c != 0 {
		return c
	}
	return strings.Compare(a.Namespace, b.Namespace)
}

func comparePackages(a, b *evidence.Package) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	if c := strings.Compare(a.Version, b.Version); c != 0 {
		return c
	}
	if c := strings.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	if c := strings.Compare(a.PURL, b.PURL); c != 0 {
		return c
	}
	return slices.CompareFunc(a.Found, b.Found, compareLocations)
}

func compareLocations(a, b evidence.Location) int {
	return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Layer, b.Layer))
}

func compareUnknowns(a, b *evidence.Unknown) int {
	return cmp.Or(
		compareLocations(a.Location, b.Location),
		strings.Compare(a.Cataloger, b.Cataloger),
		strings.Compare(a.Reason, b.Reason),
	)
}

// compareUnmatched puts entries about the whole image before entries about packages.
func compareUnmatched(a, b *evidence.Unmatched) int {
	if (a.Package == nil) != (b.Package == nil) {
		if a.Package == nil {
			return -1
		}
		return 1
	}
	if a.Package != nil {
		if c := comparePackages(a.Package, b.Package); c != 0 {
			return c
		}
	}
	return cmp.Or(strings.Compare(string(a.Reason), string(b.Reason)), strings.Compare(a.Type, b.Type),
		cmp.Compare(a.Packages, b.Packages), strings.Compare(a.Detail, b.Detail))
}
