package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// exceptions finds the exceptions that cover a violation, and records which ones were used.
type exceptions struct {
	now    time.Time
	all    []*exception
	byID   map[string][]*exception // by id in lower case; only exceptions for this image
	byRule map[string][]*exception // by rule name; only exceptions for this image
}

type exception struct {
	Exception
	index   int // position in the file
	pattern match.PURLPattern
	path    string    // pattern for paths; empty matches any
	outside bool      // not for this image
	used    bool      // covers something now
	lapsed  bool      // has expired and would cover something
	begins  time.Time // start of the period when the policy allows its end date; zero if it does so now
}

// newExceptions prepares the exceptions of p for an image.
func newExceptions(p *Policy, repository string, now time.Time) *exceptions {
	n := match.NewImage(repository)
	x := &exceptions{now: now, byID: make(map[string][]*exception, len(p.Exceptions)), byRule: make(map[string][]*exception)}
	for i, e := range p.Exceptions {
		compiled := &exception{Exception: e, index: i, pattern: match.NewPURLPattern(e.Package), path: e.Path}
		compiled.outside = e.Image != "" && !match.NewImagePattern(e.Image).Match(n)
		if p.tooLong(&e, now) {
			compiled.begins = e.Expires.Add(-p.ExceptionsMaxLifetime)
		}
		x.all = append(x.all, compiled)
		switch {
		case compiled.outside || !compiled.begins.IsZero():
		case e.ID != "":
			id := strings.ToLower(e.ID)
			x.byID[id] = append(x.byID[id], compiled)
		case e.Rule != "":
			x.byRule[e.Rule] = append(x.byRule[e.Rule], compiled)
		}
	}
	return x
}

// cover returns the exception that covers f, or nil. If several do, it returns the one that lasts
// longest. expired lists expired exceptions that match, in the order of the file. f must be a
// finding that blocks, because the exception is marked as used.
func (x *exceptions) cover(f *indexedFinding) (covering *exception, expired []Exception) {
	return x.choose(x.candidates(f), exceptingOne(f.purl))
}

// coverRule is like cover, for a violation of a rule about s.
func (x *exceptions) coverRule(rule string, s excepting) (covering *exception, expired []Exception) {
	return x.choose(x.byRule[rule], s)
}

func (x *exceptions) choose(candidates []*exception, s excepting) (covering *exception, expired []Exception) {
	for _, e := range candidates {
		switch {
		case !e.matches(s):
		case !x.now.Before(e.Expires):
			e.lapsed = true
			expired = append(expired, e.Exception)
		default:
			e.used = true
			if covering == nil || e.Expires.After(covering.Expires) {
				covering = e
			}
		}
	}
	return covering, expired
}

// candidates returns the exceptions for f's id or aliases, each once, in the order of the file.
func (x *exceptions) candidates(f *indexedFinding) []*exception {
	if len(x.byID) == 0 {
		return nil
	}
	found := slices.Clip(x.byID[f.ids[0]]) // so that append copies it
	byID := len(found)
	for _, alias := range f.ids[1:] {
		found = append(found, x.byID[alias]...)
	}
	if len(found) > byID {
		slices.SortFunc(found, func(a, b *exception) int { return cmp.Compare(a.index, b.index) })
		found = slices.Compact(found)
	}
	return found
}

// excepts reports whether e can cover the built-in rule of that name for an image.
func (e *Exception) excepts(rule, repository string) bool {
	return e.Rule == rule && e.Package == "" && (e.Image == "" || match.NewImagePattern(e.Image).Match(match.NewImage(repository)))
}

// subject returns the finding or rule of the exception, for messages.
func (e *Exception) subject() string {
	if e.Rule != "" {
		return fmt.Sprintf("rule %q", e.Rule)
	}
	return strconv.Quote(e.ID)
}

// reportRule reports a violation of a rule that is not about vulnerabilities. pkg is nil if it is
// not about a package. If it blocks and an exception covers it, v is excepted.
func (e *evaluation) reportRule(effect Effect, v Violation, pkg *evidence.Package) {
	if effect == Warn {
		e.report(Warn, v)
		return
	}
	var u match.PURL
	if pkg != nil {
		u = match.SplitPURL(pkg.PURL)
	}
	e.reportUnless(v, exceptingOne(u))
}

// reportUnless reports a violation that blocks, or lists it as excepted if an exception for its
// rule covers s.
func (e *evaluation) reportUnless(v Violation, s excepting) {
	covering, expired := e.exceptions.coverRule(v.Rule, s)
	if covering != nil {
		e.policy.locate(&v)
		e.Excepted = append(e.Excepted, Excepted{Violation: v, Exception: covering.Exception})
		return
	}
	v.Expired = expired
	e.report(Block, v)
}

// evaluateExceptions blocks exceptions that last longer than the policy allows and warns about unused
// ones. It also records the instants when the exceptions in use end.
func (e *evaluation) evaluateExceptions() {
	for _, x := range e.exceptions.all {
		v := Violation{Kind: KindException, Rule: "exceptions", Position: x.Position}
		effect := Warn
		switch {
		case x.used:
			e.changes(x.Expires)
			continue
		case !x.begins.IsZero():
			e.changes(x.begins)
			effect, v.Rule = Block, "exceptions.maxLifetime"
			v.Message = fmt.Sprintf("the exception for %s ends on %s, which is more than %s ahead: it does not apply",
				x.subject(), formatTime(x.Expires), formatDuration(e.policy.ExceptionsMaxLifetime))
		case x.lapsed:
			v.Message = fmt.Sprintf("the exception for %s expired on %s", x.subject(), formatTime(x.Expires))
		case x.outside:
			v.Message = fmt.Sprintf("the exception for %s is unused: it is for other images, %q", x.subject(), x.Image)
		case x.Rule != "":
			v.Message = fmt.Sprintf("the exception for %s is unused: it covers nothing that the rule blocks", x.subject())
		default:
			v.Message = fmt.Sprintf("the exception for %s is unused: it covers no finding that a rule blocks", x.subject())
		}
		e.report(effect, v)
	}
}
