package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/policy"
)

// issue is one violation as people count them: the same thing on several
// platforms, or at several paths, is one issue.
type issue struct {
	policy.Violation
	platforms ordered
	paths     ordered
}

// ordered is a set of strings in the order in which they came.
type ordered struct {
	list []string
	seen map[string]bool
}

func (o *ordered) add(s string) {
	if s == "" || o.seen[s] {
		return
	}
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	o.seen[s] = true
	o.list = append(o.list, s)
}

// merge joins the violations that say the same, in the order of their first
// appearance.
func merge(violations []policy.Violation) []issue {
	var out []issue
	index := map[string]int{}
	for _, v := range violations {
		key := issueKey(v)
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			// What is gathered from the others must not be written into
			// the report's own slice.
			v.Expired = slices.Clone(v.Expired)
			out = append(out, issue{Violation: v})
		} else {
			for _, e := range v.Expired {
				if !slices.Contains(out[i].Expired, e) {
					out[i].Expired = append(out[i].Expired, e)
				}
			}
		}
		out[i].platforms.add(v.Platform)
		if v.Finding != nil {
			for _, l := range v.Finding.Package.Found {
				out[i].paths.add(l.Path)
			}
		}
	}
	return out
}

// issueKey is the same for violations that differ in platform and paths only.
func issueKey(v policy.Violation) string {
	parts := []string{string(v.Kind), v.Rule, v.Position.String(), v.Scope, v.Blocks.String()}
	if f := v.Finding; f != nil {
		parts = append(parts, f.ID, f.Severity.String(), strconv.FormatBool(f.KEV != nil),
			packageKey(f.Package), string(f.FixState), fixVersions(*f))
	} else {
		parts = append(parts, v.Message)
	}
	return fmt.Sprintf("%q", parts)
}

// packageKey leaves out the purl: its qualifiers name the architecture.
func packageKey(p policy.Package) string {
	return fmt.Sprintf("%q", []string{p.Name, p.Version, p.Type})
}

// fixVersions joins the versions in which a finding is repaired; empty where
// there is none to upgrade to.
func fixVersions(f policy.Finding) string {
	if f.FixState != policy.FixAvailable {
		return ""
	}
	versions := make([]string, len(f.Fixes))
	for i, fix := range f.Fixes {
		versions[i] = short(fix.Version)
	}
	return strings.Join(versions, " or ")
}

// packageGroup is everything that was found in one version of one package.
type packageGroup struct {
	pkg    policy.Package
	issues []issue
	paths  ordered
	// target is the version to upgrade to; empty where no single one is known
	// to repair all.
	target string
}

// byPackage groups issues about findings, the gravest group and the gravest
// issue first.
func byPackage(issues []issue) []packageGroup {
	var out []packageGroup
	index := map[string]int{}
	for _, one := range issues {
		key := packageKey(one.Finding.Package)
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, packageGroup{pkg: one.Finding.Package})
		}
		out[i].issues = append(out[i].issues, one)
		for _, path := range one.paths.list {
			out[i].paths.add(path)
		}
	}
	for i := range out {
		slices.SortStableFunc(out[i].issues, graver)
		out[i].target = target(out[i].issues)
	}
	slices.SortStableFunc(out, func(a, b packageGroup) int {
		return cmp.Or(graver(a.issues[0], b.issues[0]),
			strings.Compare(a.pkg.Name, b.pkg.Name), strings.Compare(a.pkg.Version, b.pkg.Version))
	})
	return out
}

// graver orders issues about findings: known exploited first, then by
// severity, unknown before critical, then by the probability of exploitation.
// It leaves the identifier and package to break ties.
func graver(a, b issue) int {
	return cmp.Or(
		cmp.Compare(urgency(b.Finding), urgency(a.Finding)),
		cmp.Compare(epss(b.Finding), epss(a.Finding)),
		strings.Compare(a.Finding.ID, b.Finding.ID),
		strings.Compare(a.Finding.Package.Name, b.Finding.Package.Name),
	)
}

