package policy

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/indexed"
	"github.com/imagegate/imagegate/policy/internal/order"
)

// Set is a list of policies for the same image, such as one of the organization and one of a team.
// An image passes only if it passes every policy, so another policy can only make the result
// stricter. An empty Set, or a Set with a nil policy, denies every image.
type Set []*Policy

// Evaluate evaluates every policy on the evidence at the time now. It changes neither s nor in.
//
// Every finding is in exactly one list of the Decision, by its strictest result. From strict to
// mild the results are: block, warn, excepted, not affected, allowed. Among warnings, the one whose
// grace period ends first is the strictest. If results are equal, the earlier policy is listed.
//
// Other results are listed for each policy, in the order of the policies. If several policies
// report the same result at the same position, it is listed once.
func (s Set) Evaluate(in evidence.Input, now time.Time) Decision {
	if len(s) == 0 {
		s = Set{nil}
	}
	c := newEvaluators(s, &in, now)
	c.all((*evaluation).completeness)
	all := sections()
	for _, s := range all {
		for _, check := range s.image {
			c.all(check)
		}
	}
	for _, platform := range order.Platforms(in.Platforms) {
		for _, s := range all {
			if s.findings {
				c.findings(platform)
			}
			for _, check := range s.platform {
				c.all(func(e *evaluation) { check(e, platform) })
			}
		}
	}
	c.all((*evaluation).evaluateExceptions)
	return c.decision()
}

// Digest identifies all policies in their order. It is the digest of the only policy, or the
// SHA-256 of the lines "sha256:<hex>\n" of all digests. It is empty for the empty Set.
func (s Set) Digest() string {
	if len(s) == 0 {
		return ""
	}
	if len(s) == 1 && s[0] != nil {
		return s[0].Digest
	}
	var lines strings.Builder
	for _, p := range s {
		if p != nil {
			lines.WriteString(p.Digest)
		}
		lines.WriteByte('\n')
	}
	return digest([]byte(lines.String()))
}

// MaxDatabaseAge returns the lowest limit on the age of the vulnerability database, for the images
// of a repository. A policy with an exception for database.maxAge sets no limit here, because only
// Evaluate can decide whether the exception applies.
func (s Set) MaxDatabaseAge(repository string) time.Duration {
	least := time.Duration(0)
	for _, p := range s {
		if p == nil {
			continue
		}
		scoped := p.forImage(repository)
		limit := cmp.Or(scoped.Database.MaxAge, DefaultMaxAge)
		if slices.ContainsFunc(scoped.Exceptions, func(e Exception) bool { return e.excepts("database.maxAge", repository) }) {
			limit = math.MaxInt64
		}
		if least == 0 || limit < least {
			least = limit
		}
	}
	return cmp.Or(least, DefaultMaxAge)
}

// ExceptionsMaxLifetime returns the lowest limit on how far in the future an exception may expire.
// Zero means any time.
func (s Set) ExceptionsMaxLifetime() time.Duration {
	least := time.Duration(0)
	for _, p := range s {
		if p != nil && p.ExceptionsMaxLifetime > 0 && (least == 0 || p.ExceptionsMaxLifetime < least) {
			least = p.ExceptionsMaxLifetime
		}
	}
	return least
}

// Validate validates every policy. The error is one *ParseError, unless a policy is missing.
func (s Set) Validate(now time.Time) error {
	if len(s) == 0 {
		s = Set{nil}
	}
	d := newDecoder("", "")
	for _, p := range s {
		err := p.Validate(now)
		var invalid *ParseError
		if errors.As(err, &invalid) {
			for _, p := range invalid.Problems {
				d.problemAt(p.Position, "%s", p.Message)
			}
		} else if err != nil {
			return err
		}
	}
	return d.err()
}

// evaluators evaluates all policies of a set step by step: each step runs for every policy before
// the next step. It collects the results in this order.
type evaluators struct {
	Decision
	policies []*evaluation
	reported map[resultKey]int // the index of the first policy with this result
}

