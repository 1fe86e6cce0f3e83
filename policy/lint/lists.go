package lint

import (
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/spdx"
)

// lists checks the lists of rules about packages, licenses and images. Unlike rules about
// vulnerabilities, each of these rules decides on its own. lists reports rules that add nothing to
// another rule, and pairs of rules that no image can satisfy.
type lists struct {
	*policy.Policy
	// varying has the names of rules that scopes or exceptions change. Such a rule does not make
	// another rule redundant, because it may not apply to every image.
	varying map[string]bool
	// about reports whether a pair of rules must be compared.
	about    func(a, b policy.Position) bool
	problems []policy.Problem
}

// allLists checks the policy's own lists of rules, which apply to all images.
func allLists(p *policy.Policy) []policy.Problem {
	l := lists{Policy: p, varying: exceptedRules(p), about: func(_, _ policy.Position) bool { return true }}
	for i := range p.Images {
		ruleNames(&p.Images[i].Policy, l.varying, l.varying)
	}
	return l.lint()
}

// scopedLists checks the lists for the images of a scope. merged is the policy with the scope
// applied. added has the positions of the scope's rules: only pairs with such a rule are reported.
func scopedLists(p, merged *policy.Policy, added map[policy.Position]bool) []policy.Problem {
	l := lists{Policy: merged, varying: exceptedRules(p), about: func(a, b policy.Position) bool { return added[a] || added[b] }}
	return l.lint()
}

// exceptedRules returns the names of all rules that an exception names.
func exceptedRules(p *policy.Policy) map[string]bool {
	names := map[string]bool{}
	for _, e := range slices.Concat(exceptionLists(p)...) {
		if e.Rule != "" {
			names[e.Rule] = true
		}
	}
	return names
}

func (l *lists) lint() []policy.Problem {
	for i := range l.Packages {
		for j := range l.Packages {
			l.packages(i, j)
		}
	}
	for i := range l.Licenses {
		for j := range l.Licenses {
			l.licenses(&l.Licenses[i], &l.Licenses[j])
		}
	}
	for i := range l.Image {
		for j := range l.Image {
			l.image(i, j)
		}
	}
	return l.problems
}

func (l *lists) report(at, other policy.Position, format string, args ...any) {
	if l.about(at, other) {
		l.problems = append(l.problems, problem(at, format, args...))
	}
}

func (l *lists) addsNothing(name string, at policy.Position, by string, other policy.Position) {
	if !l.varying[by] {
		l.report(at, other, "rule %q adds nothing: rule %q on line %d matches everything that it matches", name, by, other.Line)
	}
}

// packages reports rule i if rule j denies the same packages, so that rule i adds nothing or no
// image can satisfy both rules.
func (l *lists) packages(i, j int) {
	r, deny := &l.Packages[i], &l.Packages[j]
	covers := func(pattern string) bool { return pattern != "" && match.CoversPURL(deny.Deny, pattern) }
	switch {
	case i == j || deny.Deny == "":
	case covers(r.Require):
		if r.Effect == policy.Block && deny.Effect == policy.Block && !l.varying[r.Name] && !l.varying[deny.Name] {
			l.report(r.Position, deny.Position, "rule %q requires packages that rule %q on line %d denies: no image satisfies both", r.Name, deny.Name, deny.Position.Line)
		}
	case deny.Effect > r.Effect:
	case covers(r.Minimum.PURL), covers(r.Deny) && (j < i || deny.Effect < r.Effect || !match.CoversPURL(r.Deny, deny.Deny)):
		l.addsNothing(r.Name, r.Position, deny.Name, deny.Position)
	}
}

