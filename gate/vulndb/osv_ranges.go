package vulndb

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/name"
	"github.com/anchore/grype/grype/version"
)

// maxVersions is the maximum number of single versions that one package may list.
const maxVersions = 10_000

// handle converts one affected package to a database row with the affected version ranges.
func (a osvAffected) handle(cves []string, state provider.State) (*v6.AffectedPackageHandle, error) {
	if a.Package.Name == "" || a.Package.Ecosystem == "" {
		return nil, errors.New("the package has no name or no ecosystem")
	}
	eco, err := lookupEcosystem(a.Package.Ecosystem, state)
	if err != nil {
		return nil, err
	}
	ranges, err := a.windows(eco)
	if err != nil {
		return nil, fmt.Errorf("package %q: %w", a.Package.Name, err)
	}
	return &v6.AffectedPackageHandle{
		OperatingSystem: eco.system,
		Package:         &v6.Package{Ecosystem: string(eco.typ), Name: name.Normalize(a.Package.Name, eco.typ)},
		BlobValue:       &v6.PackageBlob{CVEs: cves, Ranges: ranges},
	}, nil
}

// windows converts the affected versions of a package to ranges. A version is affected if any range
// contains it.
func (a osvAffected) windows(eco *ecosystem) ([]v6.Range, error) {
	var out []v6.Range
	for i, r := range a.Ranges {
		if r.Type == "GIT" {
			// Commits are not package versions. OSV documents list commits in addition to versions.
			// A document that lists only commits is refused below.
			continue
		}
		if r.Type != "SEMVER" && r.Type != "ECOSYSTEM" {
			return nil, fmt.Errorf("ranges[%d]: invalid type %q: expected SEMVER, ECOSYSTEM or GIT", i, r.Type)
		}
		windows, err := r.windows(eco)
		if err != nil {
			return nil, fmt.Errorf("ranges[%d]: %w", i, err)
		}
		out = append(out, windows...)
	}
	single, err := a.singleVersions(eco, out)
	if err != nil {
		return nil, err
	}
	if out = append(out, single...); len(out) == 0 {
		return nil, errors.New("the record lists no affected versions that can be compared")
	}
	return out, nil
}

// bound is one event of an OSV range, such as "introduced" or "fixed", with its version.
type bound struct {
	version *version.Version // nil means the start of the range, before all versions
	kind    boundKind
}

type boundKind int

// The events of a range are sorted by version. Events at the same version are sorted in the order
// of these constants.
const (
	fixed boundKind = iota
	introduced
	lastAffected
)

// windows converts the events of a range to version ranges, as OSV defines: in the order of
// versions, "introduced" opens a range, and "fixed" or "last_affected" closes it.
func (r osvRange) windows(eco *ecosystem) ([]v6.Range, error) {
	bounds, err := r.bounds(eco)
	if err != nil {
		return nil, err
	}
	var (
		out  []v6.Range
		from bound
		open bool
		shut = func(upper string, fix *v6.Fix) {
			var parts []string
			if from.version != nil {
				parts = append(parts, ">= "+from.version.Raw)
			}
			if upper != "" {
				parts = append(parts, upper)
			}
			out = append(out, v6.Range{
				Version: v6.Version{Type: eco.format, Constraint: strings.Join(parts, ", ")},
				Fix:     fix,
			})
			open = false
		}
	)
	for _, b := range bounds {
		switch {
		case b.kind == introduced && !open:
			from, open = b, true
		case b.kind == fixed && open:
			shut("< "+b.version.Raw, &v6.Fix{Version: b.version.Raw, State: v6.FixedStatus})
		case b.kind == lastAffected && open:
			// The event "last_affected" closes the range. Later versions are not affected, but the
			// document does not name the fixed version.
			shut("<= "+b.version.Raw, nil)
		case b.kind != introduced:
			return nil, fmt.Errorf("version %q ends a range that was not introduced", b.version.Raw)
		}
	}
	if open {
		shut("", &v6.Fix{State: v6.NotFixedStatus})
	}
	if len(out) == 0 {
		return nil, errors.New("the range has no event that introduces a version")
	}
	return out, nil
}

// bounds returns the events of the range, sorted by version.
func (r osvRange) bounds(eco *ecosystem) ([]bound, error) {
	var out []bound
	for i, e := range r.Events {
		var (
			b   bound
			raw string
			n   int
		)
		for _, field := range []struct {
			value string
			kind  boundKind
		}{{e.Introduced, introduced}, {e.Fixed, fixed}, {e.LastAffected, lastAffected}} {
			if field.value != "" {
				b.kind, raw = field.kind, field.value
				n++
			}
		}
		if e.Limit != "" || n != 1 {
			return nil, fmt.Errorf("events[%d]: expected one of introduced, fixed and last_affected", i)
		}
		if raw != "0" || b.kind != introduced {
			v, err := eco.parse(raw)
			if err != nil {
				return nil, fmt.Errorf("events[%d]: %w", i, err)
			}
			b.version = v
		}
		out = append(out, b)
	}
	var failed error
	slices.SortStableFunc(out, func(x, y bound) int {
		switch {
		case x.version == nil && y.version == nil:
			return 0
		case x.version == nil:
			return -1
		case y.version == nil:
			return 1
		}
		n, err := x.version.Compare(y.version)
		if err != nil && failed == nil {
			failed = err
		}
		if n == 0 {
			n = int(x.kind) - int(y.kind)
		}
		return n
	})
	return out, failed
}

// singleVersions returns ranges for the listed versions that the other ranges do not contain.
func (a osvAffected) singleVersions(eco *ecosystem, ranges []v6.Range) ([]v6.Range, error) {
	if len(a.Versions) > maxVersions {
		return nil, fmt.Errorf("the package lists more than %d versions", maxVersions)
	}
	var held []version.Constraint
	for _, r := range ranges {
		c, err := version.GetConstraint(r.Version.Constraint, eco.parsed())
		if err != nil {
			return nil, err
		}
		held = append(held, c)
	}
	var out []v6.Range
	for _, raw := range a.Versions {
		v, err := eco.parse(raw)
		if err != nil {
			return nil, err
		}
		known := false
		for _, c := range held {
			in, err := c.Satisfied(v)
			if err != nil {
				return nil, err
			}
			known = known || in
		}
		if !known {
			out = append(out, v6.Range{Version: v6.Version{Type: eco.format, Constraint: "= " + raw}})
		}
	}
	return out, nil
}
