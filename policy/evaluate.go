package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/exceptions"
	"github.com/imagegate/imagegate/policy/internal/indexed"
	"github.com/imagegate/imagegate/policy/internal/order"
	"github.com/imagegate/imagegate/policy/internal/signed"
	"github.com/imagegate/imagegate/policy/internal/vex"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// Evaluate evaluates the policy on the evidence at the time now. It changes neither p nor in. A nil
// policy, or a policy without rules, denies every image.
func (p *Policy) Evaluate(in evidence.Input, now time.Time) Decision {
	return Set{p}.Evaluate(in, now)
}

// evaluation collects the result of one policy. Messages contain dates but no ages, because ages
// would change before Decision.Until.
type evaluation struct {
	Decision
	policy      scoped
	missing     bool // true if the policy is nil
	in          *evidence.Input
	rules       []rule
	customRules []rule                                          // the custom rules about findings
	inherited   func(platform string, f *evidence.Finding) bool // reports whether the baseline has a finding
	signers     signed.Signers
	exceptions  *exceptions.List
	statements  *vex.Statements
	now         time.Time
}

func newEvaluation(p *Policy, in *evidence.Input, now time.Time) *evaluation {
	missing := p == nil
	if missing {
		p = &Policy{}
	}
	scoped := p.forImage(in.Image.Repository)
	e := &evaluation{
		policy:      scoped,
		missing:     missing,
		in:          in,
		rules:       compileRules(scoped.Rules),
		customRules: compileCustom(scoped.Custom),
		exceptions:  newExceptions(scoped.Policy, in.Image.Repository, now),
		signers:     knownSigners(scoped.Signers),
		now:         now,
	}
	if scoped.Baseline == InheritApproved {
		e.inherited = in.Baseline.Lookup()
	}
	e.TimeDependent = slices.ContainsFunc(scoped.Custom, func(r CustomRule) bool { return r.compiled().UsesNow() })
	e.statements = scoped.VEX.statements(e)
	return e
}

// report adds v to the violations or the warnings. Any effect other than Warn blocks.
func (e *evaluation) report(effect Effect, v Violation) {
	e.policy.locate(&v)
	if effect == Warn {
		e.Warnings = append(e.Warnings, v)
		return
	}
	e.Violations = append(e.Violations, v)
}

// changes records t as a time when the result may change, unless t is in the past.
func (e *evaluation) changes(t time.Time) {
	if t.After(e.now) && (e.Until.IsZero() || t.Before(e.Until)) {
		e.Until = t.UTC()
	}
}

func (e *evaluation) completeness() {
	in := e.in
	block := func(platform, format string, args ...any) {
		e.report(Block, Violation{Kind: KindEvidence, Rule: "evidence", Platform: platform, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case e.missing:
		block("", "no policy: no image can pass")
	case len(e.policy.Rules) == 0:
		block("", "the policy has no rules: no image can pass")
	}
	if in.Image.Digest == "" {
		block("", "the image has no digest")
	}
	if len(in.Platforms) == 0 {
		block("", "the image has no platforms")
	}
	for _, p := range order.Platforms(in.Platforms) {
		if p.Digest == "" {
			block(p.Platform, "platform %q has no digest", p.Platform)
		}
	}
}

func (e *evaluation) database() {
	db := &e.in.Database
	e.age("the vulnerability database", "was built", db.Built)
	if len(db.Providers) == 0 {
		e.blockDatabase("database.maxAge", "the vulnerability database has no providers, so the age of its data is unknown")
	}
	providers := slices.Clone(db.Providers)
	slices.SortFunc(providers, func(a, b evidence.Provider) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Captured.Compare(b.Captured))
	})
	for _, p := range providers {
		e.age(fmt.Sprintf("the data of the database's provider %q", p.Name), "was captured", p.Captured)
	}
	e.feeds(db.Providers)
	e.advisories(db.Advisories)
}

// advisories denies the image if the database has too few advisories for it. An empty database
// gives no findings, but that does not mean that the image has no vulnerabilities.
func (e *evaluation) advisories(counted []evidence.Advisories) {
	block := func(format string, args ...any) {
		e.blockDatabase("database.minAdvisories", format, args...)
	}
	if !slices.ContainsFunc(counted, func(a evidence.Advisories) bool { return a.Count > 0 }) {
		block("the vulnerability database has no advisories for the image's distribution and package types")
		return
	}
	for _, a := range order.Sorted(counted, order.CompareAdvisories) {
		if least := e.policy.Database.MinAdvisories; a.Count < least {
			block("the number of advisories for %s is %d and must be %d or more", a.Of(), a.Count, least)
		}
	}
}

// feeds denies the image if a rule needs a feed that the database does not have. For example,
// without the KEV feed no vulnerability would count as exploited.
func (e *evaluation) feeds(providers []evidence.Provider) {
	missing := func(feed string) bool {
		return !slices.ContainsFunc(providers, func(p evidence.Provider) bool { return p.Name == feed })
	}
	block := func(feed, rule string, at Position) {
		e.report(Block, Violation{
			Kind: KindDatabase, Rule: rule, Position: at,
			Message: fmt.Sprintf("the vulnerability database has no provider %q, which %q needs", feed, rule),
		})
	}
	if missing("kev") {
		if i := slices.IndexFunc(e.rules, rule.needsKEV); i >= 0 {
			block("kev", e.rules[i].Name, e.rules[i].Position)
		} else if e.policy.Baseline != InheritNothing {
			block("kev", "baseline", Position{})
		}
	}
	if missing("epss") {
		if i := slices.IndexFunc(e.rules, rule.needsEPSS); i >= 0 {
			block("epss", e.rules[i].Name, e.rules[i].Position)
		}
	}
}

