package policy

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// soon is the time before its expiry when Lint begins to report an exception.
const soon = 30 * day

// Lint returns warnings about a valid policy, sorted by position. Parse reports errors. The
// warnings are about:
//
//   - exceptions that have expired or will within 30 days
//   - exceptions that name an unknown rule or add nothing
//   - image patterns that match no repository or are not in canonical form
//   - rules that can never decide about a finding, contradict another rule or add nothing to it
//   - grace periods that never apply, and sections without effect
func (p *Policy) Lint(now time.Time) []Problem {
	if p == nil {
		return nil
	}
	problems := p.lintLists()
	for _, s := range sections() {
		if s.lint != nil {
			problems = append(problems, s.lint(p)...)
		}
	}
	for _, list := range p.exceptionLists() {
		problems = append(problems, lintExceptions(list, now)...)
		problems = append(problems, lintRepeated(list, now)...)
	}
	sortProblems(problems)
	return problems
}

// lintRules checks the rules that ofInterest selects against all rules of p.
func (p *Policy) lintRules(ofInterest func(*Rule) bool) []Problem {
	var problems []Problem
	// A rule that blocks decides before one that warns, wherever it is in the file.
	ordered := slices.Clone(p.Rules)
	slices.SortStableFunc(ordered, func(a, b Rule) int { return cmp.Compare(a.Effect, b.Effect) })
	// Rules that never fire are left out of the comparison: the rule that covers them covers
	// everything that they would.
	var alive []rule
	for _, r := range compileRules(ordered) {
		if !ofInterest(r.Rule) {
			alive = append(alive, r)
			continue
		}
		if r.KEV && r.Grace > 0 {
			problems = append(problems, Problem{r.Position, fmt.Sprintf(
				"rule %q has a grace that never applies: known exploited vulnerabilities have no grace period", r.Name)})
		}
		if earlier := p.covering(alive, r); earlier != nil {
			why := "matches everything that it matches"
			if earlier.Effect != r.Effect && r.covers(earlier) {
				why = "has the same conditions and blocks"
			}
			problems = append(problems, Problem{r.Position, fmt.Sprintf(
				"rule %q never fires: rule %q on line %d %s", r.Name, earlier.Name, earlier.Position.Line, why)})
			continue
		}
		alive = append(alive, r)
	}
	return problems
}

// lintScopes checks every scope.
func (p *Policy) lintScopes() []Problem {
	var problems []Problem
	for i := range p.Images {
		problems = append(problems, p.lintScope(&p.Images[i])...)
	}
	return problems
}

// lintScope checks the additions of a scope. A rule without effect for these images may have an
// effect for others, so it is not reported.
func (p *Policy) lintScope(scope *Scope) []Problem {
	s := scoped{Policy: p}
	s.apply(scope)
	problems := s.lintRules(func(r *Rule) bool { return s.at[r.Position] != nil })
	problems = append(problems, p.lintListsOf(&s)...)
	for _, pattern := range scope.Match {
		if message := match.Advice("the scope", pattern); message != "" {
			problems = append(problems, Problem{scope.Position, message})
		}
	}
	return problems
}

// covering returns the first of rules that matches everything that r matches and decides no later.
func (p *Policy) covering(rules []rule, r rule) *rule {
	for i := range rules {
		a := &rules[i]
		if !a.covers(&r) {
			continue
		}
		// A rule that blocks still decides before one that warns during its grace period or with a
		// baseline.
		inherits := p.Baseline != InheritNothing && a.ids == nil && r.ids != nil
		if r.Effect == Warn || a.Grace <= r.Grace && !inherits {
			return a
		}
	}
	return nil
}

// covers reports whether r matches everything that b matches, as far as the two rules show.
func (r *rule) covers(b *rule) bool {
	// Every finding reaches the lowest named severity, so it equals no minimum.
	return max(r.Severity, evidence.SeverityNegligible) <= max(b.Severity, evidence.SeverityNegligible) &&
		(r.Fix == FixableAny || r.Fix == b.Fix) &&
		(!r.KEV || b.KEV) &&
		r.EPSS.Score <= b.EPSS.Score && r.EPSS.Percentile <= b.EPSS.Percentile &&
		r.CVSS <= b.CVSS &&
		r.Package.covers(b.Package) &&
		r.coversIDs(b)
}

