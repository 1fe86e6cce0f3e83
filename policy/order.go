package policy

import (
	"cmp"
	"slices"
	"strings"
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
func sortedPlatforms(platforms []Platform) []*Platform {
	order := pointers(platforms)
	slices.SortStableFunc(order, func(a, b *Platform) int {
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
func compareFindings(a, b *Finding) int {
	if c := cmp.Compare(urgency(b.Severity), urgency(a.Severity)); c != 0 {
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

// urgency ranks an unknown severity above all others.
func urgency(s Severity) int {
	if s == SeverityUnknown {
		return 1 << 8
	}
	return int(s)
}

func comparePackages(a, b *Package) int {
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

func compareLocations(a, b Location) int {
	return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Layer, b.Layer))
}

func compareUnknowns(a, b *Unknown) int {
	return cmp.Or(
		compareLocations(a.Location, b.Location),
		strings.Compare(a.Cataloger, b.Cataloger),
		strings.Compare(a.Reason, b.Reason),
	)
}

// compareUnmatched puts entries about the whole image before entries about packages.
func compareUnmatched(a, b *Unmatched) int {
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
