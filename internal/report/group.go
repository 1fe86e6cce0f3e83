package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// orderedSet is a set of strings in insertion order.
type orderedSet struct {
	list []string
	seen map[string]bool
}

func (o *orderedSet) add(s string) {
	if s == "" || o.seen[s] {
		return
	}
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	o.seen[s] = true
	o.list = append(o.list, s)
}

// fixVersions joins the versions that fix a finding with " or ". It returns "" if no fix is
// available.
func fixVersions(f evidence.Finding) string {
	if f.FixState != evidence.FixAvailable {
		return ""
	}
	versions := make([]string, len(f.Fixes))
	for i, fix := range f.Fixes {
		versions[i] = short(fix.Version)
	}
	return strings.Join(versions, " or ")
}

// bySeverity orders issues with findings. Known exploited findings come first, then the others by
// severity, with unknown before critical, and by EPSS score. Ties are ordered by id and package.
func bySeverity(a, b Item) int {
	return cmp.Or(
		cmp.Compare(urgency(b.Finding), urgency(a.Finding)),
		cmp.Compare(epss(b.Finding), epss(a.Finding)),
		strings.Compare(a.Finding.ID, b.Finding.ID),
		strings.Compare(a.Finding.Package.Name, b.Finding.Package.Name),
	)
}

func urgency(f *evidence.Finding) int {
	level := int(f.Severity)
	if f.Severity == evidence.SeverityUnknown {
		level = int(evidence.SeverityCritical) + 1
	}
	if f.KEV != nil {
		level += 100
	}
	return level
}

func epss(f *evidence.Finding) float64 {
	if f.EPSS == nil {
		return 0
	}
	return f.EPSS.Score
}

// remedyGroup is a group of issues that are not findings, break the same rule and have the same
// remedy.
type remedyGroup struct {
	rule       string
	do         remedy.Instruction
	exceptions orderedSet
	issues     []Item
}

// causes are the kinds of violations that make the rest of the evidence unreliable. They are listed
// first, in this order. symptoms may be consequences of causes, and are listed last.
var (
	causes = []policy.Kind{policy.KindEvidence, policy.KindScope, policy.KindDatabase, policy.KindDistribution,
		policy.KindCoverage, policy.KindSBOM}
	symptoms = []policy.Kind{policy.KindPackage, policy.KindLicense, policy.KindImage, policy.KindProvenance,
		policy.KindCustom, policy.KindException}
)

// kindRank orders kinds: causes, findings, symptoms, unknown kinds.
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

func byRemedy(m *remedy.Advisor, issues []Item) []remedyGroup {
	sorted := slices.SortedStableFunc(slices.Values(issues), func(a, b Item) int { return cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)) })
	var out []remedyGroup
	index := map[[2]string]int{}
	for _, one := range sorted {
		do := m.Do(&one.Violation)
		key := [2]string{ruleText(one.Violation), do.Text}
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, remedyGroup{rule: key[0], do: do})
		}
		out[i].issues = append(out[i].issues, one)
		out[i].exceptions.add(m.Exception(&one.Violation))
	}
	return out
}

// ruleText returns the name of a violation's rule and its position in the policy.
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

// splitByFix separates issues into findings with a fix, findings without a fix, and all others. A
// violation of kind vulnerability that has no finding is in others, so that no issue is lost.
func splitByFix(issues []Item) (fixable, unfixable, others []Item) {
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
