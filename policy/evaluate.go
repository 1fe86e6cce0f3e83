package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// clockSkew is how far ahead of us the clock of whoever built the database may
// be.
const clockSkew = 10 * time.Minute

// Evaluate judges the evidence as of now. It changes neither p nor in. A nil
// policy denies, and so does one without rules.
func (p *Policy) Evaluate(in Input, now time.Time) Decision {
	e := newEvaluation(p, in.Image.Repository, now)
	e.completeness(in)
	e.database(in.Database)
	for _, platform := range sortedPlatforms(in.Platforms) {
		e.endOfLife(platform)
		e.coverage(platform)
		e.sbom(platform)
		e.findings(platform)
	}
	e.unusedExceptions()
	e.Passed = len(e.Violations) == 0
	return e.Decision
}

// evaluation is a Decision in the making. Messages name instants and never ages,
// so that the Decision stays the same up to Until.
type evaluation struct {
	Decision
	policy     *Policy
	missing    bool // there is no policy
	exceptions *exceptions
	now        time.Time
}

func newEvaluation(p *Policy, repository string, now time.Time) *evaluation {
	missing := p == nil
	if missing {
		p = &Policy{}
	}
	return &evaluation{
		Decision:   Decision{Violations: []Violation{}, Warnings: []Violation{}, Excepted: []Excepted{}, Allowed: []Allowed{}},
		policy:     p,
		missing:    missing,
		exceptions: newExceptions(p.Exceptions, repository, now),
		now:        now,
	}
}

// report adds v by its effect. What is not Warn blocks.
func (e *evaluation) report(effect Effect, v Violation) {
	if effect == Warn {
		e.Warnings = append(e.Warnings, v)
		return
	}
	e.Violations = append(e.Violations, v)
}

// changes notes that the judgement may differ from t on.
func (e *evaluation) changes(t time.Time) {
	if t.After(e.now) && (e.Until.IsZero() || t.Before(e.Until)) {
		e.Until = t.UTC()
	}
}

func (e *evaluation) completeness(in Input) {
	block := func(platform, format string, args ...any) {
		e.report(Block, Violation{Kind: KindEvidence, Rule: "evidence", Platform: platform, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case e.missing:
		block("", "no policy: nothing passes without one")
	case len(e.policy.Rules) == 0:
		block("", "the policy has no rules: nothing passes without one")
	}
	if in.Image.Digest == "" {
		block("", "the image has no digest")
	}
	if len(in.Platforms) == 0 {
		block("", "the image has no platforms")
	}
	for _, p := range sortedPlatforms(in.Platforms) {
		if p.Digest == "" {
			block(p.Platform, "platform %q has no digest", p.Platform)
		}
	}
}

func (e *evaluation) database(db Database) {
	e.age("the vulnerability database", "was built", db.Built)
	if len(db.Providers) == 0 {
		e.blockDatabase("the vulnerability database names no providers, so that nobody knows how old its data is")
	}
	providers := slices.Clone(db.Providers)
	slices.SortFunc(providers, func(a, b Provider) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Captured.Compare(b.Captured))
	})
	for _, p := range providers {
		e.age(fmt.Sprintf("the data of the database's provider %q", p.Name), "was captured", p.Captured)
	}
}

// age judges one date of the database.
func (e *evaluation) age(what, happened string, at time.Time) {
	limit := cmp.Or(e.policy.Database.MaxAge, DefaultMaxAge)
	trusted, stale := at.Add(-clockSkew), at.Add(limit)
	switch {
	case at.IsZero():
		e.blockDatabase("nobody knows when %s %s", what, happened)
		return
	case trusted.After(e.now):
		e.blockDatabase("%s %s on %s, which is in the future", what, happened, formatTime(at))
	case !e.now.Before(stale):
		e.blockDatabase("%s %s on %s and must be younger than %s", what, happened, formatTime(at), formatDuration(limit))
	}
	e.changes(trusted)
	e.changes(stale)
}

func (e *evaluation) blockDatabase(format string, args ...any) {
	e.report(Block, Violation{
		Kind: KindDatabase, Rule: "database.maxAge", Position: e.policy.Database.Position,
		Message: fmt.Sprintf(format, args...),
	})
}

func (e *evaluation) endOfLife(p *Platform) {
	end := p.Distribution.EndOfLife
	if end.IsZero() {
		return
	}
	e.changes(end)
	if e.now.Before(end) {
		return
	}
	e.report(e.policy.Distribution.EndOfLife, Violation{
		Kind: KindDistribution, Rule: "distribution.endOfLife", Position: e.policy.Distribution.Position, Platform: p.Platform,
		Message: fmt.Sprintf("%s reached its end of life on %s: its vendor publishes no more advisories",
			distributionName(p.Distribution), formatTime(end)),
	})
}

