package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// advisoryCounts describes how many advisories the database has for the image. It returns "" if the
// counts are unknown.
func advisoryCounts(all []evidence.Advisories) string {
	parts := make([]string, len(all))
	for i, a := range all {
		parts[i] = advisoryCount(a)
	}
	return strings.Join(parts, ", ")
}

func advisoryCount(a evidence.Advisories) string {
	n := thousands(a.Count)
	if a.AtLeast {
		n = "more than " + n
	}
	if a.ByCPE {
		n += " by CPE"
	}
	return n + " for " + short(a.Of())
}

// A complete database has more advisories than these limits for every distribution and package
// type.
const (
	fewForDistribution = 100
	fewForType         = 10
)

// fewAdvisories names the distributions and package types that have suspiciously few advisories in
// the database. It returns "" if there are none.
func fewAdvisories(all []evidence.Advisories) string {
	var few []string
	for _, a := range all {
		least := fewForType
		if a.Distribution != "" {
			least = fewForDistribution
		}
		if a.Count < least {
			few = append(few, advisoryCount(a))
		}
	}
	return strings.Join(few, ", ")
}

// thousands formats 31204 as 31,204.
func thousands(n int) string {
	s := strconv.Itoa(max(n, 0))
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// severeUnmatched describes how many findings of high, critical or unknown severity no rule
// matched. It returns "" if there are none.
func severeUnmatched(d policy.Decision) string {
	merged := slices.DeleteFunc(unmatchedByRules(d), func(i Item) bool {
		return i.Finding.Severity < evidence.SeverityHigh && i.Finding.Severity != evidence.SeverityUnknown
	})
	if len(merged) == 0 {
		return ""
	}
	counts := severities(merged)
	if at := strings.LastIndex(counts, ", "); at >= 0 {
		counts = counts[:at] + " and " + counts[at+len(", "):]
	}
	if len(merged) == 1 {
		return counts + " finding matches no rule"
	}
	return counts + " findings match no rule"
}
