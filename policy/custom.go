package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
)

// KindCustom is the kind of what a custom rule says about a package or a
// platform, and of one that could not be evaluated.
const KindCustom Kind = "custom"

// Each is what a custom rule is evaluated for, once for each.
type Each string

// What custom rules are about, with the variables that their expressions have
// beside image, platform and now.
const (
	// EachFinding has finding.
	EachFinding Each = "finding"
	// EachPackage has pkg.
	EachPackage Each = "package"
	// EachPlatform has no more.
	EachPlatform Each = "platform"
)

// CustomRule is a rule whose condition is an expression in CEL, the language of
// Kubernetes' admission policies (https://cel.dev), over the evidence under the
// names of its JSON form.
//
// The language is the standard one with the functions of cel-go's strings
// library, and with severities as a type of their own: severity.low and so on,
// which compare with each other alone, unknown being the greatest. Numbers,
// times and objects that the evidence does not state cannot be read: has() asks
// first. There are no map literals, whose order is random; no dyn, which hides
// misspelt fields; no time zones, which are files of the machine.
//
// A rule that cannot be evaluated, or costs too much, blocks whatever its
// effect, and so does one that Parse has not made.
//
// No rule can tell how many findings there are: platform has none, and each
// finding is judged on its own. Otherwise one more finding could turn a denial
// into a pass. For the same reason a rule matches a finding if it does so at
// the finding's severity or any lower one, and at any at all if the severity is
// unknown, and what is known to be exploited if it would were that not known:
// to learn more of a finding then never loses a match.
type CustomRule struct {
	// Name is mandatory and unique among all rules of the policy. Exceptions
	// name a rule about packages or platforms by it; findings are excepted by
	// id. Example: "name: no telnet".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect is what happens to an image that the rule hits; block where left
	// out. Example: "effect: warn".
	Effect Effect `json:"effect"`
	// Each is what the rule is evaluated for, and with it the variable that its
	// expressions have beside image, platform and now: "finding" has finding,
	// "package" has pkg, "platform" has no more. Mandatory.
	// Example: "each: package".
	Each Each `json:"each"`
	// When is the condition: an expression that is true where the rule hits.
	// Mandatory. Example: `when: pkg.name == "telnetd"`.
	When string `json:"when"`
	// Message is an expression for the text that reports show; where left out
	// they name the rule. Example: `message: '"found " + pkg.version'`.
	Message string `json:"message,omitempty"`

	compiled *compiled
}

// compiled is a CustomRule ready to be evaluated, by any number of goroutines.
type compiled struct {
	language *language
	when     cel.Program
	message  cel.Program // nil where the rule has none
	readsNow bool
}

// Equal reports whether both are the same rule at the same place.
func (r CustomRule) Equal(other CustomRule) bool {
	r.compiled, other.compiled = nil, nil
	return r == other
}

// usesNow reports whether the rule may say something else at another time, so
// that what it said must not be reused.
func (r *CustomRule) usesNow() bool { return r.compiled == nil || r.compiled.readsNow }

// evaluate judges a platform by a rule about platforms or packages. It calls
// report for each that the rule hits, with the package where it is about one,
// and with an error where the rule could not be evaluated: that blocks whatever
// the rule's effect and whatever excepts it. A rule about findings is asked by
// matches and has nothing to say here.
func (r *CustomRule) evaluate(in *Input, p *Platform, now time.Time, report func(pkg *Package, message string, err error)) {
	if r.compiled == nil {
		report(nil, unjudged(r.Name, errNotCompiled), errNotCompiled)
		return
	}
	vars := r.compiled.language.variables(in, p, now)
	ask := func(pkg *Package, about string) {
		matched, message, err := r.ask(vars)
		if err != nil {
			message = unjudged(r.Name, err)
		}
		if matched || err != nil {
			report(pkg, about+message, err)
		}
	}
	switch r.Each {
	case EachFinding:
	case EachPlatform:
		ask(nil, "")
	case EachPackage:
		for _, pkg := range sortedPackages(p.Packages) {
			vars.pkg = r.compiled.language.packageObject(pkg)
			ask(pkg, clip(packageName(pkg), maxName)+": ")
		}
	default:
		report(nil, unjudged(r.Name, errNotCompiled), errNotCompiled)
	}
}

// custom judges a platform by the custom rules that are not about findings.
func (e *evaluation) custom(p *Platform) {
	for i := range e.policy.Custom {
		r := &e.policy.Custom[i]
		r.evaluate(e.in, p, e.now, func(pkg *Package, message string, err error) {
			v := Violation{Kind: KindCustom, Rule: r.Name, Position: r.Position, Platform: p.Platform, Package: pkg, Message: message}
			if err != nil {
				v.Unjudged = true
				e.report(Block, v)
				return
			}
			e.reportRule(r.Effect, v, pkg)
		})
	}
}

// customMatch is a custom rule about findings that matches one, or, with an
// error, that could not tell.
type customMatch struct {
	rule    *rule
	message string
	err     error
}

