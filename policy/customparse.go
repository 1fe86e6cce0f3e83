package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy/internal/wording"
)

// maxCustomRules limits the time for compiling them.
const maxCustomRules = 1000

// custom reads the custom rules and compiles them.
func (d *decoder) custom(to *[]CustomRule, lines map[string]int) reader {
	return d.list(maxCustomRules, func(n *yaml.Node) {
		r := CustomRule{Position: d.position(n)}
		var when, message celSource
		d.mapping(n, "a custom rule",
			mandatory("name", d.unique(&r.Name, "rule", lines)),
			optional("effect", d.effect(&r.Effect)),
			mandatory("each", d.each(&r.Each)),
			mandatory("when", d.expression(&when)),
			optional("message", d.expression(&message)),
		)
		r.When, r.Message = when.text, message.text
		if r.Each != "" {
			r.compiled = d.compile(&r, when, message)
		}
		*to = append(*to, r)
	})
}

func (d *decoder) each(to *Each) reader {
	return scalar(d, to, "finding, package or platform", func(s string) (Each, error) {
		switch e := Each(s); e {
		case EachFinding, EachPackage, EachPlatform:
			return e, nil
		}
		return "", fmt.Errorf("%q is not what a rule can be evaluated for: want finding, package or platform", s)
	}, "!!str")
}

// celSource is the text of an expression and its node in the file.
type celSource struct {
	text string
	node *yaml.Node
}

func (d *decoder) expression(to *celSource) reader {
	read := d.prose(&to.text)
	return func(key, value *yaml.Node) {
		read(key, value)
		to.node = value
	}
}

// compile compiles the expressions of r. It returns nil after a problem.
func (d *decoder) compile(r *CustomRule, when, message celSource) *compiled {
	l, err := loadLanguage()
	if err != nil {
		d.problemAt(r.Position, "the language of custom rules: %v", err)
		return nil
	}
	c := &compiled{language: l}
	for _, e := range []struct {
		celSource
		want *cel.Type
		to   *cel.Program
	}{
		{when, cel.BoolType, &c.when},
		{message, cel.StringType, &c.message},
	} {
		if e.text == "" {
			continue // the expression is absent, or its error is already reported
		}
		x := compilation{env: l.envs[r.Each], limit: costLimit(r.Each)}
		program := x.compile(e.text, e.want)
		if len(x.faults) > 0 {
			at := d.locator(d.source, e.node, e.text)
			for _, f := range x.faults {
				d.problemAt(at(f.line, f.column), "%s", f.text)
			}
			continue
		}
		*e.to = program
		c.readsNow = c.readsNow || x.readsNow
	}
	if c.when == nil || message.text != "" && c.message == nil {
		return nil
	}
	return c
}

func costLimit(each Each) uint64 {
	if each == EachPlatform {
		return maxPlatformCost
	}
	return maxCost
}

// fault is an error at a place in an expression. As in cel-go, lines count from 1, and columns
// count characters from 0.
type fault struct {
	line, column int
	text         string
}

// compilation is the state of compiling one expression.
type compilation struct {
	env      *cel.Env
	limit    uint64
	faults   []fault
	readsNow bool
}

func (c *compilation) fault(at common.Location, format string, args ...any) {
	c.faults = append(c.faults, fault{max(at.Line(), 1), max(at.Column(), 0), fmt.Sprintf(format, args...)})
}

// compile returns nil if there are faults.
func (c *compilation) compile(text string, want *cel.Type) cel.Program {
	start := common.NewLocation(1, 0)
	checked, issues := c.env.Compile(text)
	if err := issues.Err(); err != nil {
		for _, e := range issues.Errors() {
			c.fault(e.Location, "%s", explain(e.Message))
		}
		return nil
	}
	if got := checked.OutputType(); !got.IsExactType(want) {
		c.fault(start, "the expression is of type %s: want %s", got, want)
	}
	c.inspect(checked.NativeRep())
	if len(c.faults) > 0 {
		return nil
	}
	if cost, err := c.env.EstimateCost(checked, sizes{}); err != nil {
		c.fault(start, "the cost cannot be estimated: %v", err)
		return nil
	} else if cost.Max > c.limit {
		c.fault(start, "the expression may cost %d for a large image, and %d at most is allowed: look through a list once, not once for each entry of another", cost.Max, c.limit)
		return nil
	}
	program, err := c.env.Program(checked, cel.CostLimit(c.limit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		c.fault(start, "%s", explain(err.Error()))
		return nil
	}
	return program
}

// inspect reports expressions that CEL accepts and custom rules do not allow.
func (c *compilation) inspect(tree *ast.AST) {
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		at := tree.SourceInfo().GetStartLocation(e.ID())
		switch e.Kind() {
		case ast.IdentKind:
			c.readsNow = c.readsNow || e.AsIdent() == varNow
		case ast.MapKind:
			c.fault(at, "map literals are not allowed: their order is random")
		case ast.StructKind:
			c.fault(at, "objects cannot be made, only read")
		case ast.CallKind:
			switch e.AsCall().FunctionName() {
			case operators.Equals, operators.NotEquals, operators.In:
				for _, arg := range e.AsCall().Args() {
					if t := tree.GetType(arg.ID()); holdsObjects(t) {
						c.fault(at, "%s cannot be compared: compare its fields, or ask has() whether it is there", t)
						break
					}
				}
			}
		}
	}))
}

// holdsObjects reports whether t is a struct of the evidence or contains one.
func holdsObjects(t *types.Type) bool {
	if t.Kind() == types.StructKind {
		return t.TypeName() != severityCEL.TypeName()
	}
	for _, p := range t.Parameters() {
		if holdsObjects(p) {
			return true
		}
	}
	return false
}

// explain returns a message of cel-go as one short, printable line, and adds a hint that cel-go
// cannot give.
func explain(message string) string {
	message = printable(wording.Clip(strings.Join(strings.Fields(message), " "), maxMessage))
	message = strings.TrimSuffix(message, " (in container '')")
	if strings.Contains(message, "reserved identifier: package") {
		return message + `: the package is called "` + varPackage + `" in expressions`
	}
	return message
}

// printable escapes all characters that a terminal might interpret.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