func distributionName(d Distribution) string {
	if d.Name != "" {
		return d.Name
	}
	if name := joined(d.ID, d.Version); name != "" {
		return name
	}
	return "the distribution"
}

func (e *evaluation) coverage(p *Platform) {
	for _, u := range sorted(p.Uncovered, compareUncovered) {
		effect := e.policy.Distribution.NotCovered
		if u.Reason == MainModule {
			effect = Warn
		}
		what := "the operating system's packages are"
		if u.Package != nil {
			what = joined(u.Package.Name, u.Package.Version) + " is"
		}
		if u.Reason == NothingCataloged {
			what = "the image is"
		}
		message := fmt.Sprintf("%s not covered: %s", what, u.Reason)
		if u.Detail != "" {
			message += " (" + u.Detail + ")"
		}
		e.report(effect, Violation{
			Kind: KindCoverage, Rule: "distribution.notCovered", Position: e.policy.Distribution.Position, Platform: p.Platform,
			Message: message, Uncovered: &u,
		})
	}
}

func (e *evaluation) sbom(p *Platform) {
	rule := e.policy.SBOM
	// No setting lets this pass: with neither package nor distribution there is
	// nothing that any finding could be about.
	if len(p.Packages) == 0 && p.Distribution.ID == "" {
		e.report(Block, Violation{
			Kind: KindSBOM, Rule: "sbom", Position: rule.Position, Platform: p.Platform,
			Message: "the SBOM has no package and no distribution, so that no findings means nothing",
		})
	}
	if have := len(p.Packages); have < rule.MinPackages {
		e.report(Block, Violation{
			Kind: KindSBOM, Rule: "sbom.minPackages", Position: rule.Position, Platform: p.Platform,
			Message: fmt.Sprintf("the number of packages is %d and must be %d or more", have, rule.MinPackages),
		})
	}
	for _, u := range sorted(p.Unknowns, compareUnknowns) {
		e.report(rule.Unknowns, Violation{
			Kind: KindSBOM, Rule: "sbom.unknowns", Position: rule.Position, Platform: p.Platform,
			Message: fmt.Sprintf("%s could not be cataloged: %s", cmp.Or(u.Path, "something"), u.Reason), Unknown: &u,
		})
	}
}

func (e *evaluation) findings(p *Platform) {
	findings := sorted(p.Findings, compareFindings)
	for i := range findings {
		f := &findings[i]
		rule := e.policy.decides(f)
		if rule == nil {
			e.Allowed = append(e.Allowed, Allowed{Platform: p.Platform, Finding: *f})
			continue
		}
		v := Violation{
			Kind: KindVulnerability, Rule: rule.Name, Position: rule.Position, Platform: p.Platform,
			Message: findingMessage(f), Finding: f,
		}
		if rule.Effect == Warn {
			e.report(Warn, v)
			continue
		}
		covering, expired := e.exceptions.cover(f)
		if covering != nil {
			e.Excepted = append(e.Excepted, Excepted{
				Rule: rule.Name, Position: rule.Position, Platform: p.Platform, Finding: *f, Exception: covering.Exception,
			})
			continue
		}
		v.Expired = expired
		e.report(Block, v)
	}
}

// unusedExceptions warns of what could go from the policy, and notes when what
// is in use will end.
func (e *evaluation) unusedExceptions() {
	for _, x := range e.exceptions.all {
		var message string
		switch {
		case x.used:
			e.changes(x.Expires)
			continue
		case x.lapsed:
			message = fmt.Sprintf("the exception for %q expired on %s", x.ID, formatTime(x.Expires))
		case x.outside:
			message = fmt.Sprintf("the exception for %q is unused: it is for other images, %q", x.ID, x.Image)
		default:
			message = fmt.Sprintf("the exception for %q is unused: it covers no finding that a rule blocks", x.ID)
		}
		e.report(Warn, Violation{Kind: KindException, Rule: "exceptions", Position: x.Position, Message: message})
	}
}

// decides returns the rule that decides about f: the first that blocks it, else
// the first that warns, else nil.
func (p *Policy) decides(f *Finding) *Rule {
	var warns *Rule
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.matches(f) {
			continue
		}
		if r.Effect != Warn {
			return r
		}
		if warns == nil {
			warns = r
		}
	}
	return warns
}

func (r *Rule) matches(f *Finding) bool {
	if !f.Severity.AtLeast(r.Severity) {
		return false
	}
	fixable := f.FixState == FixAvailable || len(f.Fixes) > 0
	switch r.Fix {
	case FixableYes:
		return fixable
	case FixableNo:
		return !fixable
	}
	return true
}

// findingMessage says what was found, where and whether it can be repaired.
func findingMessage(f *Finding) string {
	return f.ID + " in " + joined(f.Package.Name, f.Package.Version) + ": severity " + f.Severity.String() + ", " + fixText(f)
}

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

func joined(name, version string) string { return strings.TrimSpace(name + " " + version) }

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
