// Package match matches the packages of an SBOM against the vulnerability database.
//
// Its only function, [SBOM], returns the findings and everything that limits their meaning:
// packages that cannot be matched, files that could not be read, and the number of advisories in
// the database. It does not read the image.
package match

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/anchore/grype/grype"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/matcher/dpkg"
	"github.com/anchore/grype/grype/matcher/golang"
	"github.com/anchore/grype/grype/matcher/java"
	"github.com/anchore/grype/grype/matcher/rpm"
	"github.com/anchore/grype/grype/matcher/stock"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/artifact"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Result is the result of matching one SBOM against the database.
type Result struct {
	Findings []evidence.Finding
	// Unmatched lists the packages that the matchers could not match, each with the reason.
	Unmatched []evidence.Unmatched
	// Unknowns lists the files that the catalogers could not read. Class states whether the
	// advisories of the distribution cover them.
	Unknowns []evidence.Unknown
	// Suppressed lists the matches that do not count as findings, each with the reason.
	Suppressed []evidence.Suppressed
	// Distribution is the distribution of the SBOM with its end of life, if known.
	Distribution evidence.Distribution
	// Advisories has the numbers of advisories in the database that are relevant for these
	// packages.
	Advisories []evidence.Advisories
}

// SBOM matches an SBOM against the database. If grype only logs or ignores a problem, SBOM returns
// an error or adds an entry to Unmatched. Otherwise an unreadable database, an unknown distribution
// and an incomparable version would all look like "no findings".
func SBOM(ctx context.Context, db *vulndb.DB, s *catalog.SBOM) (*Result, error) {
	if err := s.Load(); err != nil {
		return nil, err
	}
	release := s.Syft().Artifacts.LinuxDistribution
	d := distro.FromRelease(release, distro.DefaultFixChannels())
	pkgs := matchablePackages(s, d)

	if err := db.Preload(ctx, searchedNames(db.Provider(), pkgs)); err != nil {
		return nil, err
	}

	m := grype.VulnerabilityMatcher{
		VulnerabilityProvider:      db.Provider(),
		Matchers:                   strictMatchers(),
		IncludeMatcherSuppressions: true,
	}
	description := s.Syft().Source
	found, dropped, err := m.FindMatchesContext(ctx, pkgs, pkg.Context{Source: &description, Distro: d})
	if err != nil {
		return nil, fmt.Errorf("matching the packages of %s: %w", s.Digest, err)
	}
	// If the context is canceled, grype stops matching early and returns no error.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := db.Err(); err != nil {
		return nil, fmt.Errorf("reading the vulnerability database while matching %s: %w", s.Digest, err)
	}

	out := &Result{Findings: []evidence.Finding{}, Suppressed: []evidence.Suppressed{}, Distribution: s.Distribution}
	for _, one := range found.Sorted() {
		f, err := toFinding(one)
		if err != nil {
			return nil, err
		}
		if reason := kernelHeaders(one); reason != "" {
			out.Suppressed = append(out.Suppressed, evidence.Suppressed{Finding: f, Reason: reason})
			continue
		}
		out.Findings = append(out.Findings, f)
	}
	for _, one := range dropped {
		f, err := toFinding(one.Match)
		if err != nil {
			return nil, err
		}
		out.Suppressed = append(out.Suppressed, evidence.Suppressed{Finding: f, Reason: ignoreReason(one)})
	}
	if err := out.addGaps(ctx, db, s, d, pkgs); err != nil {
		return nil, err
	}
	if d != nil {
		if out.Distribution.EndOfLife, err = db.EndOfLife(d); err != nil {
			return nil, fmt.Errorf("looking up the end of life of %s: %w", d, err)
		}
	}
	return out, nil
}

// searchedNames returns the names that the matchers search for: the names of the packages and of
// their source packages.
func searchedNames(provider vulnerability.Provider, pkgs []pkg.Package) []string {
	var names []string
	for _, p := range pkgs {
		names = append(names, provider.PackageSearchNames(p)...)
		for _, upstream := range pkg.UpstreamPackages(p) {
			names = append(names, provider.PackageSearchNames(upstream)...)
		}
	}
	return names
}

// matchablePackages converts syft's packages to grype's, as the grype command does. A package
// without a distribution gets the distribution of the image. Packages that duplicate a package of
// the distribution are removed.
func matchablePackages(s *catalog.SBOM, d *distro.Distro) []pkg.Package {
	ptrs := pkg.FromPackages(s.SyftPackages(), s.Syft().Relationships, pkg.SynthesisConfig{})
	for _, p := range ptrs {
		if p.Distro == nil {
			p.Distro = d
		}
	}
	return pkg.FromPtrs(slices.DeleteFunc(ptrs, ownedByDistribution))
}

