package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is a Rule made ready to be held against many findings.
type rule struct {
	*Rule
	ids         map[string]bool // in lower case; nil matches any
	packageType glob            // nil matches any, as does name
	name        glob
	purl        purlPattern
	custom      *CustomRule // the expression that decides instead, where there is one
}

func compileRules(rules []Rule) []rule {
	compiled := make([]rule, len(rules))
	for i := range rules {
		r := &rules[i]
		c := rule{Rule: r, purl: newPURLPattern(r.Package.PURL)}
		if len(r.IDs) > 0 {
			c.ids = make(map[string]bool, len(r.IDs))
			for _, id := range r.IDs {
				c.ids[strings.ToLower(id)] = true
			}
		}
		if r.Package.Type != "" {
			c.packageType = newGlob(r.Package.Type)
		}
		if r.Package.Name != "" {
			c.name = newGlob(r.Package.Name)
		}
		compiled[i] = c
	}
	return compiled
}

func (r *rule) matches(s *subject) bool {
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

func (r *rule) matchesID(s *subject) bool {
	return r.ids == nil || slices.ContainsFunc(s.ids, func(id string) bool { return r.ids[id] })
}

func (r *rule) matchesPackage(s *subject) bool {
	return (r.packageType == nil || r.packageType.match(s.Package.Type)) &&
		(r.name == nil || r.name.match(s.Package.Name)) &&
		r.purl.match(s.purl)
}

// reachedBy reports whether e is at or above the threshold. What is missing, or
// is no probability, reaches it.
func (t EPSSThreshold) reachedBy(e *EPSS) bool {
	below := func(value, threshold float64) bool { return 0 <= value && value < threshold }
	return e == nil || !below(e.Score, t.Score) && !below(e.Percentile, t.Percentile)
}

// blocks returns the instant from which r blocks s: the zero time if it always
// did.
func (r *rule) blocks(s *subject, fixed time.Time) time.Time {
	if r.Grace <= 0 || s.KEV != nil || fixed.IsZero() {
		return time.Time{}
	}
	return fixed.Add(r.Grace)
}

// verdict is what the rules say of one finding.
type verdict struct {
	rule      *rule     // the one that decides; nil if none matches
	effect    Effect    // what it does now
	blocks    time.Time // the end of its grace, where that is why it warns
	inherited bool      // whether the baseline is why it warns
	message   string    // what a custom rule says of it
	unjudged  bool      // a custom rule could not tell: nothing lets that pass
}

// plain returns what the rule says where something else is why the finding passes.
func (v verdict) plain() verdict {
	return verdict{rule: v.rule, effect: v.rule.Effect, message: v.message}
}

// judge lets the first rule decide that blocks now, else the one whose grace
// ends first, else the first whose findings are inherited, else the first that
// warns. Custom rules come behind the others, but one that cannot tell blocks
// before all.
func (e *evaluation) judge(s *subject) verdict {
	custom := e.customMatches(s)
	for _, m := range custom {
		if m.err != nil {
			return verdict{rule: m.rule, message: m.message, unjudged: true}
		}
	}
	d := deliberation{evaluation: e, subject: s, inherited: e.inherited.has(s)}
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

// deliberation gathers what the rules that match a finding say of it.
type deliberation struct {
	*evaluation
	subject                  *subject
	inherited                bool
	inGrace, inherits, warns verdict
	fixed, undecided         time.Time // once a rule with a grace has asked
}

// blocks reports whether r, which matches, blocks now. If not it notes what r
// says instead.
func (d *deliberation) blocks(r *rule, message string) bool {
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
		d.fixed, d.undecided = d.subject.fixed(d.now)
		d.changes(d.undecided)
	}
	blocks := r.blocks(d.subject, d.fixed)
	if !d.now.Before(blocks) {
		return true
	}
	d.changes(blocks)
	if d.inGrace.rule == nil || blocks.Before(d.inGrace.blocks) {
		d.inGrace = verdict{rule: r, effect: Warn, blocks: blocks}
	}
	return false
}

// findingMessage says what was found, where, what of it the rule looks at and
// whether it can be repaired.
func findingMessage(s *subject, v verdict) string {
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

func epssText(e *EPSS) string {
	if e == nil {
		return "EPSS unknown"
	}
	return "EPSS " + formatNumber(e.Score) + " (percentile " + formatNumber(e.Percentile) + ")"
}

func formatNumber(n float64) string { return strconv.FormatFloat(n, 'g', 6, 64) }

func fixText(f *Finding) string {
	if len(f.Fixes) > 0 {
		versions := make([]string, len(f.Fixes))
		for i, fix := range f.Fixes {
			versions[i] = fix.Version
		}
		return "fixed in " + strings.Join(versions, ", ")
	}
	switch f.FixState {
	case FixAvailable:
		return "fixed in a version that nobody names"
	case FixNone:
		return "not fixed yet"
	case FixWont:
		return "its vendor will not fix it"
	}
	return "no known fix"
}
