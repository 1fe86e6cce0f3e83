package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// rule is a Rule, compiled to be matched against many findings.
type rule struct {
	*Rule
	ids         map[string]bool // in lower case; nil matches every id
	packageType match.Glob      // nil matches every type; a nil name matches every name
	name        match.Glob
	purl        match.PURLPattern
	custom      *CustomRule // the custom rule that this rule stands for, or nil
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

func (r *rule) matches(s *indexedFinding) bool {
	switch {
	case !s.Severity.AtLeast(r.Severity),
		r.Fix == FixableYes && !s.fixable,
		r.Fix == FixableNo && s.fixable,
		r.KEV && s.KEV == nil,
		r.CVSS > 0 && s.scored && s.cvss < r.CVSS,
		!r.EPSS.reachedBy(s.EPSS):
		return false
	}
	return r.matchesID(s) && r.matchesPackage(s)
}

func (r *rule) matchesID(s *indexedFinding) bool {
	return r.ids == nil || slices.ContainsFunc(s.ids, func(id string) bool { return r.ids[id] })
}

func (r *rule) matchesPackage(s *indexedFinding) bool {
	return (r.packageType == nil || r.packageType.Match(s.Package.Type)) &&
		(r.name == nil || r.name.Match(s.Package.Name)) &&
		r.purl.Match(purlOf(&s.Package))
}

// reachedBy reports whether e is at or above the threshold. A missing EPSS, or a value that is not
// a probability, counts as above.
func (t EPSSThreshold) reachedBy(e *evidence.EPSS) bool {
	below := func(value, threshold float64) bool { return 0 <= value && value < threshold }
	return e == nil || !below(e.Score, t.Score) && !below(e.Percentile, t.Percentile)
}

// blocks returns the first instant when r blocks s, or the zero time if r has no grace period for
// s.
func (r *rule) blocks(s *indexedFinding, fixed time.Time) time.Time {
	if r.Grace <= 0 || s.KEV != nil || fixed.IsZero() {
		return time.Time{}
	}
	return fixed.Add(r.Grace)
}

// verdict is the result of all rules for one finding.
type verdict struct {
	rule        *rule     // the rule that decides; nil if none matches
	effect      Effect    // the effect of that rule now
	blocks      time.Time // the end of the grace period, if the finding only warns because of it
	inherited   bool      // the finding only warns because the baseline has it
	message     string    // the message of a custom rule
	unevaluated bool      // a custom rule failed; nothing lets the finding pass
}

// plain returns the rule's own effect, for a finding that passes for another reason.
func (v verdict) plain() verdict {
	return verdict{rule: v.rule, effect: v.rule.Effect, message: v.message}
}

// decide chooses the rule that decides: the first that blocks now, else the one whose grace period
// ends first, else the first whose findings are inherited, else the first that warns. Custom rules
// come after the others, but a custom rule that fails blocks before all.
func (e *evaluation) decide(s *indexedFinding) verdict {
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

// deliberation collects the results of the rules that match a finding.
type ruleMatching struct {
	*evaluation
	finding                  *indexedFinding
	inherited                bool
	inGrace, inherits, warns verdict
	fixed, undecided         time.Time // set once a rule with a grace period needs them
}

// blocks reports whether r, which matches, blocks now. Otherwise it records the result of r.
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
		d.fixed, d.undecided = d.finding.fixed(d.now)
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

// findingMessage describes the finding: its id, its package, the values that the rule looks at, and
// the fix.
func findingMessage(s *indexedFinding, v verdict) string {
	var b strings.Builder
	b.WriteString(s.ID + " in " + joined(s.Package.Name, s.Package.Version) + ": severity " + s.Severity.String())
	if v.rule.KEV && s.KEV != nil {
		b.WriteString(", known to be exploited")
	}
	if v.rule.EPSS != (EPSSThreshold{}) {
		b.WriteString(", " + epssText(s.EPSS))
	}
	if v.rule.CVSS > 0 {
		score := "unknown"
		if s.scored {
			score = formatNumber(s.cvss)
		}
		b.WriteString(", CVSS " + score)
	}
	b.WriteString(", " + fixText(s.Finding))
	if v.message != "" {
		b.WriteString("; " + v.message)
	}
	if v.inherited {
		b.WriteString("; the approved image has it too")
	}
	if !v.blocks.IsZero() {
		b.WriteString("; blocks from " + formatTime(v.blocks) + ", when its grace of " + formatDuration(v.rule.Grace) + " ends")
	}
	return b.String()
}

func epssText(e *evidence.EPSS) string {
	if e == nil {
		return "EPSS unknown"
	}
	return "EPSS " + formatNumber(e.Score) + " (percentile " + formatNumber(e.Percentile) + ")"
}

func formatNumber(n float64) string { return strconv.FormatFloat(n, 'g', 6, 64) }

func fixText(f *evidence.Finding) string {
	if len(f.Fixes) > 0 {
		versions := make([]string, len(f.Fixes))
		for i, fix := range f.Fixes {
			versions[i] = fix.Version
		}
		return "fixed in " + strings.Join(versions, ", ")
	}
	switch f.FixState {
	case evidence.FixAvailable:
		return "fixed in an unknown version"
	case evidence.FixNone:
		return "not fixed yet"
	case evidence.FixWont:
		return "its vendor will not fix it"
	}
	return "no known fix"
}
