// Package lint reports the parts of valid policies that have no effect or that need attention soon.
// [Policy] checks one policy, and [Set] checks several. A warning does not change a decision.
package lint

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/builtin"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// soon is how long before its expiry an exception is first reported.
const soon = 30 * 24 * time.Hour

// Policy returns warnings about a valid policy, sorted by position. policy.Parse reports errors.
// The warnings are about:
//
//   - exceptions that have expired or will within 30 days
//   - exceptions that name an unknown rule or add nothing
//   - image patterns that match no repository or are not in canonical form
//   - rules that can never decide about a finding, contradict another rule or add nothing to it
//   - grace periods that never apply, and sections without effect
func Policy(p *policy.Policy, now time.Time) []policy.Problem {
	if p == nil {
		return nil
	}
	problems := allLists(p)
	for _, check := range []func(*policy.Policy) []policy.Problem{
		unmatchedImages, distribution, rules, vex, exceptionsForRules, scopes, signers,
	} {
		problems = append(problems, check(p)...)
	}
	for _, list := range exceptionLists(p) {
		problems = append(problems, expiring(list, now)...)
		problems = append(problems, repeated(list, now)...)
	}
	sortProblems(problems)
	return problems
}

// Set returns the problems of every policy, sorted by position. It also reports a policy that has
// the same content as another one.
func Set(s policy.Set, now time.Time) []policy.Problem {
	var problems []policy.Problem
	files := map[string]string{}
	for _, p := range s {
		problems = append(problems, Policy(p, now)...)
		if p == nil || p.Digest == "" {
			continue
		}
		if file, ok := files[p.Digest]; ok {
			problems = append(problems, problem(policy.Position{File: p.File}, "the policy adds nothing: %q has the same content", file))
			continue
		}
		files[p.Digest] = p.File
	}
	sortProblems(problems)
	return problems
}

// exceptionLists returns the policy's own exceptions, then the exceptions of each scope.
func exceptionLists(p *policy.Policy) [][]policy.Exception {
	lists := [][]policy.Exception{p.Exceptions}
	for i := range p.Images {
		lists = append(lists, p.Images[i].Policy.Exceptions)
	}
	return lists
}

func problem(at policy.Position, format string, args ...any) policy.Problem {
	return policy.Problem{Position: at, Message: fmt.Sprintf(format, args...)}
}

func sortProblems(problems []policy.Problem) {
	slices.SortStableFunc(problems, func(a, b policy.Problem) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
		)
	})
}

// rules reports the rules without effect among the rules about findings.
func rules(p *policy.Policy) []policy.Problem {
	return rulesOf(p, func(*policy.Rule) bool { return true })
}

// rulesOf reports each rule that ofInterest selects and that has no effect because of another rule
// of p.
func rulesOf(p *policy.Policy, ofInterest func(*policy.Rule) bool) []policy.Problem {
	var problems []policy.Problem
	// A rule that blocks decides before one that warns, wherever it is in the file.
	ordered := slices.Clone(p.Rules)
	slices.SortStableFunc(ordered, func(a, b policy.Rule) int { return cmp.Compare(a.Effect, b.Effect) })
	// Do not compare later rules with a rule that never decides: the rule that covers it also
	// covers everything that it covers.
	var alive []rule
	for _, r := range withIDs(ordered) {
		if !ofInterest(r.Rule) {
			alive = append(alive, r)
			continue
		}
		if r.KEV && r.Grace > 0 {
			problems = append(problems, problem(r.Position, "rule %q has a grace period that never applies: known exploited vulnerabilities have no grace period", r.Name))
		}
		if earlier := covering(p, alive, r); earlier != nil {
			why := "matches everything that it matches"
			if earlier.Effect != r.Effect && r.covers(earlier) {
				why = "has the same conditions and blocks"
			}
			problems = append(problems, problem(r.Position, "rule %q never fires: rule %q on line %d %s", r.Name, earlier.Name, earlier.Position.Line, why))
			continue
		}
		alive = append(alive, r)
	}
	return problems
}

