// Package explain explains why a decision lists a finding or another violation, and what would let
// it pass.
package explain

import (
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// Outcome is the result for a finding, or for a violation of another rule.
type Outcome string

// The outcomes, the strictest first.
const (
	Blocked     Outcome = "blocked"
	Warned      Outcome = "warned"
	Excepted    Outcome = "excepted"
	NotAffected Outcome = "not affected"
	Allowed     Outcome = "allowed"
)

// Explanation explains why a Decision lists an entry, and what would let it pass.
type Explanation struct {
	Outcome Outcome `json:"outcome"`
	// Violation has the deciding rule, its position and the relevant dates. For an allowed finding
	// it only has the platform and the finding.
	policy.Violation
	// Exception is the exception that covers the entry, or nil. Statement is the VEX statement that
	// removes the finding, or nil.
	Exception *policy.Exception      `json:"exception,omitempty"`
	Statement *evidence.VEXStatement `json:"statement,omitempty"`
	// Rules lists all rules of all policies that match the finding, not only the deciding one.
	Rules []policy.MatchingRule `json:"rules,omitempty"`
	// UpgradeTo lists versions of the package that fix the finding.
	UpgradeTo []string `json:"upgradeTo,omitempty"`
	// ExceptIn lists the policies that block the entry. Each of them needs an exception to let the
	// entry pass. Some may already have one.
	ExceptIn []ExceptionPlace `json:"exceptIn,omitempty"`
	// Remedies lists ways to let the entry pass, the best first. It is empty for an entry that does
	// not block. Sanitize them before printing: they can quote the image.
	Remedies []string `json:"remedies,omitempty"`
}

// ExceptionPlace is a policy that an exception can be added to.
type ExceptionPlace struct {
	File string `json:"file"`
	// Folder is the policy's folder for files of exceptions, or empty.
	Folder string `json:"folder,omitempty"`
	// MaxLifetime limits how far in the future an exception may end. Zero means any time.
	MaxLifetime time.Duration `json:"maxLifetime,omitempty"`
}

// Entries explains the entries of d that match id, in d's order. id is the id or alias of a
// vulnerability, or the name of a deciding rule. d must be the decision of s about in at the time
// now.
func Entries(s policy.Set, in evidence.Input, d policy.Decision, id string, now time.Time) []Explanation {
	var policies []explained
	for _, p := range s {
		if p != nil {
			policies = append(policies, explained{p, p.Matcher(&in, now)})
		}
	}
	platforms := map[string]*evidence.Platform{}
	for i := range in.Platforms {
		platforms[in.Platforms[i].Platform] = &in.Platforms[i]
	}
	wanted := strings.ToLower(id)
	var explanations []Explanation
	for _, e := range All(&d) {
		switch {
		case e.Finding == nil && e.Rule == id:
			e.explainRule(policies)
		case e.Finding != nil && (e.Rule == id || slices.Contains(e.Finding.IDs(), wanted)):
			platform := platforms[e.Platform]
			if platform == nil {
				platform = &evidence.Platform{Platform: e.Platform}
			}
			e.explainFinding(policies, platform)
		default:
			continue
		}
		explanations = append(explanations, e)
	}
	return explanations
}

// explained is a policy with a function that lists its rules that match a finding.
type explained struct {
	*policy.Policy
	matching func(p *evidence.Platform, f *evidence.Finding) []policy.MatchingRule
}

// All returns all entries of d, the strictest first, without explanations.
func All(d *policy.Decision) []Explanation {
	all := make([]Explanation, 0, len(d.Violations)+len(d.Warnings)+len(d.Excepted)+len(d.NotAffected)+len(d.Allowed))
	for _, v := range d.Violations {
		all = append(all, Explanation{Outcome: Blocked, Violation: v})
	}
	for _, v := range d.Warnings {
		all = append(all, Explanation{Outcome: Warned, Violation: v})
	}
	for i := range d.Excepted {
		x := &d.Excepted[i]
		all = append(all, Explanation{Outcome: Excepted, Violation: x.Violation, Exception: &x.Exception})
	}
	for i := range d.NotAffected {
		x := &d.NotAffected[i]
		all = append(all, Explanation{Outcome: NotAffected, Violation: x.Violation, Statement: &x.Statement})
	}
	for i := range d.Allowed {
		x := &d.Allowed[i]
		all = append(all, Explanation{Outcome: Allowed, Violation: policy.Violation{Platform: x.Platform, Finding: &x.Finding}})
	}
	return all
}

func (e *Explanation) explainFinding(policies []explained, platform *evidence.Platform) {
	f := e.Finding
	for _, p := range policies {
		rules := p.matching(platform, f)
		e.Rules = append(e.Rules, rules...)
		if slices.ContainsFunc(rules, func(r policy.MatchingRule) bool { return r.Effect != policy.Warn }) {
			e.ExceptIn = append(e.ExceptIn, placeIn(p.Policy))
		}
	}
	for _, fix := range f.Fixes {
		if fix.Version != "" && !slices.Contains(e.UpgradeTo, fix.Version) {
			e.UpgradeTo = append(e.UpgradeTo, fix.Version)
		}
	}
	if e.Outcome != Blocked && e.Blocks.IsZero() {
		return
	}
	if len(e.UpgradeTo) > 0 {
		e.Remedies = append(e.Remedies, "upgrade "+f.Package.Name+" to "+strings.Join(e.UpgradeTo, " or "))
	} else {
		e.Remedies = append(e.Remedies, "no fixed version is known: remove "+f.Package.Name+" or build without it")
	}
	e.remedyByException("id " + f.ID)
}

func (e *Explanation) explainRule(policies []explained) {
	if !e.CanBeExcepted() {
		if e.Outcome == Blocked {
			e.Remedies = append(e.Remedies, "exceptions do not apply here: fix the problem that the message describes")
		}
		return
	}
	for _, p := range policies {
		// A rule without a position is a default rule of every policy, so each policy needs an
		// exception.
		if e.Position.File == "" || e.Position.File == p.File {
			e.ExceptIn = append(e.ExceptIn, placeIn(p.Policy))
		}
	}
	if e.Outcome == Blocked {
		e.remedyByException("rule " + e.Rule)
	}
}

func placeIn(p *policy.Policy) ExceptionPlace {
	return ExceptionPlace{File: p.File, Folder: p.ExceptionsFolder, MaxLifetime: p.ExceptionsMaxLifetime}
}

func (e *Explanation) remedyByException(what string) {
	for _, place := range e.ExceptIn {
		text := "an exception with " + what + " in " + place.File
		if place.Folder != "" {
			text += " or its folder " + place.Folder
		}
		if place.MaxLifetime > 0 {
			text += ", which expires at most " + wording.Duration(place.MaxLifetime) + " from now"
		}
		e.Remedies = append(e.Remedies, text)
	}
	e.Remedies = append(e.Remedies, "it does not pass without a change")
}