func (c PackageCondition) covers(b PackageCondition) bool {
	covers := func(a, b string) bool { return a == "" || a == "*" || a == b }
	return covers(c.Type, b.Type) && covers(c.Name, b.Name) && covers(c.PURL, b.PURL)
}

func (r *rule) coversIDs(b *rule) bool {
	if r.ids == nil || b.ids == nil || len(b.ids) > len(r.ids) {
		return r.ids == nil
	}
	for id := range b.ids {
		if !r.ids[id] {
			return false
		}
	}
	return true
}

// lintVEX reports a vex section that cannot remove findings because a key is missing.
func lintVEX(r *VEXRule) []Problem {
	switch {
	case r.Position == Position{}:
		return nil
	case len(r.Accept) == 0:
		return []Problem{{r.Position, `"vex" removes no findings: it has no "accept"`}}
	case !r.Files && len(r.Signers) == 0:
		return []Problem{{r.Position, `"vex" removes no findings: it has neither "files" nor "signers"`}}
	}
	return nil
}

// lintExceptedRules checks the exceptions that name a rule.
func (p *Policy) lintExceptedRules() []Problem {
	var problems []Problem
	vulnerabilities, others := map[string]bool{}, map[string]bool{}
	for _, name := range builtInRules {
		others[name] = true
	}
	p.ruleNames(vulnerabilities, others)
	for i := range p.Images {
		p.Images[i].Policy.ruleNames(vulnerabilities, others)
	}
	for _, e := range slices.Concat(p.exceptionLists()...) {
		switch {
		case e.Package != "" && slices.Contains(builtInRules, e.Rule) && !slices.Contains(pathRules, e.Rule):
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for rule %q covers nothing: that rule is not about packages", e.Rule)})
		case e.Rule == "" || others[e.Rule]:
		case vulnerabilities[e.Rule]:
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for rule %q covers nothing: that rule is about vulnerabilities, which are excepted by id", e.Rule)})
		case slices.Contains(strictRules, e.Rule):
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for rule %q covers nothing: no exception covers that built-in rule", e.Rule)})
		default:
			problems = append(problems, Problem{e.Position, fmt.Sprintf("the exception for rule %q covers nothing: there is no such rule", e.Rule)})
		}
	}
	return problems
}

// ruleNames collects the names of the rules about vulnerabilities, and of the rules in all other
// lists. A rule is an element with a name and a position.
func (p *Policy) ruleNames(vulnerabilities, others map[string]bool) {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		list := v.Field(i)
		if list.Kind() != reflect.Slice || list.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		element := list.Type().Elem()
		name, named := element.FieldByName("Name")
		if _, positioned := element.FieldByName("Position"); !named || !positioned {
			continue
		}
		for j := range list.Len() {
			names := others
			switch r := list.Index(j).Interface().(type) {
			case SignerRule:
				continue // a signer is not a rule
			case Rule:
				names = vulnerabilities
			case CustomRule:
				if r.Each == EachFinding {
					names = vulnerabilities
				}
			}
			names[list.Index(j).FieldByIndex(name.Index).String()] = true
		}
	}
}

func lintExceptions(list []Exception, now time.Time) []Problem {
	var problems []Problem
	for _, e := range list {
		switch left := e.Expires.Sub(now); {
		case left <= 0:
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for %s expired on %s: remove or renew it", e.subject(), formatTime(e.Expires))})
		case left <= soon:
			problems = append(problems, Problem{e.Position, fmt.Sprintf(
				"the exception for %s expires on %s, within %s", e.subject(), formatTime(e.Expires), formatDuration(soon))})
		}
		if e.Image == "" {
			continue
		}
		if message := match.Advice("the exception for "+e.subject(), e.Image); message != "" {
			problems = append(problems, Problem{e.Position, message})
		}
	}
	return problems
}
