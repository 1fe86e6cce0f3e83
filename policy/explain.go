package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Outcome is the result for a finding, or for a violation of another rule.
type Outcome string

// The outcomes, the strictest first.
const (
	OutcomeBlocked     Outcome = "blocked"
	OutcomeWarned      Outcome = "warned"
	OutcomeExcepted    Outcome = "excepted"
	OutcomeNotAffected Outcome = "not affected"
	OutcomeAllowed     Outcome = "allowed"
)

// Explanation explains why a Decision lists an entry, and what would let it pass.
type Explanation struct {
	Outcome Outcome `json:"outcome"`
	// Violation has the deciding rule, its position and the relevant dates. For an allowed finding
	// it only has the platform and the finding.
	Violation
	// Exception is the exception that covers the entry. Statement is the VEX statement that removes
	// it.
	Exception *Exception             `json:"exception,omitempty"`
	Statement *evidence.VEXStatement `json:"statement,omitempty"`
	// Rules lists all rules of all policies that match the finding, not only the deciding one.
	Rules []MatchingRule `json:"rules,omitempty"`
	// UpgradeTo lists versions of the package that fix the finding.
	UpgradeTo []string `json:"upgradeTo,omitempty"`
	// ExceptIn lists the policies that all need an exception to let the entry pass. Some may
	// already have one.
	ExceptIn []ExceptionPlace `json:"exceptIn,omitempty"`
	// Remedies lists ways to let the entry pass, the best first. It is empty for an entry that does
	// not block. Sanitize them before printing: they can quote the image.
	Remedies []string `json:"remedies,omitempty"`
}

// MatchingRule is a rule that matches a finding.
type MatchingRule struct {
	Rule     string        `json:"rule"`
	Position Position      `json:"position,omitzero"`
	Scope    string        `json:"scope,omitempty"`
	Effect   Effect        `json:"effect"`
	Grace    time.Duration `json:"grace,omitempty"`
}

// ExceptionPlace is a policy that an exception can be added to.
type ExceptionPlace struct {
	File string `json:"file"`
	// Folder is the policy's folder for files of exceptions, or empty.
	Folder string `json:"folder,omitempty"`
	// MaxLifetime limits how far in the future an exception may end. Zero means any time.
	MaxLifetime time.Duration `json:"maxLifetime,omitempty"`
}

// Explain explains the entries of d that match id, in d's order. id is the id or alias of a
// vulnerability, or the name of a deciding rule. d must be the decision of s about in at the time
// now.
func Explain(s Set, in evidence.Input, d Decision, id string, now time.Time) []Explanation {
	var policies []*evaluation
	for _, p := range s {
		if p != nil {
			policies = append(policies, newEvaluation(p, &in, now))
		}
	}
	platforms := map[string]*evidence.Platform{}
	for i := range in.Platforms {
		platforms[in.Platforms[i].Platform] = &in.Platforms[i]
	}
	wanted := strings.ToLower(id)
	var explanations []Explanation
	for _, e := range listed(&d) {
		switch {
		case e.Finding == nil && e.Rule == id:
			e.explainRule(policies)
		case e.Finding != nil && (e.Rule == id || slices.Contains(e.Finding.IDs(), wanted)):
			platform := platforms[e.Platform]
			if platform == nil {
				platform = &evidence.Platform{Platform: e.Platform}
			}
			e.explainFinding(policies, newIndexedFinding(e.Finding, platform))
		default:
			continue
		}
		explanations = append(explanations, e)
	}
	return explanations
}

// listed returns all entries of d, the strictest first.
func listed(d *Decision) []Explanation {
	all := make([]Explanation, 0, len(d.Violations)+len(d.Warnings)+len(d.Excepted)+len(d.NotAffected)+len(d.Allowed))
	for _, v := range d.Violations {
		all = append(all, Explanation{Outcome: OutcomeBlocked, Violation: v})
	}
	for _, v := range d.Warnings {
		all = append(all, Explanation{Outcome: OutcomeWarned, Violation: v})
	}
	for i := range d.Excepted {
		x := &d.Excepted[i]
		all = append(all, Explanation{Outcome: OutcomeExcepted, Violation: x.Violation, Exception: &x.Exception})
	}
	for i := range d.NotAffected {
		x := &d.NotAffected[i]
		all = append(all, Explanation{Outcome: OutcomeNotAffected, Violation: x.Violation, Statement: &x.Statement})
	}
	for i := range d.Allowed {
		x := &d.Allowed[i]
		all = append(all, Explanation{Outcome: OutcomeAllowed, Violation: Violation{Platform: x.Platform, Finding: &x.Finding}})
	}
	return all
}

func (e *Explanation) explainFinding(policies []*evaluation, s *indexedFinding) {
	for _, p := range policies {
		blocks := false
		for _, r := range p.matching(s) {
			blocks = blocks || r.Effect != Warn
			m := MatchingRule{Rule: r.Name, Position: r.Position, Effect: r.Effect, Grace: r.Grace}
			if scope := p.policy.at[r.Position]; scope != nil {
				m.Scope = scope.String()
			}
			e.Rules = append(e.Rules, m)
		}
		if blocks {
			e.ExceptIn = append(e.ExceptIn, placeIn(p.policy.Policy))
		}
	}
	for _, fix := range s.Fixes {
		if fix.Version != "" && !slices.Contains(e.UpgradeTo, fix.Version) {
			e.UpgradeTo = append(e.UpgradeTo, fix.Version)
		}
	}
	if e.Outcome != OutcomeBlocked && e.Blocks.IsZero() {
		return
	}
	if len(e.UpgradeTo) > 0 {
		e.Remedies = append(e.Remedies, "upgrade "+s.Package.Name+" to "+strings.Join(e.UpgradeTo, " or "))
	} else {
		e.Remedies = append(e.Remedies, "no fixed version is known: remove "+s.Package.Name+" or build without it")
	}
	e.remedyByException("id " + s.ID)
}

// matching returns all rules that match s.
func (e *evaluation) matching(s *indexedFinding) (rules []*rule) {
	for i := range e.rules {
		if r := &e.rules[i]; r.matches(s) {
			rules = append(rules, r)
		}
	}
	for _, m := range e.customMatches(s) {
		rules = append(rules, m.rule)
	}
	return rules
}

func (e *Explanation) explainRule(policies []*evaluation) {
	if !e.CanBeExcepted() {
		if e.Outcome == OutcomeBlocked {
			e.Remedies = append(e.Remedies, "no exception covers this: fix the problem that the message describes")
		}
		return
	}
	for _, p := range policies {
		// A default that is not written in a file applies to every policy.
		if e.Position.File == "" || e.Position.File == p.policy.File {
			e.ExceptIn = append(e.ExceptIn, placeIn(p.policy.Policy))
		}
	}
	if e.Outcome == OutcomeBlocked {
		e.remedyByException("rule " + e.Rule)
	}
}

func placeIn(p *Policy) ExceptionPlace {
	return ExceptionPlace{File: p.File, Folder: p.ExceptionsFolder, MaxLifetime: p.ExceptionsMaxLifetime}
}

func (e *Explanation) remedyByException(what string) {
	for _, place := range e.ExceptIn {
		text := "an exception with " + what + " in " + place.File
		if place.Folder != "" {
			text += " or its folder " + place.Folder
		}
		if place.MaxLifetime > 0 {
			text += ", which ends at most " + formatDuration(place.MaxLifetime) + " ahead"
		}
		e.Remedies = append(e.Remedies, text)
	}
	e.Remedies = append(e.Remedies, "it does not pass without a change")
}
