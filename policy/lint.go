package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// soon is how long before its expiry Lint begins to mention an exception.
const soon = 30 * day

// Lint returns what is valid and yet dead or about to be, sorted by position:
// exceptions that have expired at now or will within 30 days, image patterns
// that match no repository, and rules that can never decide about a finding.
// They are warnings; what makes a policy invalid is an error of Parse.
func (p *Policy) Lint(now time.Time) []Problem {
	if p == nil {
		return nil
	}
	problems := append(lintRules(p.Rules), lintExceptions(p.Exceptions, now)...)
	sortProblems(problems)
	return problems
}

func lintRules(rules []Rule) []Problem {
	var problems []Problem
	// A rule that blocks goes before one that warns wherever it stands.
	ordered := slices.Clone(rules)
	slices.SortStableFunc(ordered, func(a, b Rule) int { return cmp.Compare(a.Effect, b.Effect) })
	// Rules that never fire are not compared with: what covers them covers all
	// that they would. So few are left that this is linear.
	var alive []Rule
	for _, r := range ordered {
		if earlier := covering(alive, r); earlier != nil {
			problems = append(problems, Problem{r.Position, fmt.Sprintf(
				"rule %q never fires: rule %q on line %d matches everything that it does",
				r.Name, earlier.Name, earlier.Position.Line)})
			continue
		}
		alive = append(alive, r)
	}
	return problems
}

// covering returns the first of rules that matches all that r does.
func covering(rules []Rule, r Rule) *Rule {
	for i, a := range rules {
		// The least named severity is reached by all findings, as is none.
		reaches := max(a.Severity, SeverityNegligible) <= max(r.Severity, SeverityNegligible)
		if reaches && (a.Fix == FixableAny || a.Fix == r.Fix) {
			return &rules[i]
		}
	}
	return nil
}

func lintExceptions(list []Exception, now time.Time) []Problem {
	var problems []Problem
	for _, e := range list {
		switch left := e.Expires.Sub(now); {
		case left <= 0:
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for %q expired on %s: remove or renew it", e.ID, formatTime(e.Expires))})
		case left <= soon:
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for %q expires on %s, within %s", e.ID, formatTime(e.Expires), formatDuration(soon))})
		}
		if name := e.Image[strings.LastIndexByte(e.Image, '/')+1:]; strings.ContainsAny(name, ":@") {
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for %q has a tag or digest in its image pattern %q, which is compared with the repository alone",
				e.ID, e.Image)})
		}
	}
	return problems
}
