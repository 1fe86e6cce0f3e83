package policy

import (
	"fmt"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/custom"
	"github.com/imagegate/imagegate/policy/internal/indexed"
)

// KindCustom is the kind of a violation of a custom rule about a package or a platform, or of a
// custom rule that could not be evaluated.
const KindCustom Kind = "custom"

// Each is the kind of object that a custom rule is evaluated for, once for each object.
type Each string

// The kinds of objects. Every expression has the variables image, platform and now; a kind can add
// one more.
const (
	// EachFinding evaluates the rule for each finding, with the variable finding.
	EachFinding Each = "finding"
	// EachPackage evaluates the rule for each package, with the variable pkg.
	EachPackage Each = "package"
	// EachPlatform evaluates the rule for each platform, without another variable.
	EachPlatform Each = "platform"
)

// CustomRule is a rule whose condition is an expression in CEL (https://cel.dev), the language of
// Kubernetes' admission policies. Expressions read the evidence with the field names of "input" in
// the JSON report.
//
// The language is standard CEL with the functions of cel-go's strings library, with these
// differences:
//
//   - Severities have their own type, with the values severity.low and so on. Severities can be
//     compared only with each other, and unknown is the highest.
//   - Reading a number, time or object that the evidence does not have is an error. Test with has()
//     first.
//   - Map literals are not allowed, because their order is random.
//   - The function dyn is not allowed, because it hides misspelled fields.
//   - Time zones are not allowed, because their definitions can differ between machines.
//
// A rule that cannot be evaluated, or whose evaluation exceeds the cost limit, blocks whatever its
// effect. In the Go API, a rule that Parse did not compile also blocks.
//
// A rule cannot count findings: the variable platform has no findings, and each finding is
// evaluated separately. Otherwise one more finding could turn a denial into a pass. For the same
// reason, a finding that matches must still match when more becomes known about it:
//
//   - A rule matches a finding if it matches at the finding's severity or at any lower severity.
//   - For a finding of unknown severity, a match at any severity counts.
//   - For a known exploited vulnerability, a match that ignores the exploitation also counts.
type CustomRule struct {
	// Name identifies the rule. Exceptions refer to a rule about packages or platforms by this
	// name; exceptions for findings use the id of the finding. Mandatory, unique among all rules of
	// the policy. Example: "name: no telnet".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image that violates the rule. Default: block. Example:
	// "effect: warn".
	Effect Effect `json:"effect"`
	// Each sets what the rule is evaluated once for: each finding, each package or each platform.
	// Expressions can use the variables image, platform and now; also finding if each is finding,
	// and pkg if each is package. Mandatory. Example: "each: package".
	Each Each `json:"each"`
	// When sets the condition: an expression that is true if the image violates the rule.
	// Mandatory. Example: `when: pkg.name == "telnetd"`.
	When string `json:"when"`
	// Message sets an expression whose result is the text in reports. Default: the name of the
	// rule. Example: `message: '"found " + pkg.version'`.
	Message string `json:"message,omitempty"`

	program *custom.Program
}

// Equal reports whether both rules have the same fields, including the position. It ignores
// compiled expressions, which cannot be compared.
func (r CustomRule) Equal(other CustomRule) bool {
	r.program, other.program = nil, nil
	return r == other
}

func (r *CustomRule) compiled() custom.Rule {
	return custom.Rule{Name: r.Name, Each: custom.Each(r.Each), Program: r.program}
}

// maxCustomRules limits the number of custom rules in a list, because compiling each rule takes
// time.
const maxCustomRules = 1000

// custom returns a reader that parses and compiles the custom rules.
func (d *decoder) custom(to *[]CustomRule, lines map[string]int) strict.Reader {
	return d.List(maxCustomRules, func(n *yaml.Node) {
		r := CustomRule{Position: d.position(n)}
		var when, message celSource
		d.Mapping(n, "a custom rule",
			strict.Mandatory("name", d.ruleName(&r.Name, lines)),
			strict.Optional("effect", d.effect(&r.Effect)),
			strict.Mandatory("each", d.each(&r.Each)),
			strict.Mandatory("when", d.expression(&when)),
			strict.Optional("message", d.expression(&message)),
		)
		r.When, r.Message = when.text, message.text
		if r.Each != "" {
			r.program = d.compile(&r, when, message)
		}
		*to = append(*to, r)
	})
}

func (d *decoder) each(to *Each) strict.Reader {
	return strict.Scalar(d.Decoder, to, "finding, package or platform", func(s string) (Each, error) {
		switch e := Each(s); e {
		case EachFinding, EachPackage, EachPlatform:
			return e, nil
		}
		return "", fmt.Errorf("%q is not a kind of object: expected finding, package or platform", s)
	}, "!!str")
}

// celSource is the text of a CEL expression and its node in the policy file.
type celSource struct {
	text string
	node *yaml.Node
}

func (d *decoder) expression(to *celSource) strict.Reader {
	read := d.Prose(&to.text)
	return func(key, value *yaml.Node) {
		read(key, value)
		to.node = value
	}
}

// compile compiles the expressions of r. If they have errors, it records the problems and returns
// nil.
func (d *decoder) compile(r *CustomRule, when, message celSource) *custom.Program {
	program, ofWhen, ofMessage, err := custom.Compile(custom.Each(r.Each), when.text, message.text)
	if err != nil {
		d.problemAt(r.Position, "loading the expression language of custom rules: %v", err)
	}
	for _, e := range []struct {
		celSource
		faults []custom.Fault
	}{{when, ofWhen}, {message, ofMessage}} {
		if len(e.faults) == 0 {
			continue
		}
		at := d.Locator(e.node, e.text)
		for _, f := range e.faults {
			d.ProblemAt(at(f.Line, f.Column), "%s", f.Message)
		}
	}
	return program
}

// custom evaluates the custom rules about packages and platforms for one platform.
func (e *evaluation) custom(p *evidence.Platform) {
	for i := range e.policy.Custom {
		r := &e.policy.Custom[i]
		r.compiled().Evaluate(e.in, p, e.now, func(pkg *evidence.Package, message string, err error) {
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

// customMatch is a custom rule that matches a finding or that could not be evaluated.
type customMatch struct {
	rule    *rule
	message string
	err     error
}

// customMatches returns the custom rules about findings that match s or could not be evaluated.
func (e *evaluation) customMatches(s *indexed.Finding) (matches []customMatch) {
	for i := range e.customRules {
		r := &e.customRules[i]
		if matched, message, err := r.custom.compiled().Matches(e.in, s.Platform, s.Finding, e.now); matched {
			if err == nil && r.custom.Message == "" {
				message = "" // reports show the name of the rule in any case
			}
			matches = append(matches, customMatch{r, message, err})
		}
	}
	return matches
}

// compileCustom converts the custom rules about findings to rules, so that one algorithm chooses
// the deciding rule among all rules.
func compileCustom(all []CustomRule) []rule {
	var rules []rule
	for i := range all {
		if r := &all[i]; r.Each == EachFinding {
			rules = append(rules, rule{Rule: &Rule{Name: r.Name, Position: r.Position, Effect: r.Effect}, custom: r})
		}
	}
	return rules
}
