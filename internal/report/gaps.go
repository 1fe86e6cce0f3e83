package report

import (
	"fmt"

	"github.com/imagegate/imagegate/policy"
)

// gaps counts the gaps in the evidence, regardless of the policy.
func (t text) gaps() {
	var unknowns, uncovered []string
	suppressed, judged := 0, 0
	for _, p := range t.Input.Platforms {
		for _, u := range p.Unknowns {
			if u.Class == policy.UnknownOwned {
				judged++
				continue
			}
			unknowns = append(unknowns, fmt.Sprintf("%s: %s (%s)", short(u.Path), short(u.Reason), short(p.Platform)))
		}
		for _, u := range p.Unmatched {
			if u.Reason.EvaluatedElsewhere() {
				judged++
				continue
			}
			uncovered = append(uncovered, fmt.Sprintf("%s: %s (%s)", unmatchedName(u), unmatchedReason(u), short(p.Platform)))
		}
		suppressed += len(p.Suppressed)
	}
	if len(unknowns)+len(uncovered)+suppressed+judged == 0 {
		return
	}
	t.section("Gaps in the evidence")
	t.blank()
	for _, g := range []struct {
		title string
		list  []string
	}{
		{"could not be read into the SBOM", unknowns},
		{"could not be matched", uncovered},
	} {
		if len(g.list) == 0 {
			continue
		}
		t.item(2, fmt.Sprintf("%d %s", len(g.list), g.title))
		for _, line := range g.list[:min(len(g.list), maxGaps)] {
			t.item(4, line)
		}
		if more := len(g.list) - maxGaps; more > 0 {
			t.item(4, fmt.Sprintf("and %d more: the JSON report has all of them", more))
		}
	}
	if judged > 0 {
		t.item(2, fmt.Sprintf("%s covered by the package that owns it: the JSON report has all of them", count(judged, "file")))
	}
	if suppressed > 0 {
		t.item(2, fmt.Sprintf("%s dropped by the matcher's own rules: the JSON report has all of them", count(suppressed, "match")))
	}
}

func unmatchedName(u policy.Unmatched) string {
	if u.Reason == policy.TypeNotInDatabase {
		return fmt.Sprintf("%d packages of type %s", u.Packages, short(u.Type))
	}
	if u.Package == nil {
		return "distribution"
	}
	return nameVersion(*u.Package)
}

func unmatchedReason(u policy.Unmatched) string {
	if u.Detail == "" {
		return short(string(u.Reason))
	}
	return short(string(u.Reason)) + ", " + short(u.Detail)
}
