package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/interpreter"
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
// unknown: raising a severity then never loses a match.
type CustomRule struct {
	Name     string   `json:"name"` // unique among the custom rules
	Position Position `json:"position"`
	Effect   Effect   `json:"effect"`
	Each     Each     `json:"each"`
	// When is the source of the condition: true is a violation.
	When string `json:"when"`
	// Message is the source of the violation's message; empty for one that
	// names the rule.
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

// evaluate judges a platform by a rule about platforms or packages. What it
// returns as denied blocks, what it returns as warned warns. A rule about
// findings is asked by matches and has nothing to say here.
func (r *CustomRule) evaluate(in *Input, p *Platform, now time.Time) (denied, warned []Violation) {
	report := func(about string, matched bool, message string, err error) {
		if err != nil {
			message = unjudged(r.Name, err)
		}
		v := Violation{Kind: KindCustom, Rule: r.Name, Position: r.Position, Platform: p.Platform, Message: about + message}
		switch {
		case err == nil && !matched:
		case err == nil && r.Effect == Warn:
			warned = append(warned, v)
		default:
			denied = append(denied, v)
		}
	}
	if r.compiled == nil {
		report("", true, "", errNotCompiled)
		return denied, warned
	}
	vars := r.compiled.language.variables(in, p, now)
	switch r.Each {
	case EachFinding:
	case EachPlatform:
		matched, message, err := r.ask(vars)
		report("", matched, message, err)
	case EachPackage:
		for _, pkg := range sortedPackages(p.Packages) {
			vars.pkg = r.compiled.language.packageObject(pkg)
			matched, message, err := r.ask(vars)
			report(packageName(pkg)+": ", matched, message, err)
		}
	default:
		report("", true, "", errNotCompiled)
	}
	return denied, warned
}

// packageName is how messages begin that are about a package.
func packageName(p *Package) string {
	return clip(cmp.Or(joined(p.Name, p.Version), "a package without a name"), maxName)
}

func sortedPackages(packages []Package) []*Package {
	order := pointers(packages)
	slices.SortStableFunc(order, func(a, b *Package) int {
		return cmp.Or(comparePackages(a, b), slices.Compare(a.Licenses, b.Licenses))
	})
	return order
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
	err = r.atEachSeverity(vars, f, func() error {
		b, err := r.condition(vars)
		matched = matched || b
		return err
	})
	if err == nil && matched {
		err = r.atEachSeverity(vars, f, func() (err error) {
			message, err = r.text(vars)
			return err
		})
	}
	if err != nil {
		return true, unjudged(r.Name, err), err
	}
	return matched, message, nil
}

// atEachSeverity calls ask with f at the least severity, and so on up to its own.
// It does so although the first answer may already be a match: an error at any
// of them must remain one when the severity is raised. Where nothing has looked
// at the severity the answer is the same at all of them.
func (r *CustomRule) atEachSeverity(vars *variables, f *Finding, ask func() error) error {
	for _, s := range upTo(f.Severity) {
		as := assumed{severity: s}
		vars.finding = r.compiled.language.findingObject(f, &as)
		if err := ask(); err != nil {
			return err
		}
		if !as.read {
			return nil
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
	v, _, err := r.compiled.message.Eval(vars)
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