func urgency(f *policy.Finding) int {
	level := int(f.Severity)
	if f.Severity == policy.SeverityUnknown {
		level = int(policy.SeverityCritical) + 1
	}
	if f.KEV != nil {
		level += 100
	}
	return level
}

func epss(f *policy.Finding) float64 {
	if f.EPSS == nil {
		return 0
	}
	return f.EPSS.Score
}

// target is the version that repairs all of the issues: the one fix that they
// share, or the highest of their fixes where each has one and all are plain
// dotted numbers, which every ecosystem orders alike. Anything else is not
// guessed.
func target(issues []issue) string {
	first := fixVersions(*issues[0].Finding)
	same := true
	for _, i := range issues[1:] {
		same = same && fixVersions(*i.Finding) == first
	}
	if same {
		return first
	}
	best, bestNumbers := "", []uint64(nil)
	for _, i := range issues {
		if len(i.Finding.Fixes) != 1 {
			return ""
		}
		version := i.Finding.Fixes[0].Version
		numbers, ok := dotted(version)
		if !ok {
			return ""
		}
		if best == "" || slices.Compare(numbers, bestNumbers) > 0 {
			best, bestNumbers = short(version), numbers
		}
	}
	return best
}

// dotted reads "1.20.3" or "v1.20.3".
func dotted(version string) ([]uint64, bool) {
	var out []uint64
	for part := range strings.SplitSeq(strings.TrimPrefix(version, "v"), ".") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// adviceGroup is a run of issues that are not findings, break the same rule and
// have the same remedy.
type adviceGroup struct {
	rule       string
	do         instruction
	exceptions ordered
	issues     []issue
}

// causes are the kinds that make the rest of the evidence worthless. They are listed
// first, in this order, and symptoms last.
var (
	causes = []policy.Kind{policy.KindEvidence, policy.KindScope, policy.KindDatabase, policy.KindDistribution,
		policy.KindCoverage, policy.KindSBOM}
	symptoms = []policy.Kind{policy.KindPackage, policy.KindLicense, policy.KindImage, policy.KindProvenance,
		policy.KindCustom, policy.KindException}
)

// kindRank orders kinds: causes, findings, symptoms, and those that are not known.
func kindRank(k policy.Kind) int {
	if at := slices.Index(causes, k); at >= 0 {
		return at
	}
	if k == policy.KindVulnerability {
		return len(causes)
	}
	if at := slices.Index(symptoms, k); at >= 0 {
		return len(causes) + 1 + at
	}
	return len(causes) + 1 + len(symptoms)
}

func (m *remedier) byAdvice(issues []issue) []adviceGroup {
	sorted := slices.SortedStableFunc(slices.Values(issues), func(a, b issue) int { return cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)) })
	var out []adviceGroup
	index := map[[2]string]int{}
	for _, one := range sorted {
		do := m.do(&one.Violation)
		key := [2]string{ruleText(one.Violation), do.text}
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, adviceGroup{rule: key[0], do: do})
		}
		out[i].issues = append(out[i].issues, one)
		out[i].exceptions.add(m.exception(&one.Violation))
	}
	return out
}

// ruleText names the rule of a violation and where it stands.
func ruleText(v policy.Violation) string {
	where := positionText(v.Position)
	if v.Scope != "" {
		where += ", for images " + short(v.Scope)
	}
	return fmt.Sprintf("rule %s (%s)", short(v.Rule), where)
}

func positionText(p policy.Position) string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d", short(p.File), p.Line)
	case p.File != "":
		return short(p.File)
	}
	return "built in"
}

// split separates issues about findings that have a version to upgrade to,
// other findings, and the rest. A violation that calls itself a vulnerability
// and has no finding is in the rest, so that nothing is lost.
func split(issues []issue) (fixable, unfixable, others []issue) {
	for _, i := range issues {
		switch {
		case i.Finding == nil:
			others = append(others, i)
		case fixVersions(*i.Finding) != "":
			fixable = append(fixable, i)
		default:
			unfixable = append(unfixable, i)
		}
	}
	return fixable, unfixable, others
}
