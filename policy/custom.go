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

	"github.com/imagegate/imagegate/policy/evidence"
)

// KindCustom is the kind of a violation of a custom rule about a package or a platform, or of a
// custom rule that could not be evaluated.
const KindCustom Kind = "custom"

// Each is the kind of object that a custom rule is evaluated for, once for each object.
type Each string

// The kinds of objects, and the variable that each adds to image, platform and now.
const (
	// EachFinding adds finding.
	EachFinding Each = "finding"
	// EachPackage adds pkg.
	EachPackage Each = "package"
	// EachPlatform adds no variable.
	EachPlatform Each = "platform"
)

// CustomRule is a rule whose condition is an expression in CEL (https://cel.dev), the language of
// Kubernetes' admission policies. Expressions read the evidence under the names of its JSON form.
//
// The language is standard CEL with the functions of cel-go's strings library. Severities have a
// type of their own: severity.low and so on. They can be compared only with each other, and unknown
// is the highest. Reading a number, time or object that the evidence does not have is an error;
// test with has() first. Map literals are not allowed, because their order is random. Neither is
// dyn, which hides misspelled fields, nor a time zone, which is a file of the machine.
//
// A rule that cannot be evaluated, or that costs too much, blocks whatever its effect. A rule that
// Parse did not make blocks, too.
//
// A rule cannot count findings: platform has no findings, and each finding is evaluated separately.
// Otherwise one more finding could turn a denial into a pass. For the same reason, a rule matches a
// finding if it matches at the finding's severity or at any lower one. If the severity is unknown,
// a match at any severity counts. If the vulnerability is known to be exploited, a match without
// that knowledge counts. More knowledge about a finding then never loses a match.
type CustomRule struct {
	// Name identifies the rule in exceptions, if the rule is about packages or platforms.
	// Exceptions for findings use an id. Mandatory, unique among all rules of the policy. Example:
	// "name: no telnet".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image that violates the rule. Default: block. Example:
	// "effect: warn".
	Effect Effect `json:"effect"`
	// Each sets what the rule is evaluated for. All expressions have the variables image, platform
	// and now. "finding" adds finding, "package" adds pkg, and "platform" adds none. Mandatory.
	// Example: "each: package".
	Each Each `json:"each"`
	// When sets the condition: an expression that is true if the rule is violated. Mandatory.
	// Example: `when: pkg.name == "telnetd"`.
	When string `json:"when"`
	// Message sets an expression for the text in reports. Default: the name of the rule. Example:
	// `message: '"found " + pkg.version'`.
	Message string `json:"message,omitempty"`

	compiled *compiled
}

// compiled holds the programs of a CustomRule. Any number of goroutines may use it.
type compiled struct {
	language *language
	when     cel.Program
	message  cel.Program // nil if the rule has no message
	readsNow bool
}

// Equal reports whether both are the same rule at the same position.
func (r CustomRule) Equal(other CustomRule) bool {
	r.compiled, other.compiled = nil, nil
	return r == other
}

// usesNow reports whether the result of the rule can change with time, so that it must not be
// reused.
func (r *CustomRule) usesNow() bool { return r.compiled == nil || r.compiled.readsNow }