// resultKey identifies a result that is not about a finding.
type resultKey struct {
	effect   Effect
	kind     Kind
	rule     string
	position Position
	platform string
	message  string
}

func newEvaluators(s Set, in *evidence.Input, now time.Time) *evaluators {
	c := &evaluators{
		Decision: Decision{Violations: []Violation{}, Warnings: []Violation{}, Excepted: []Excepted{}, NotAffected: []NotAffected{}, Allowed: []Allowed{}},
		reported: make(map[resultKey]int),
	}
	for _, p := range s {
		c.policies = append(c.policies, newEvaluation(p, in, now))
	}
	return c
}

// all runs a step for every policy, in the order of the policies. The step must not be about
// findings.
func (c *evaluators) all(step func(*evaluation)) {
	for i, e := range c.policies {
		step(e)
		c.Violations = append(c.Violations, c.deduplicate(i, Block, e.Violations)...)
		c.Warnings = append(c.Warnings, c.deduplicate(i, Warn, e.Warnings)...)
		c.Excepted = append(c.Excepted, e.Excepted...)
		c.Provenance = append(c.Provenance, e.Provenance...)
		e.Violations, e.Warnings, e.Excepted, e.Provenance = nil, nil, nil, nil
	}
}

// deduplicate removes results that an earlier policy already reported. It keeps repetitions by the
// same policy: for example, two files can be unreadable for the same reason.
func (c *evaluators) deduplicate(member int, effect Effect, said []Violation) []Violation {
	if len(c.policies) == 1 {
		return said
	}
	return slices.DeleteFunc(said, func(v Violation) bool {
		w := resultKey{effect, v.Kind, v.Rule, v.Position, v.Platform, v.Message}
		first, ok := c.reported[w]
		if !ok {
			c.reported[w] = member
		}
		return ok && first != member
	})
}

// findings lists every finding with its strictest result. Every policy evaluates the finding, even
// if another policy blocks it, so that its exceptions count as used.
func (c *evaluators) findings(p *evidence.Platform) {
	findings := order.Sorted(p.Findings, order.CompareFindings)
	for i := range findings {
		s := indexed.New(&findings[i], p)
		strictest := c.policies[0].finding(s)
		for _, e := range c.policies[1:] {
			if o := e.finding(s); o.stricterThan(&strictest) {
				strictest = o
			}
		}
		c.list(s, strictest)
	}
}

func (c *evaluators) list(s *indexed.Finding, o outcome) {
	switch o.rank {
	case allowed:
		c.Allowed = append(c.Allowed, Allowed{Platform: s.Platform.Platform, Finding: *s.Finding})
	case excepted:
		c.Excepted = append(c.Excepted, Excepted{Violation: o.Violation, Exception: *o.exception})
	case notAffected:
		c.NotAffected = append(c.NotAffected, NotAffected{Violation: o.Violation, Statement: *o.statement})
	case warned:
		c.Warnings = append(c.Warnings, o.Violation)
	default:
		c.Violations = append(c.Violations, o.Violation)
	}
}

func (c *evaluators) decision() Decision {
	c.Passed = len(c.Violations) == 0
	for _, e := range c.policies {
		c.TimeDependent = c.TimeDependent || e.TimeDependent
		if !e.Until.IsZero() && (c.Until.IsZero() || e.Until.Before(c.Until)) {
			c.Until = e.Until
		}
	}
	return c.Decision
}

// outcome is the result of one policy for one finding.
type outcome struct {
	rank rank
	Violation
	exception *Exception
	statement *evidence.VEXStatement
}

// rank orders outcomes, the strictest first.
type rank uint8

const (
	blocked rank = iota
	warned
	excepted
	notAffected
	allowed
)

func (o *outcome) stricterThan(b *outcome) bool {
	if o.rank != b.rank {
		return o.rank < b.rank
	}
	return o.rank == warned && !o.Blocks.IsZero() && (b.Blocks.IsZero() || o.Blocks.Before(b.Blocks))
}