// needsKEV reports whether r needs the KEV feed. A rule with a grace period needs it, because known
// exploited vulnerabilities have no grace period.
func (r rule) needsKEV() bool { return r.KEV || r.Grace > 0 }

func (r rule) needsEPSS() bool { return r.EPSS != EPSSThreshold{} }

// age denies the image if a date of the database is unknown, in the future or too old. It also
// records when the result will change.
func (e *evaluation) age(what, happened string, at time.Time) {
	limit := cmp.Or(e.policy.Database.MaxAge, DefaultMaxAge)
	trusted, stale := at.Add(-clock.Skew), at.Add(limit)
	switch {
	case at.IsZero():
		e.blockDatabase("database.maxAge", "it is unknown when %s %s", what, happened)
		return
	case trusted.After(e.now):
		e.blockDatabase("database.maxAge", "%s %s on %s, which is in the future", what, happened, wording.Time(at))
	case !e.now.Before(stale):
		e.blockDatabase("database.maxAge", "%s %s on %s and must be younger than %s", what, happened, wording.Time(at), wording.Duration(limit))
	}
	e.changes(trusted)
	e.changes(stale)
}

func (e *evaluation) blockDatabase(rule, format string, args ...any) {
	e.reportRule(Block, Violation{
		Kind: KindDatabase, Rule: rule, Position: e.policy.Database.Position,
		Message: fmt.Sprintf(format, args...),
	}, nil)
}

func (e *evaluation) endOfLife(p *evidence.Platform) {
	end := p.Distribution.EndOfLife
	if end.IsZero() {
		return
	}
	e.changes(end)
	if e.now.Before(end) {
		return
	}
	e.reportRule(e.policy.Distribution.EndOfLife, Violation{
		Kind: KindDistribution, Rule: "distribution.endOfLife", Position: e.policy.Distribution.Position, Platform: p.Platform,
		Message: fmt.Sprintf("%s reached its end of life on %s: its vendor publishes no more advisories",
			distributionName(p.Distribution), wording.Time(end)),
	}, nil)
}

func distributionName(d evidence.Distribution) string {
	if d.Name != "" {
		return d.Name
	}
	if name := wording.Joined(d.ID, d.Version); name != "" {
		return name
	}
	return "the distribution"
}

func (e *evaluation) sbom(p *evidence.Platform) {
	rule := e.policy.SBOM
	// No policy can let an image pass that has neither packages nor a distribution: the matcher
	// cannot find anything in it.
	if len(p.Packages) == 0 && p.Distribution.ID == "" {
		e.report(Block, Violation{
			Kind: KindSBOM, Rule: "sbom", Position: rule.Position, Platform: p.Platform,
			Message: "the SBOM has no package and no distribution, so the absence of findings proves nothing",
		})
	}
	if have := len(p.Packages); have < rule.MinPackages {
		e.reportRule(Block, Violation{
			Kind: KindSBOM, Rule: "sbom.minPackages", Position: rule.Position, Platform: p.Platform,
			Message: fmt.Sprintf("the number of packages is %d and must be %d or more", have, rule.MinPackages),
		}, nil)
	}
	e.unknowns(p)
}

func (e *evaluation) finding(s *indexed.Finding) outcome {
	verdict := e.decide(s)
	if verdict.rule == nil {
		return outcome{rank: allowed}
	}
	if verdict.unevaluated {
		return outcome{rank: blocked, Violation: e.violation(s, verdict)}
	}
	if statement := e.statements.Removing(s); statement != nil {
		return outcome{rank: notAffected, Violation: e.violation(s, verdict.plain()), statement: statement}
	}
	if verdict.rule.Effect == Warn {
		return outcome{rank: warned, Violation: e.violation(s, verdict)}
	}
	// Look for an exception even during a grace period, so that the exception counts as used.
	covering, expired := e.exceptions.Finding(s)
	if covering >= 0 && verdict.blocks.IsZero() {
		return outcome{rank: excepted, Violation: e.violation(s, verdict.plain()), exception: &e.policy.Exceptions[covering]}
	}
	o := outcome{rank: blocked, Violation: e.violation(s, verdict)}
	o.Expired = e.expired(expired)
	if verdict.effect == Warn {
		o.rank = warned
	}
	return o
}

func (e *evaluation) violation(s *indexed.Finding, verdict verdict) Violation {
	v := Violation{
		Kind: KindVulnerability, Rule: verdict.rule.Name, Position: verdict.rule.Position, Platform: s.Platform.Platform,
		Message: findingMessage(s, verdict), Finding: s.Finding, Blocks: verdict.blocks, Inherited: verdict.inherited,
		Unevaluated: verdict.unevaluated,
	}
	e.policy.locate(&v)
	return v
}
