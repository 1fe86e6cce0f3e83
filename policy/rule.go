package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/indexed"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// rule is a Rule, compiled to be matched against many findings.
type rule struct {
	*Rule
	ids         map[string]bool // ids in lower case; nil matches every id
	packageType match.Glob      // a nil packageType matches every type, a nil name every name
	name        match.Glob
	purl        match.PURLPattern
	custom      *CustomRule // the custom rule that this rule was compiled from, or nil
}

func compileRules(rules []Rule) []rule {
	compiled := make([]rule, len(rules))
	for i := range rules {
		r := &rules[i]
		c := rule{Rule: r, purl: match.NewPURLPattern(r.Package.PURL)}
		if len(r.IDs) > 0 {
			c.ids = make(map[string]bool, len(r.IDs))
			for _, id := range r.IDs {
				c.ids[strings.ToLower(id)] = true
			}
		}
		if r.Package.Type != "" {
			c.packageType = match.NewGlob(r.Package.Type)
		}
		if r.Package.Name != "" {
			c.name = match.NewGlob(r.Package.Name)
		}
		compiled[i] = c
	}
	return compiled
}

func (r *rule) matches(s *indexed.Finding) bool {
	switch {
	case !s.Severity.AtLeast(r.Severity),
		r.Fix == FixableYes && !s.Fixable,
		r.Fix == FixableNo && s.Fixable,
		r.KEV && s.KEV == nil,
		r.CVSS > 0 && s.Scored && s.Score < r.CVSS,
		!r.EPSS.reachedBy(s.EPSS):
		return false
	}
	return r.matchesID(s) && r.matchesPackage(s)
}

func (r *rule) matchesID(s *indexed.Finding) bool {
	return r.ids == nil || slices.ContainsFunc(s.LowerIDs, func(id string) bool { return r.ids[id] })
}

func (r *rule) matchesPackage(s *indexed.Finding) bool {
	return (r.packageType == nil || r.packageType.Match(s.Package.Type)) &&
		(r.name == nil || r.name.Match(s.Package.Name)) &&
		r.purl.Match(match.PackagePURL(&s.Package))
}

// reachedBy reports whether e is at or above the threshold. A missing EPSS, or a value outside of 0
// to 1, counts as above the threshold.
func (t EPSSThreshold) reachedBy(e *evidence.EPSS) bool {
	below := func(value, threshold float64) bool { return 0 <= value && value < threshold }
	return e == nil || !below(e.Score, t.Score) && !below(e.Percentile, t.Percentile)
}

// blocks returns the first instant when r blocks s. fixed is the start of the grace period. The
// result is the zero time if r has no grace period for s.
func (r *rule) blocks(s *indexed.Finding, fixed time.Time) time.Time {
	if r.Grace <= 0 || s.KEV != nil || fixed.IsZero() {
		return time.Time{}
	}
	return fixed.Add(r.Grace)
}

// verdict is the result of all rules of one policy for one finding.
type verdict struct {
	rule        *rule     // the deciding rule; nil if no rule matches
	effect      Effect    // the current effect of the rule
	blocks      time.Time // the end of the grace period, if the finding is in one
	inherited   bool      // true if the finding only warns because the baseline has it
	message     string    // the message, if a custom rule decides
	unevaluated bool      // true if a custom rule could not be evaluated; then nothing lets the finding pass
}

// plain returns v with the rule's own effect, without grace period or inheritance. It is for a
// finding that passes because of an exception or a VEX statement.
func (v verdict) plain() verdict {
	return verdict{rule: v.rule, effect: v.rule.Effect, message: v.message}
}

// decide chooses the deciding rule: the first that blocks now, else the one whose grace period ends
// first, else the first whose findings are inherited, else the first that warns. Custom rules come
// after the other rules. But a custom rule that cannot be evaluated decides before all rules.
func (e *evaluation) decide(s *indexed.Finding) verdict {
	custom := e.customMatches(s)
	for _, m := range custom {
		if m.err != nil {
			return verdict{rule: m.rule, message: m.message, unevaluated: true}
		}
	}
	d := ruleMatching{evaluation: e, finding: s, inherited: e.inherits(s)}
	for i := range e.rules {
		if r := &e.rules[i]; r.matches(s) && d.blocks(r, "") {
			return verdict{rule: r}
		}
	}
	for _, m := range custom {
		if d.blocks(m.rule, m.message) {
			return verdict{rule: m.rule, message: m.message}
		}
	}
	for _, v := range []verdict{d.inGrace, d.inherits} {
		if v.rule != nil {
			return v
		}
	}
	return d.warns
}