// ownedByDistribution reports whether a package duplicates the distribution's package that
// installed its files, so that the advisories of that package apply. grype does not export this
// step (grype/pkg/package.go, removePackagesByOverlap); a test compares both.
func ownedByDistribution(p *pkg.Package) bool {
	return slices.ContainsFunc(p.RelatedPackages[artifact.OwnershipByFileOverlapRelationship], func(owner *pkg.Package) bool {
		if owner == nil || owner.Distro == nil {
			return false
		}
		// The names of the two packages can differ ("python" and "python3.11"). Their versions
		// differ only by the packager's suffix.
		if !strings.HasPrefix(owner.Version, p.Version) && !strings.HasPrefix(p.Version, owner.Version) {
			return false
		}
		if p.Type == syftpkg.BinaryPkg {
			return true
		}
		return listsUnfixed(owner.Distro) && catalog.IsOSPackage(owner.Type) && !catalog.IsOSPackage(p.Type)
	})
}

// listsUnfixed reports whether a distribution also publishes advisories for vulnerabilities that it
// has not fixed. Only then does a missing advisory mean that a package is not affected.
func listsUnfixed(d *distro.Distro) bool {
	if d.Type == distro.AmazonLinux { // os-release of Amazon Linux says that it is like RHEL, but its advisories cover only fixed vulnerabilities.
		return false
	}
	for _, known := range []distro.Type{distro.ArchLinux, distro.Azure, distro.Debian, distro.Mariner, distro.RedHat, distro.Ubuntu} {
		if strings.EqualFold(string(known), d.Name()) || slices.ContainsFunc(d.IDLike, func(like string) bool {
			return strings.EqualFold(string(known), like)
		}) {
			return true
		}
	}
	return false
}

// strictMatchers returns grype's matchers with the defaults of the grype command. No matcher uses
// the network or the current time, because results are cached. grype's option UseCPEsForEOL would use
// the time. Every error of a matcher is fatal.
func strictMatchers() []match.Matcher {
	all := matcher.NewDefaultMatchers(matcher.Config{
		Java:   java.MatcherConfig{ExternalSearchConfig: java.ExternalSearchConfig{SearchMavenUpstream: false}},
		Golang: golang.MatcherConfig{},
		Stock:  stock.MatcherConfig{UseCPEs: true},
		Dpkg:   dpkg.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyZero},
		Rpm:    rpm.MatcherConfig{MissingEpochStrategy: version.MissingEpochStrategyAuto},
	})
	for i, m := range all {
		all[i] = strictMatcher{m}
	}
	return all
}

// strictMatcher makes every error of a matcher fatal. For an error that is not fatal, grype returns
// fewer matches and a nil error.
type strictMatcher struct{ match.Matcher }

func (m strictMatcher) Match(vp vulnerability.Provider, p pkg.Package) ([]match.Match, []match.IgnoreFilter, error) {
	found, filters, err := m.Matcher.Match(vp, p)
	if err != nil && !match.IsFatalError(err) {
		err = match.NewFatalError(m.Type(), err)
	}
	return found, filters, err
}

func packageOf(p pkg.Package) evidence.Package {
	out := evidence.Package{Name: p.Name, Version: p.Version, Type: string(p.Type), PURL: p.PURL}
	for _, l := range p.Locations.ToSlice() {
		out.Found = append(out.Found, evidence.Location{Path: l.RealPath, Layer: l.FileSystemID})
	}
	return out
}

func toFinding(m match.Match) (evidence.Finding, error) {
	v := m.Vulnerability
	f := evidence.Finding{
		ID:        v.ID,
		Package:   packageOf(m.Package),
		Namespace: v.Namespace,
		FixState:  fixState(v.Fix.State),
		Fixes:     fixes(v.Fix),
		Published: vulndb.Published(v),
		Matched:   []evidence.Match{},
	}
	for _, related := range v.RelatedVulnerabilities {
		if related.ID != v.ID && !slices.Contains(f.Aliases, related.ID) {
			f.Aliases = append(f.Aliases, related.ID)
		}
	}
	slices.Sort(f.Aliases)
	if md := v.Metadata; md != nil {
		// Ignore the error: an invalid severity becomes unknown, which reaches every threshold of a
		// policy.
		f.Severity, _ = evidence.ParseSeverity(md.Severity)
		f.URL, f.Description = md.DataSource, md.Description
		for _, c := range md.Cvss {
			f.CVSS = append(f.CVSS, evidence.CVSS{Version: c.Version, Vector: c.Vector, Score: c.Metrics.BaseScore, Source: c.Source})
		}
		f.EPSS = highestEPSS(md.EPSS)
		f.KEV = earliestKEV(md.KnownExploited)
	}
	for _, d := range m.Details {
		one, err := toMatch(d)
		if err != nil {
			return f, fmt.Errorf("reading the details of the match of %s with package %s: %w", v.ID, m.Package.Name, err)
		}
		f.Matched = append(f.Matched, one)
	}
	return f, nil
}