// evaluate applies a rule about platforms or packages to a platform. It calls report for each
// violation, with the package if the rule is about packages. If the rule cannot be evaluated, it
// calls report with an error: that blocks whatever the effect and the exceptions. A rule about
// findings does nothing here; see matches.
func (r *CustomRule) evaluate(in *evidence.Input, p *evidence.Platform, now time.Time, report func(pkg *evidence.Package, message string, err error)) {
	if r.compiled == nil {
		report(nil, unevaluatedMessage(r.Name, errNotCompiled), errNotCompiled)
		return
	}
	vars := r.compiled.language.variables(in, p, now)
	ask := func(pkg *evidence.Package, about string) {
		matched, message, err := r.ask(vars)
		if err != nil {
			message = unevaluatedMessage(r.Name, err)
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
		report(nil, unevaluatedMessage(r.Name, errNotCompiled), errNotCompiled)
	}
}

// custom applies the custom rules that are not about findings to a platform.
func (e *evaluation) custom(p *evidence.Platform) {
	for i := range e.policy.Custom {
		r := &e.policy.Custom[i]
		r.evaluate(e.in, p, e.now, func(pkg *evidence.Package, message string, err error) {
			v := Violation{Kind: KindCustom, Rule: r.Name, Position: r.Position, Platform: p.Platform, Package: pkg, Message: message}
			if err != nil {
				v.Unevaluated = true
				e.report(Block, v)
				return
			}
			e.reportRule(r.Effect, v, pkg)
		})
	}
}

// customMatch is a custom rule that matches a finding, or that could not be evaluated.
type customMatch struct {
	rule    *rule
	message string
	err     error
}

// customMatches returns the custom rules about findings that match s or could not be evaluated.
func (e *evaluation) customMatches(s *indexedFinding) (matches []customMatch) {
	for i := range e.customRules {
		r := &e.customRules[i]
		if matched, message, err := r.custom.matches(e.in, s.platform, s.Finding, e.now); matched {
			if err == nil && r.custom.Message == "" {
				message = "" // reports show the rule's name anyway
			}
			matches = append(matches, customMatch{r, message, err})
		}
	}
	return matches
}

// compileCustom converts the custom rules about findings to rules, so that they can be compared
// with the others.
func compileCustom(custom []CustomRule) []rule {
	var rules []rule
	for i := range custom {
		if r := &custom[i]; r.Each == EachFinding {
			rules = append(rules, rule{Rule: &Rule{Name: r.Name, Position: r.Position, Effect: r.Effect}, custom: r})
		}
	}
	return rules
}

// matches applies a rule about findings to f. message explains the match. An error means that the
// rule could not be evaluated. matched is then true, and the finding blocks whatever the effect and
// the exceptions.
func (r *CustomRule) matches(in *evidence.Input, p *evidence.Platform, f *evidence.Finding, now time.Time) (matched bool, message string, err error) {
	if r.compiled == nil || r.Each != EachFinding {
		return true, unevaluatedMessage(r.Name, errNotCompiled), errNotCompiled
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
		return true, unevaluatedMessage(r.Name, err), err
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

// atEach calls ask with f as if less were known about it: from the lowest severity up to its own,
// first as if it were not known to be exploited. It goes on after a match, because an error at any
// level must stay an error when more becomes known. If the rule does not read the severity, it asks
// only once.
func (r *CustomRule) atEach(vars *variables, f *evidence.Finding, ask func() error) error {
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

var ascending = [...]evidence.Severity{evidence.SeverityNegligible, evidence.SeverityLow, evidence.SeverityMedium, evidence.SeverityHigh, evidence.SeverityCritical, evidence.SeverityUnknown}

// upTo returns the severities up to and including s, the lowest first. An invalid severity counts
// as unknown.
func upTo(s evidence.Severity) []evidence.Severity {
	at := slices.Index(ascending[:], s)
	if at < 0 {
		return ascending[:]
	}
	return ascending[:at+1]
}

// ask returns whether the condition holds and, if so, the message.
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

// text returns the message of the violation.
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

// Limits of texts in a violation, in characters.
const (
	maxMessage   = 1000
	maxErrorText = 200
	maxName      = 200
)

var errNotCompiled = errors.New("it was not compiled")

// errHidden replaces an error of cel-go, because such an error may quote any value.
var errHidden = errors.New("the error is not shown, because the image has a label that looks like a credential")

// unevaluatedMessage is the message for a rule that could not be evaluated.
func unevaluatedMessage(rule string, err error) string {
	return fmt.Sprintf("the rule %q could not be evaluated, which blocks: %v", rule, err)
}

// evalError replaces a known error of cel-go with a message of our own, and quotes and shortens all
// others: they may contain text from the image.
func evalError(err error) error {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
		return errors.New("it costs more than an expression may")
	}
	return fmt.Errorf("%q", clip(err.Error(), maxErrorText))
}

// clip returns s, or its first limit characters and an ellipsis.
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
