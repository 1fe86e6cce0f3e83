package policy

import (
	"fmt"
	"strconv"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/exceptions"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// newExceptions indexes the exceptions of p for the images of a repository.
func newExceptions(p *Policy, repository string, now time.Time) *exceptions.List {
	all := make([]exceptions.Exception, len(p.Exceptions))
	for i := range p.Exceptions {
		e := &p.Exceptions[i]
		all[i] = exceptions.Exception{ID: e.ID, Rule: e.Rule, Package: e.Package, Path: e.Path, Image: e.Image, Expires: e.Expires}
		if p.tooLong(e, now) {
			all[i].Begins = e.Expires.Add(-p.ExceptionsMaxLifetime)
		}
	}
	return exceptions.New(all, repository, now)
}

// expired returns the exceptions at these indexes in the policy's list of exceptions.
func (e *evaluation) expired(places []int) []Exception {
	var expired []Exception
	for _, i := range places {
		expired = append(expired, e.policy.Exceptions[i])
	}
	return expired
}

// excepts reports whether e covers violations of the named rule that are not about a package, for
// images of the repository.
func (e *Exception) excepts(rule, repository string) bool {
	return e.Rule == rule && e.Package == "" && (e.Image == "" || match.NewImagePattern(e.Image).Match(match.NewImage(repository)))
}

// Subject names the finding or rule of the exception in messages: the quoted id, or "rule" and the
// quoted name.
func (e *Exception) Subject() string {
	if e.Rule != "" {
		return fmt.Sprintf("rule %q", e.Rule)
	}
	return strconv.Quote(e.ID)
}

// reportRule reports v, a violation of a rule that is not about vulnerabilities. pkg is the package
// of the violation, or nil. If v would block and an exception covers it, v is listed as excepted.
func (e *evaluation) reportRule(effect Effect, v Violation, pkg *evidence.Package) {
	if effect == Warn {
		e.report(Warn, v)
		return
	}
	var u match.PURL
	if pkg != nil {
		u = match.SplitPURL(pkg.PURL)
	}
	e.reportUnless(v, exceptions.One(u))
}

// reportUnless reports a violation that blocks. If an exception for the violated rule matches all
// packages and files in about, the violation is listed as excepted instead.
func (e *evaluation) reportUnless(v Violation, about exceptions.About) {
	covering, expired := e.exceptions.Rule(v.Rule, about)
	if covering >= 0 {
		e.policy.locate(&v)
		e.Excepted = append(e.Excepted, Excepted{Violation: v, Exception: e.policy.Exceptions[covering]})
		return
	}
	v.Expired = e.expired(expired)
	e.report(Block, v)
}

// evaluateExceptions denies the image if an exception lasts longer than the policy allows. It warns
// about unused and expired exceptions. It also records when the exceptions in use expire.
func (e *evaluation) evaluateExceptions() {
	for i, used := range e.exceptions.All() {
		x := &e.policy.Exceptions[i]
		v := Violation{Kind: KindException, Rule: "exceptions", Position: x.Position}
		effect := Warn
		switch {
		case used.Used:
			e.changes(x.Expires)
			continue
		case !used.Begins.IsZero():
			e.changes(used.Begins)
			effect, v.Rule = Block, "exceptions.maxLifetime"
			v.Message = fmt.Sprintf("the exception for %s expires on %s, more than %s ahead of now: it does not apply",
				x.Subject(), wording.Time(x.Expires), wording.Duration(e.policy.ExceptionsMaxLifetime))
		case used.Lapsed:
			v.Message = fmt.Sprintf("the exception for %s expired on %s", x.Subject(), wording.Time(x.Expires))
		case used.Outside:
			v.Message = fmt.Sprintf("the exception for %s is unused: its pattern %q does not match this image", x.Subject(), x.Image)
		case x.Rule != "":
			v.Message = fmt.Sprintf("the exception for %s is unused: it matches no violation of the rule", x.Subject())
		default:
			v.Message = fmt.Sprintf("the exception for %s is unused: it matches no finding that a rule blocks", x.Subject())
		}
		e.report(effect, v)
	}
}