// scopes returns the problems of all scopes of a policy.
func scopes(p *policy.Policy) []policy.Problem {
	var problems []policy.Problem
	for i := range p.Images {
		problems = append(problems, scope(p, &p.Images[i])...)
	}
	return problems
}

// scope checks the rules that a scope adds or replaces. It does not report that other rules have no
// effect for the scope's images, because they may have an effect for other images.
func scope(p *policy.Policy, s *policy.Scope) []policy.Problem {
	// Copy the policy with this scope as its only scope, and let the scope match every image.
	scoped := *p
	scoped.Images = []policy.Scope{{Position: s.Position, Match: []string{"*"}, Keys: s.Keys, Policy: s.Policy}}
	merged, added := scoped.ForImage("registry.example/any"), additions(&s.Policy)
	problems := rulesOf(merged, func(r *policy.Rule) bool { return added[r.Position] })
	problems = append(problems, scopedLists(p, merged, added)...)
	for _, pattern := range s.Match {
		if message := match.Advice("the scope", pattern); message != "" {
			problems = append(problems, problem(s.Position, "%s", message))
		}
	}
	return problems
}

// additions returns the positions of the rules that a scope adds or replaces.
func additions(of *policy.Policy) map[policy.Position]bool {
	at := map[policy.Position]bool{}
	for i := range of.Rules {
		at[of.Rules[i].Position] = true
	}
	for i := range of.Packages {
		at[of.Packages[i].Position] = true
	}
	for i := range of.Licenses {
		at[of.Licenses[i].Position] = true
	}
	for i := range of.Image {
		at[of.Image[i].Position] = true
	}
	delete(at, policy.Position{})
	return at
}

// rule is a rule about findings with its ids in lower case. Nil ids match every id.
type rule struct {
	*policy.Rule
	ids map[string]bool
}

func withIDs(rules []policy.Rule) []rule {
	out := make([]rule, len(rules))
	for i := range rules {
		out[i].Rule = &rules[i]
		if len(rules[i].IDs) > 0 {
			out[i].ids = map[string]bool{}
		}
		for _, id := range rules[i].IDs {
			out[i].ids[strings.ToLower(id)] = true
		}
	}
	return out
}

// covering returns the first rule in rules that always decides instead of r, or nil. Such a rule
// matches everything that r matches, and its grace period is not longer.
func covering(p *policy.Policy, rules []rule, r rule) *rule {
	for i := range rules {
		a := &rules[i]
		if !a.covers(&r) {
			continue
		}
		// Although a matches everything that r matches, r can still block while a only warns:
		// during a longer grace period of a, or because the baseline turns only a into a warning.
		inherits := p.Baseline != policy.InheritNothing && a.ids == nil && r.ids != nil
		if r.Effect == policy.Warn || a.Grace <= r.Grace && !inherits {
			return a
		}
	}
	return nil
}

// covers reports whether r matches everything that b matches. It compares the rules condition by
// condition, so it can return false although r matches everything that b matches.
func (r *rule) covers(b *rule) bool {
	// Every finding reaches the severity negligible, so negligible is equivalent to no minimum.
	return max(r.Severity, evidence.SeverityNegligible) <= max(b.Severity, evidence.SeverityNegligible) &&
		(r.Fix == policy.FixableAny || r.Fix == b.Fix) &&
		(!r.KEV || b.KEV) &&
		r.EPSS.Score <= b.EPSS.Score && r.EPSS.Percentile <= b.EPSS.Percentile &&
		r.CVSS <= b.CVSS &&
		coversPackage(r.Package, b.Package) &&
		r.coversIDs(b)
}

