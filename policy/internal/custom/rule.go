// Package custom implements the language of custom rules: CEL (https://cel.dev) over the evidence,
// with the field names of the evidence's JSON form.
//
// [Compile] checks the expressions of a rule and limits their cost. [Rule.Evaluate] and
// [Rule.Matches] evaluate them. A rule that cannot be evaluated is reported as an error, so that it
// can block.
package custom

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
	"github.com/imagegate/imagegate/policy/internal/order"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// Each is the kind of object that a rule is evaluated for. The rule is evaluated once for each
// object.
type Each string

// The kinds of objects.
const (
	Finding  Each = "finding"
	Package  Each = "package"
	Platform Each = "platform"
)

// Rule is a custom rule. Without a Program it cannot be evaluated.
type Rule struct {
	// Name names the rule in messages.
	Name    string
	Each    Each
	Program *Program
}

// Program has the compiled expressions of a rule. Any number of goroutines may use it.
type Program struct {
	language *language
	when     cel.Program
	message  cel.Program // nil if the rule has no message expression
	readsNow bool
}

// UsesNow reports whether the result of the rule can change with time. Such a result must not be
// reused.
func (r Rule) UsesNow() bool { return r.Program == nil || r.Program.readsNow }

// Evaluate applies a rule about platforms or packages to a platform. It calls report for each
// violation, with the package if the rule is about packages. If the rule cannot be evaluated, it
// calls report with an error. The caller must then block, whatever the rule's effect and
// exceptions. For a rule about findings Evaluate does nothing; see Matches.
func (r Rule) Evaluate(in *evidence.Input, p *evidence.Platform, now time.Time, report func(pkg *evidence.Package, message string, err error)) {
	if r.Program == nil {
		report(nil, unevaluatedMessage(r.Name, errNotCompiled), errNotCompiled)
		return
	}
	vars := r.Program.language.variables(in, p, now)
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
	case Finding:
	case Platform:
		ask(nil, "")
	case Package:
		for _, pkg := range order.Packages(p.Packages) {
			vars.pkg = r.Program.language.packageObject(pkg)
			ask(pkg, wording.Clip(wording.Package(pkg), maxName)+": ")
		}
	default:
		report(nil, unevaluatedMessage(r.Name, errNotCompiled), errNotCompiled)
	}
}

// Matches applies a rule about findings to f. message explains the match. An error means that the
// rule could not be evaluated. matched is then true, and the finding blocks whatever the effect and
// the exceptions.
func (r Rule) Matches(in *evidence.Input, p *evidence.Platform, f *evidence.Finding, now time.Time) (matched bool, message string, err error) {
	if r.Program == nil || r.Each != Finding {
		return true, unevaluatedMessage(r.Name, errNotCompiled), errNotCompiled
	}
	vars := r.Program.language.variables(in, p, now)
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
		// The message may come from a match at a lower severity. Prefer the message at f's own
		// severity.
		known := upTo(f.Severity)
		vars.finding = r.Program.language.findingObject(f, &assumed{severity: known[len(known)-1]})
		if own, err := r.text(vars); err == nil {
			message = own
		}
	}
	return matched, message, nil
}

// atEach calls ask for f at each severity from the lowest up to f's own. For a known exploited
// vulnerability, it does so twice, first as if the exploitation were unknown. It continues after a
// match, because an error at a lower severity must remain an error at a higher one. If the rule
// does not read the severity, one evaluation is enough.
func (r Rule) atEach(vars *variables, f *evidence.Finding, ask func() error) error {
	exploited := []bool{false}
	if f.KEV != nil {
		exploited = []bool{false, true}
	}
	for _, known := range exploited {
		for _, s := range upTo(f.Severity) {
			as := assumed{severity: s, unexploited: !known}
			vars.finding = r.Program.language.findingObject(f, &as)
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

// ask reports whether the condition is true. If it is, ask also returns the message.
func (r Rule) ask(vars *variables) (matched bool, message string, err error) {
	if matched, err = r.condition(vars); err != nil || !matched {
		return matched, "", err
	}
	message, err = r.text(vars)
	return true, message, err
}

func (r Rule) condition(vars *variables) (bool, error) {
	v, _, err := r.Program.when.Eval(vars)
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

// text evaluates the message expression of the rule. Without a message expression, it returns a
// text that names the rule.
func (r Rule) text(vars *variables) (string, error) {
	matched := fmt.Sprintf("matched by the rule %q", r.Name)
	if r.Program.message == nil {
		return matched, nil
	}
	v, _, err := r.Program.message.Eval(vars.forText())
	if err != nil {
		return "", fmt.Errorf("evaluating the message: %w", evalError(err))
	}
	s, ok := v.(types.String)
	if !ok {
		return "", fmt.Errorf("the message is a %s and not a string", v.Type().TypeName())
	}
	return wording.Clip(cmp.Or(strings.TrimSpace(string(s)), matched), maxMessage), nil
}

// Limits for the length of a rule's message, of an error of cel-go, and of the name of a package or
// platform, in characters. Longer texts are shortened.
const (
	maxMessage   = 1000
	maxErrorText = 200
	maxName      = 200
)

var errNotCompiled = errors.New("the rule was not compiled")

// errHidden replaces an error of cel-go if the image has a hidden label, because such an error may
// quote any value.
var errHidden = errors.New("the error is not shown, because the image has a label that looks like a credential")

// unevaluatedMessage is the message for a rule that could not be evaluated.
func unevaluatedMessage(rule string, err error) string {
	return fmt.Sprintf("the rule %q could not be evaluated, which blocks: %v", rule, err)
}

// evalError replaces cel-go's error for an exceeded cost limit. It quotes and shortens all other
// errors, because they may contain text from the image.
func evalError(err error) error {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
		return errors.New("the evaluation exceeds the cost limit")
	}
	return fmt.Errorf("%q", wording.Clip(err.Error(), maxErrorText))
}
