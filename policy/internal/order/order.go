// Package order sorts evidence. The order of the input must have no influence on a decision.
package order

import (
	"cmp"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Sorted returns a sorted copy of s.
func Sorted[T any](s []T, compare func(a, b *T) int) []T {
	order := Pointers(s)
	slices.SortStableFunc(order, compare)
	out := make([]T, len(s))
	for i, p := range order {
		out[i] = *p
	}
	return out
}

// Platforms returns pointers to the platforms in sorted order.
func Platforms(platforms []evidence.Platform) []*evidence.Platform {
	order := Pointers(platforms)
	slices.SortStableFunc(order, func(a, b *evidence.Platform) int {
		return cmp.Or(strings.Compare(a.Platform, b.Platform), strings.Compare(a.Digest, b.Digest))
	})
	return order
}

// Pointers returns pointers to the elements of s.
func Pointers[T any](s []T) []*T {
	out := make([]*T, len(s))
	for i := range s {
		out[i] = &s[i]
	}
	return out
}

// CompareFindings puts the highest severity first. It compares everything that distinguishes two
// findings, so that the result does not depend on the order of the input.
func CompareFindings(a, b *evidence.Finding) int {
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

// CompareUnknowns orders unreadable files by path, cataloger and reason.
func CompareUnknowns(a, b *evidence.Unknown) int {
	return cmp.Or(
		compareLocations(a.Location, b.Location),
		strings.Compare(a.Cataloger, b.Cataloger),
		strings.Compare(a.Reason, b.Reason),
	)
}

// CompareUnmatched puts entries about the whole image before entries about packages.
func CompareUnmatched(a, b *evidence.Unmatched) int {
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

// Packages returns pointers to the packages in sorted order.
func Packages(packages []evidence.Package) []*evidence.Package {
	order := Pointers(packages)
	slices.SortStableFunc(order, func(a, b *evidence.Package) int {
		return cmp.Or(comparePackages(a, b), slices.Compare(a.Licenses, b.Licenses))
	})
	return order
}

// CompareLazyIndexes orders by digest.
func CompareLazyIndexes(a, b *evidence.LazyIndex) int { return strings.Compare(a.Digest, b.Digest) }

// CompareSecrets orders by place and kind.
func CompareSecrets(a, b *evidence.Secret) int {
	return strings.Compare(a.Where+"\x00"+a.Kind, b.Where+"\x00"+b.Kind)
}

// CompareAdvisories puts distributions before package types.
func CompareAdvisories(a, b *evidence.Advisories) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Distribution, b.Distribution), cmp.Compare(a.Count, b.Count))
}

// CompareAttestations orders by digest, subject, type and signer.
func CompareAttestations(a, b *evidence.Attestation) int {
	return cmp.Or(
		strings.Compare(a.Digest, b.Digest),
		strings.Compare(a.Subject, b.Subject),
		strings.Compare(a.PredicateType, b.PredicateType),
		CompareSigners(&a.Signer, &b.Signer),
	)
}

// CompareSigners orders by the text of the signer. A nil signer comes first.
func CompareSigners(a, b *evidence.Signer) int {
	return strings.Compare(a.String(), b.String())
}