// ruleMatching collects, for one finding, the results of the rules that match it but do not block
// now.
type ruleMatching struct {
	*evaluation
	finding                  *indexed.Finding
	inherited                bool
	inGrace, inherits, warns verdict
	fixed, undecided         time.Time // set once a rule with a grace period matches the finding
}

// blocks reports whether r blocks the finding now. If not, it records the result of r. r must match
// the finding.
func (d *ruleMatching) blocks(r *rule, message string) bool {
	switch {
	case r.Effect == Warn:
		if d.warns.rule == nil {
			d.warns = verdict{rule: r, effect: Warn, message: message}
		}
		return false
	case d.inherited && r.ids == nil:
		if d.inherits.rule == nil {
			d.inherits = verdict{rule: r, effect: Warn, inherited: true, message: message}
		}
		return false
	}
	if r.Grace > 0 && d.fixed.IsZero() && d.undecided.IsZero() {
		d.fixed, d.undecided = d.finding.Fixed(d.now)
		d.changes(d.undecided)
	}
	blocks := r.blocks(d.finding, d.fixed)
	if !d.now.Before(blocks) {
		return true
	}
	d.changes(blocks)
	if d.inGrace.rule == nil || blocks.Before(d.inGrace.blocks) {
		d.inGrace = verdict{rule: r, effect: Warn, blocks: blocks}
	}
	return false
}

// findingMessage describes the finding: its id, its package, the values that the rule compares, and
// the fix.
func findingMessage(s *indexed.Finding, v verdict) string {
	var b strings.Builder
	b.WriteString(s.ID + " in " + wording.Joined(s.Package.Name, s.Package.Version) + ": severity " + s.Severity.String())
	if v.rule.KEV && s.KEV != nil {
		b.WriteString(", known to be exploited")
	}
	if v.rule.EPSS != (EPSSThreshold{}) {
		b.WriteString(", " + wording.EPSS(s.EPSS))
	}
	if v.rule.CVSS > 0 {
		score := "unknown"
		if s.Scored {
			score = wording.Number(s.Score)
		}
		b.WriteString(", CVSS " + score)
	}
	b.WriteString(", " + wording.Fix(s.Finding))
	if v.message != "" {
		b.WriteString("; " + v.message)
	}
	if v.inherited {
		b.WriteString("; the approved image has it too")
	}
	if !v.blocks.IsZero() {
		b.WriteString("; blocks from " + wording.Time(v.blocks) + ", when its grace of " + wording.Duration(v.rule.Grace) + " ends")
	}
	return b.String()
}

// MatchingRule is a rule that matches a finding.
type MatchingRule struct {
	Rule     string        `json:"rule"`
	Position Position      `json:"position,omitzero"`
	Scope    string        `json:"scope,omitempty"`
	Effect   Effect        `json:"effect"`
	Grace    time.Duration `json:"grace,omitempty"`
}

// Matcher returns a function that lists all rules of p that match a finding, not only the deciding
// rule. The platform must be one of in. The rules are in the order of the file, with custom rules
// last. A custom rule that cannot be evaluated counts as a match. A nil policy has no rules.
func (p *Policy) Matcher(in *evidence.Input, now time.Time) func(*evidence.Platform, *evidence.Finding) []MatchingRule {
	e := newEvaluation(p, in, now)
	return func(platform *evidence.Platform, f *evidence.Finding) (matching []MatchingRule) {
		for _, r := range e.matching(indexed.New(f, platform)) {
			m := MatchingRule{Rule: r.Name, Position: r.Position, Effect: r.Effect, Grace: r.Grace}
			if scope := e.policy.at[r.Position]; scope != nil {
				m.Scope = scope.String()
			}
			matching = append(matching, m)
		}
		return matching
	}
}

// matching returns all rules that match s.
func (e *evaluation) matching(s *indexed.Finding) (rules []*rule) {
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