// licenses reports the patterns that the rule allow allows although the rule deny denies every
// license that they match.
func (l *lists) licenses(allow, deny *policy.LicenseRule) {
	if len(allow.Allow) == 0 || len(deny.Deny) == 0 || deny.Effect != policy.Block || l.varying[deny.Name] ||
		deny.Package != "" && (allow.Package == "" || !match.CoversPURL(deny.Package, allow.Package)) {
		return
	}
	for _, pattern := range allow.Allow {
		if spdx.Denies(deny.Deny, pattern) {
			l.report(allow.Position, deny.Position, "rule %q allows %q, which rule %q on line %d denies", allow.Name, pattern, deny.Name, deny.Position.Line)
		}
	}
}

// image reports rule i if rule j has the same condition and is at least as strict.
func (l *lists) image(i, j int) {
	r, other := &l.Image[i], &l.Image[j]
	if i == j || other.Effect > r.Effect || !coversImage(other, r) {
		return
	}
	if j < i || other.Effect < r.Effect || !coversImage(r, other) {
		l.addsNothing(r.Name, r.Position, other.Name, other.Position)
	}
}

// coversImage reports whether every image that violates other violates r.
func coversImage(r, other *policy.ImageRule) bool {
	switch {
	case r.NotRoot:
		return other.NotRoot
	case r.NoSecrets:
		return other.NoSecrets
	case r.NotLatest:
		return other.NotLatest
	case r.MaxAge > 0:
		return r.MaxAge <= other.MaxAge
	case r.MaxSize > 0:
		return r.MaxSize <= other.MaxSize
	case r.MaxLayers > 0:
		return r.MaxLayers <= other.MaxLayers
	case r.Labels != nil:
		return other.Labels != nil && subset(other.Labels, r.Labels)
	case r.Ports != nil:
		return other.Ports != nil && subset(r.Ports, other.Ports)
	case r.Base != nil:
		return other.Base != nil && subset(r.Base, other.Base)
	}
	return false
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// distribution reports a policy that sets "notAllowed" without "allow".
func distribution(p *policy.Policy) []policy.Problem {
	const message = `"notAllowed" has no effect without "allow"`
	allowed := p.Distribution.Allow != nil
	var problems []policy.Problem
	for i := range p.Images {
		scope := &p.Images[i]
		own := slices.Contains(scope.Keys, "distribution.allow")
		allowed = allowed || own
		if slices.Contains(scope.Keys, "distribution.notAllowed") && !own && p.Distribution.Allow == nil {
			problems = append(problems, problem(scope.Policy.Distribution.Position, "%s", message))
		}
	}
	if !allowed && p.Distribution.NotAllowed != policy.Block {
		problems = append(problems, problem(p.Distribution.Position, "%s", message))
	}
	return problems
}

// repeated reports exceptions in a list that add nothing to another exception. It skips expired
// exceptions, which the function expiring reports.
func repeated(list []policy.Exception, now time.Time) []policy.Problem {
	var problems []policy.Problem
	bySubject := map[string][]int{}
	for i := range list {
		if e := &list[i]; now.Before(e.Expires) {
			subject := strings.ToLower(e.ID) + "\x00" + e.Rule
			bySubject[subject] = append(bySubject[subject], i)
		}
	}
	for _, same := range bySubject {
		for _, i := range same {
			j := slices.IndexFunc(same, func(j int) bool {
				return i != j && coversException(&list[j], &list[i]) && (j < i || !coversException(&list[i], &list[j]))
			})
			if j >= 0 {
				problems = append(problems, problem(list[i].Position, "the exception for %s adds nothing: the exception at %s covers as much and expires no earlier", list[i].Subject(), list[same[j]].Position))
			}
		}
	}
	return problems
}

// coversException reports whether e covers everything that other covers, for at least as long. Both
// must have the same id or rule.
func coversException(e, other *policy.Exception) bool {
	return (e.Package == "" || other.Package != "" && match.CoversPURL(e.Package, other.Package)) &&
		(e.Path == "" || e.Path == other.Path) &&
		(e.Image == "" || other.Image != "" && match.CoversImages(e.Image, other.Image)) &&
		!e.Expires.Before(other.Expires)
}
