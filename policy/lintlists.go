package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/spdx"
)

// lists checks rules that decide independently, unlike rules about vulnerabilities. It reports
// rules that add nothing to another rule, and pairs that no image can satisfy.
type lists struct {
	*Policy
	// varying holds the names of rules that do not apply to all images. A rule that adds nothing to
	// them may add something for other images.
	varying map[string]bool
	// about reports whether a pair of rules must be checked.
	about    func(a, b Position) bool
	problems []Problem
}

// lintLists checks the lists that apply to all images.
func (p *Policy) lintLists() []Problem {
	l := lists{Policy: p, varying: p.exceptedRules(), about: func(Position, Position) bool { return true }}
	for i := range p.Images {
		p.Images[i].Policy.ruleNames(l.varying, l.varying)
	}
	return l.lint()
}

// lintListsOf checks the lists for some images, if a scope changes them.
func (p *Policy) lintListsOf(s *scoped) []Problem {
	l := lists{Policy: s.Policy, varying: p.exceptedRules(), about: func(a, b Position) bool { return s.at[a] != nil || s.at[b] != nil }}
	return l.lint()
}

// exceptedRules returns the names of all rules that exceptions name.
func (p *Policy) exceptedRules() map[string]bool {
	names := map[string]bool{}
	for _, e := range slices.Concat(p.exceptionLists()...) {
		if e.Rule != "" {
			names[e.Rule] = true
		}
	}
	return names
}

func (l *lists) lint() []Problem {
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

func (l *lists) problem(at, other Position, format string, args ...any) {
	if l.about(at, other) {
		l.problems = append(l.problems, Problem{at, fmt.Sprintf(format, args...)})
	}
}

func (l *lists) addsNothing(name string, at Position, by string, other Position) {
	if !l.varying[by] {
		l.problem(at, other, "rule %q adds nothing: rule %q on line %d matches everything that it matches", name, by, other.Line)
	}
}

// packages compares a rule with a rule that denies.
func (l *lists) packages(i, j int) {
	r, deny := &l.Packages[i], &l.Packages[j]
	covers := func(pattern string) bool { return pattern != "" && match.CoversPURL(deny.Deny, pattern) }
	switch {
	case i == j || deny.Deny == "":
	case covers(r.Require):
		if r.Effect == Block && deny.Effect == Block && !l.varying[r.Name] && !l.varying[deny.Name] {
			l.problem(r.Position, deny.Position, "rule %q requires packages that rule %q on line %d denies: no image satisfies both", r.Name, deny.Name, deny.Position.Line)
		}
	case deny.Effect > r.Effect:
	case covers(r.Minimum.PURL), covers(r.Deny) && (j < i || deny.Effect < r.Effect || !match.CoversPURL(r.Deny, deny.Deny)):
		l.addsNothing(r.Name, r.Position, deny.Name, deny.Position)
	}
}

// licenses compares a rule that allows with a rule that denies.
func (l *lists) licenses(allow, deny *LicenseRule) {
	if len(allow.Allow) == 0 || len(deny.Deny) == 0 || deny.Effect != Block || l.varying[deny.Name] ||
		deny.Package != "" && (allow.Package == "" || !match.CoversPURL(deny.Package, allow.Package)) {
		return
	}
	for _, pattern := range allow.Allow {
		if spdx.Denies(deny.Deny, pattern) {
			l.problem(allow.Position, deny.Position, "rule %q allows %q, which rule %q on line %d denies", allow.Name, pattern, deny.Name, deny.Position.Line)
		}
	}
}

// image compares two rules with the same condition.
func (l *lists) image(i, j int) {
	r, other := &l.Image[i], &l.Image[j]
	if i == j || other.Effect > r.Effect || !other.covers(r) {
		return
	}
	if j < i || other.Effect < r.Effect || !r.covers(other) {
		l.addsNothing(r.Name, r.Position, other.Name, other.Position)
	}
}

// covers reports whether every image that violates other violates r.
func (r *ImageRule) covers(other *ImageRule) bool {
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

// lintDistribution reports an effect for a list that does not exist.
func (p *Policy) lintDistribution() []Problem {
	const message = `"notAllowed" has no effect: there is no "allow"`
	allowed := p.Distribution.Allow != nil
	var problems []Problem
	for i := range p.Images {
		scope := &p.Images[i]
		own := slices.Contains(scope.Keys, "distribution.allow")
		allowed = allowed || own
		if slices.Contains(scope.Keys, "distribution.notAllowed") && !own && p.Distribution.Allow == nil {
			problems = append(problems, Problem{scope.Policy.Distribution.Position, message})
		}
	}
	if !allowed && p.Distribution.NotAllowed != Block {
		problems = append(problems, Problem{p.Distribution.Position, message})
	}
	return problems
}

// lintRepeated reports exceptions in a list that add nothing to another one. Expired exceptions are
// reported elsewhere.
func lintRepeated(list []Exception, now time.Time) []Problem {
	var problems []Problem
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
				return i != j && list[j].covers(&list[i]) && (j < i || !list[i].covers(&list[j]))
			})
			if j >= 0 {
				problems = append(problems, Problem{list[i].Position, fmt.Sprintf(
					"the exception for %s adds nothing: the one at %s covers as much and lasts as long", list[i].subject(), list[same[j]].Position)})
			}
		}
	}
	return problems
}

// covers reports whether e covers everything that other covers, for at least as long. Both must
// have the same id or rule.
func (e *Exception) covers(other *Exception) bool {
	return (e.Package == "" || other.Package != "" && match.CoversPURL(e.Package, other.Package)) &&
		(e.Path == "" || e.Path == other.Path) &&
		(e.Image == "" || other.Image != "" && match.CoversImages(e.Image, other.Image)) &&
		!e.Expires.Before(other.Expires)
}