func coversPackage(c, b policy.PackageCondition) bool {
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

// vex reports a vex section that cannot remove findings because a key is missing.
func vex(p *policy.Policy) []policy.Problem {
	r := &p.VEX
	switch {
	case r.Position == policy.Position{}:
		return nil
	case len(r.Accept) == 0:
		return []policy.Problem{problem(r.Position, `"vex" removes no findings: it has no "accept"`)}
	case !r.Files && len(r.Signers) == 0:
		return []policy.Problem{problem(r.Position, `"vex" removes no findings: it has neither "files" nor "signers"`)}
	}
	return nil
}

// exceptionsForRules reports exceptions that name a rule and cover nothing.
func exceptionsForRules(p *policy.Policy) []policy.Problem {
	var problems []policy.Problem
	vulnerabilities, others := map[string]bool{}, map[string]bool{}
	for _, name := range builtin.Excepted {
		others[name] = true
	}
	ruleNames(p, vulnerabilities, others)
	for i := range p.Images {
		ruleNames(&p.Images[i].Policy, vulnerabilities, others)
	}
	for _, e := range slices.Concat(exceptionLists(p)...) {
		switch {
		case e.Package != "" && slices.Contains(builtin.Excepted, e.Rule) && !slices.Contains(builtin.Paths, e.Rule):
			problems = append(problems, problem(e.Position, "the exception for rule %q covers nothing: that rule is not about packages", e.Rule))
		case e.Rule == "" || others[e.Rule]:
		case vulnerabilities[e.Rule]:
			problems = append(problems, problem(e.Position, "the exception for rule %q covers nothing: that rule is about vulnerabilities, which are excepted by id", e.Rule))
		case slices.Contains(builtin.Strict, e.Rule):
			problems = append(problems, problem(e.Position, "the exception for rule %q covers nothing: no exception covers that built-in rule", e.Rule))
		default:
			problems = append(problems, problem(e.Position, "the exception for rule %q covers nothing: the policy has no such rule", e.Rule))
		}
	}
	return problems
}

// ruleNames adds the names of the rules about vulnerabilities to one set, and the names of all
// other rules to another. Every list element with a name and a position counts as a rule.
func ruleNames(p *policy.Policy, vulnerabilities, others map[string]bool) {
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
			case policy.SignerRule:
				continue // a signer has a name and a position, but is not a rule
			case policy.Rule:
				names = vulnerabilities
			case policy.CustomRule:
				if r.Each == policy.EachFinding {
					names = vulnerabilities
				}
			}
			names[list.Index(j).FieldByIndex(name.Index).String()] = true
		}
	}
}

func expiring(list []policy.Exception, now time.Time) []policy.Problem {
	var problems []policy.Problem
	for _, e := range list {
		switch left := e.Expires.Sub(now); {
		case left <= 0:
			problems = append(problems, problem(e.Position, "the exception for %s expired on %s: remove or renew it", e.Subject(), wording.Time(e.Expires)))
		case left <= soon:
			problems = append(problems, problem(e.Position, "the exception for %s expires on %s, within %s", e.Subject(), wording.Time(e.Expires), wording.Duration(soon)))
		}
		if e.Image == "" {
			continue
		}
		if message := match.Advice("the exception for "+e.Subject(), e.Image); message != "" {
			problems = append(problems, problem(e.Position, "%s", message))
		}
	}
	return problems
}

// signers reports signers whose issuer or subject matches everything.
func signers(p *policy.Policy) []policy.Problem {
	var problems []policy.Problem
	for _, r := range p.Signers {
		if onlyStars(r.Issuer) || onlyStars(r.Subject) {
			problems = append(problems, problem(r.Position, "signer %q matches too much: %s", r.Name, cmp.Or(starred("issuer", r.Issuer), starred("subject", r.Subject))))
		}
	}
	return problems
}

func onlyStars(s string) bool { return s != "" && strings.Trim(s, "*") == "" }

func starred(what, pattern string) string {
	if !onlyStars(pattern) {
		return ""
	}
	return "its " + what + " pattern matches everything"
}

// unmatchedImages reports a policy that denies every image because it has no scopes.
func unmatchedImages(p *policy.Policy) []policy.Problem {
	if p.UnmatchedImages != policy.UnmatchedDeny || len(p.Images) > 0 {
		return nil
	}
	return []policy.Problem{problem(policy.Position{File: p.File}, `"unmatchedImages: deny" denies every image: the policy has no "images"`)}
}