func fixState(s vulnerability.FixState) evidence.FixState {
	switch s {
	case vulnerability.FixStateFixed:
		return evidence.FixAvailable
	case vulnerability.FixStateNotFixed:
		return evidence.FixNone
	case vulnerability.FixStateWontFix:
		return evidence.FixWont
	}
	return evidence.FixUnknown
}

// fixes returns the fixed versions, each with the first day that it was available.
func fixes(fix vulnerability.Fix) []evidence.Fix {
	var out []evidence.Fix
	for _, v := range fix.Versions {
		var first time.Time
		for _, a := range fix.Available {
			if a.Version == v && !a.Date.IsZero() && (first.IsZero() || a.Date.Before(first)) {
				first = a.Date
			}
		}
		out = append(out, evidence.Fix{Version: v, Available: first})
	}
	return out
}

func highestEPSS(all []vulnerability.EPSS) *evidence.EPSS {
	var out *evidence.EPSS
	for _, e := range all {
		if out == nil || e.EPSS > out.Score {
			out = &evidence.EPSS{Score: e.EPSS, Percentile: e.Percentile, Date: e.Date}
		}
	}
	return out
}

func earliestKEV(all []vulnerability.KnownExploited) *evidence.KEV {
	var out *evidence.KEV
	for _, k := range all {
		one := evidence.KEV{Ransomware: strings.EqualFold(k.KnownRansomwareCampaignUse, "known")}
		if k.DateAdded != nil {
			one.Added = *k.DateAdded
		}
		if k.DueDate != nil {
			one.Due = *k.DueDate
		}
		if out == nil {
			out = &one
			continue
		}
		out.Ransomware = out.Ransomware || one.Ransomware
		if one.Added.Before(out.Added) {
			out.Added, out.Due = one.Added, one.Due
		}
	}
	return out
}

func toMatch(d match.Detail) (evidence.Match, error) {
	out := evidence.Match{Type: string(d.Type), Matcher: string(d.Matcher)}
	switch found := d.Found.(type) {
	case match.DistroResult:
		out.Constraint = found.VersionConstraint
	case match.EcosystemResult:
		out.Constraint = found.VersionConstraint
	case match.CPEResult:
		out.Constraint = found.VersionConstraint
	default:
		return out, fmt.Errorf("unexpected type %T of the match detail", d.Found)
	}
	switch by := d.SearchedBy.(type) {
	case match.DistroParameters:
		out.Via = by.Package.Name + " " + by.Package.Version
	case match.EcosystemParameters:
		out.Via = by.Package.Name + " " + by.Package.Version
	case match.CPEParameters:
		out.Via = strings.Join(by.CPEs, " ")
	}
	if d.Type == match.ExactDirectMatch {
		out.Via = ""
	}
	return out, nil
}

// kernelHeaderNames match the names of packages that have the kernel's version but contain none of
// its code, by package type. The grype command drops their findings with ignore rules. imagegate
// does not use those rules, because they can hide more than intended.
var kernelHeaderNames = map[syftpkg.Type]*regexp.Regexp{
	syftpkg.RpmPkg: regexp.MustCompile(`^kernel-headers$`),
	syftpkg.DebPkg: regexp.MustCompile(`^(linux(-.*)?-headers-.*|linux-libc-dev|linux-kbuild-.*)$`),
}

// kernelHeaders returns the reason why a match on a package of kernel headers is suppressed, or "".
// Only matches through the kernel's source package are suppressed. An advisory that names the
// headers package itself still counts.
func kernelHeaders(m match.Match) string {
	names, ok := kernelHeaderNames[m.Package.Type]
	if !ok || !names.MatchString(m.Package.Name) || len(m.Details) == 0 {
		return ""
	}
	for _, d := range m.Details {
		if d.Type != match.ExactIndirectMatch {
			return ""
		}
	}
	fromKernel := func(u pkg.UpstreamPackage) bool { return u.Name == "kernel" || strings.HasPrefix(u.Name, "linux") }
	if !slices.ContainsFunc(m.Package.Upstreams, fromKernel) {
		return ""
	}
	return "kernel vulnerabilities do not apply: the package contains only kernel headers"
}

func ignoreReason(m match.IgnoredMatch) string {
	var reasons []string
	for _, r := range m.AppliedIgnoreRules {
		reason := r.Reason
		if reason == "" {
			reason = "rule of the matcher"
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return strings.Join(reasons, "; ")
}