// customMatches asks the custom rules about findings.
func (e *evaluation) customMatches(s *subject) (matches []customMatch) {
	for i := range e.customRules {
		r := &e.customRules[i]
		if matched, message, err := r.custom.matches(e.in, s.platform, s.Finding, e.now); matched {
			if err == nil && r.custom.Message == "" {
				message = "" // the rule's name stands beside it
			}
			matches = append(matches, customMatch{r, message, err})
		}
	}
	return matches
}

// compileCustom makes the custom rules about findings comparable with the others.
func compileCustom(custom []CustomRule) []rule {
	var rules []rule
	for i := range custom {
		if r := &custom[i]; r.Each == EachFinding {
			rules = append(rules, rule{Rule: &Rule{Name: r.Name, Position: r.Position, Effect: r.Effect}, custom: r})
		}
	}
	return rules
}

// matches judges a finding by a rule about findings. message says why it
// matched. An error means that the rule could not be evaluated: the finding
// blocks then whatever the rule's effect and whatever excepts it, and matched is
// true.
func (r *CustomRule) matches(in *Input, p *Platform, f *Finding, now time.Time) (matched bool, message string, err error) {
	if r.compiled == nil || r.Each != EachFinding {
		return true, unjudged(r.Name, errNotCompiled), errNotCompiled
	}
	vars := r.compiled.language.variables(in, p, now)
	err = r.atEach(vars, f, func() error {
		b, text, err := r.ask(vars)
		if b {
			matched, message = true, text
		}
		return err
	})
	if err != nil {
		return true, unjudged(r.Name, err), err
	}
	if matched {
		// The last match may have been at a lower severity than the finding's.
		known := upTo(f.Severity)
		vars.finding = r.compiled.language.findingObject(f, &assumed{severity: known[len(known)-1]})
		if own, err := r.text(vars); err == nil {
			message = own
		}
	}
	return matched, message, nil
}

// atEach calls ask with f as it would be were less known of it: at the least
// severity, and so on up to its own, first as if nobody knew that it is
// exploited. It does so although the first answer may already be a match: an
// error at any of them must remain one when more becomes known. Where nothing
// has looked at the severity the answer is the same at all of them.
func (r *CustomRule) atEach(vars *variables, f *Finding, ask func() error) error {
	exploited := []bool{false}
	if f.KEV != nil {
		exploited = []bool{false, true}
	}
	for _, known := range exploited {
		for _, s := range upTo(f.Severity) {
			as := assumed{severity: s, unexploited: !known}
			vars.finding = r.compiled.language.findingObject(f, &as)
			if err := ask(); err != nil {
				return err
			}
			if !as.read {
				break
			}
		}
	}
	return nil
}

var ascending = [...]Severity{SeverityNegligible, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical, SeverityUnknown}

// upTo returns s and the severities below it, the least first. What is no
// severity counts as unknown.
func upTo(s Severity) []Severity {
	at := slices.Index(ascending[:], s)
	if at < 0 {
		return ascending[:]
	}
	return ascending[:at+1]
}

// ask returns whether the condition holds, and the message if so.
func (r *CustomRule) ask(vars *variables) (matched bool, message string, err error) {
	if matched, err = r.condition(vars); err != nil || !matched {
		return matched, "", err
	}
	message, err = r.text(vars)
	return true, message, err
}

func (r *CustomRule) condition(vars *variables) (bool, error) {
	v, _, err := r.compiled.when.Eval(vars)
	if err != nil && vars.public != nil {
		return false, errHidden
	}
	if err != nil {
		return false, evalError(err)
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the condition is a %s and not a bool", v.Type().TypeName())
	}
	return bool(b), nil
}

// text returns the violation's message.
func (r *CustomRule) text(vars *variables) (string, error) {
	matched := fmt.Sprintf("matched by the rule %q", r.Name)
	if r.compiled.message == nil {
		return matched, nil
	}
	v, _, err := r.compiled.message.Eval(vars.forText())
	if err != nil {
		return "", fmt.Errorf("its message: %w", evalError(err))
	}
	s, ok := v.(types.String)
	if !ok {
		return "", fmt.Errorf("its message is a %s and not a string", v.Type().TypeName())
	}
	return clip(cmp.Or(strings.TrimSpace(string(s)), matched), maxMessage), nil
}

// The longest texts of a violation, in characters.
const (
	maxMessage   = 1000
	maxErrorText = 200
	maxName      = 200
)

var errNotCompiled = errors.New("it was not compiled")

// errHidden stands for an error of cel-go, which may quote any value.
var errHidden = errors.New("the error is not shown, because the image has a label that looks like a credential")

// unjudged says that a rule could not be evaluated.
func unjudged(rule string, err error) string {
	return fmt.Sprintf("the rule %q could not be evaluated, which blocks: %v", rule, err)
}

// evalError is an error of cel-go in our words, or bounded and in quotes: it may
// have text of the image in it.
func evalError(err error) error {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
		return errors.New("it costs more than an expression may")
	}
	return fmt.Errorf("%q", clip(err.Error(), maxErrorText))
}

// clip returns s, or its first limit characters with a mark of the cut.
func clip(s string, limit int) string {
	n := 0
	for i := range s {
		if n == limit {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
