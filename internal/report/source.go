package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// source is one version of a source package, with the findings of all packages built from it.
// Upgrading the source package fixes them together.
type source struct {
	name   string
	pkg    evidence.Package // one of the packages
	names  orderedSet       // the names of all packages
	issues []Item
	// target is the lowest version that fixes every issue. It is empty if an issue has no fix, or
	// if the versions cannot be compared.
	target string
	// newest is a version of a newer Go release line that also fixes every issue. Only the Go
	// standard library has it, because a program rarely depends on one release line.
	newest string
}

// bySource groups issues with findings by source package. The most severe source package comes
// first, and in it the most severe issue.
func bySource(issues []Item) []source {
	return group(issues, func(f *evidence.Finding) (key, name string) {
		name = sourceName(f)
		return name, name
	})
}

// byPackage groups issues with findings by package, in the same order as bySource.
func byPackage(issues []Item) []source {
	return group(issues, func(f *evidence.Finding) (key, name string) { return f.Package.Name, f.Package.Name })
}

// group groups issues with findings by key, and by the version and type of their package.
func group(issues []Item, key func(*evidence.Finding) (key, name string)) []source {
	var out []source
	index := map[[3]string]int{}
	for _, one := range issues {
		f := one.Finding
		k, name := key(f)
		at, ok := index[[3]string{k, f.Package.Version, f.Package.Type}]
		if !ok {
			at = len(out)
			index[[3]string{k, f.Package.Version, f.Package.Type}] = at
			out = append(out, source{name: name, pkg: f.Package})
		}
		out[at].issues = append(out[at].issues, one)
		out[at].names.add(f.Package.Name)
	}
	for i := range out {
		slices.SortStableFunc(out[i].issues, bySeverity)
		findings := make([]*evidence.Finding, len(out[i].issues))
		for at := range out[i].issues {
			findings[at] = out[i].issues[at].Finding
		}
		out[i].target, out[i].newest = remedy.Targets(out[i].pkg, findings)
	}
	slices.SortStableFunc(out, func(a, b source) int {
		return cmp.Or(bySeverity(a.issues[0], b.issues[0]), strings.Compare(a.name, b.name), strings.Compare(a.pkg.Version, b.pkg.Version))
	})
	return out
}

// sourceName returns the name of the source package through which a finding was matched, such as
// "openssl" for libssl3. If the package was matched directly, it returns the package's own name.
func sourceName(f *evidence.Finding) string {
	for _, m := range f.Matched {
		if name, _, _ := strings.Cut(m.Via, " "); m.Type == "exact-indirect-match" && name != "" {
			return name
		}
	}
	return f.Package.Name
}

// title returns the name of the package, with the name of its source package if that differs. The
// upgrade commands name every package.
func (s *source) title() string {
	names := s.names.list
	others := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == s.name })
	switch {
	case len(names) == 1:
		return short(names[0])
	case len(others) == 0:
		return short(s.name)
	}
	title := short(s.name) + " (" + short(others[0])
	if more := len(others) - 1; more > 0 {
		title += ", +" + strconv.Itoa(more)
	}
	return title + ")"
}

// upgradeTo returns the version or versions to upgrade to, as part of a sentence.
func (s *source) upgradeTo() string {
	switch {
	case s.target == "":
		return ""
	case s.newest != "":
		return short(s.target) + " or " + short(s.newest)
	}
	return short(s.target)
}
