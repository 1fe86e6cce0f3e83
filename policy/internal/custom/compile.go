package custom

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

	"github.com/imagegate/imagegate/policy/internal/wording"
)

// Compile compiles the condition and the message of a rule. An empty message means that the rule
// has none. ofWhen and ofMessage list the faults of the condition and the message. The Program is
// nil if there is a fault or if the condition is empty. An error means that the expression language
// itself could not be loaded.
func Compile(each Each, when, message string) (p *Program, ofWhen, ofMessage []Fault, err error) {
	l, err := loadLanguage()
	if err != nil {
		return nil, nil, nil, err
	}
	p = &Program{language: l}
	for _, e := range []struct {
		text   string
		want   *cel.Type
		to     *cel.Program
		faults *[]Fault
	}{
		{when, cel.BoolType, &p.when, &ofWhen},
		{message, cel.StringType, &p.message, &ofMessage},
	} {
		if e.text == "" {
			continue
		}
		c := compilation{env: l.envs[each], limit: costLimit(each)}
		*e.to = c.compile(e.text, e.want)
		*e.faults = c.faults
		p.readsNow = p.readsNow || c.readsNow
	}
	if p.when == nil || message != "" && p.message == nil {
		return nil, ofWhen, ofMessage, nil
	}
	return p, nil, nil, nil
}

func costLimit(each Each) uint64 {
	if each == Platform {
		return maxPlatformCost
	}
	return maxCost
}

// Fault is an error at a place in an expression. As in cel-go, Line counts from 1, and Column
// counts characters from 0.
type Fault struct {
	Line, Column int
	// Message is one printable line.
	Message string
}

// compilation is the state of compiling one expression.
type compilation struct {
	env      *cel.Env
	limit    uint64
	faults   []Fault
	readsNow bool
}

func (c *compilation) fault(at common.Location, format string, args ...any) {
	c.faults = append(c.faults, Fault{max(at.Line(), 1), max(at.Column(), 0), fmt.Sprintf(format, args...)})
}

// compile compiles text to a program with a result of the type want. If there are faults, it
// records them and returns nil.
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
		c.fault(start, "the expression is of type %s: expected %s", got, want)
	}
	c.inspect(checked.NativeRep())
	if len(c.faults) > 0 {
		return nil
	}
	if cost, err := c.env.EstimateCost(checked, sizes{}); err != nil {
		c.fault(start, "the cost cannot be estimated: %v", err)
		return nil
	} else if cost.Max > c.limit {
		c.fault(start, "the expression may cost %d for a large image, the limit is %d: look through a list once, not once for each entry of another list", cost.Max, c.limit)
		return nil
	}
	program, err := c.env.Program(checked, cel.CostLimit(c.limit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		c.fault(start, "%s", explain(err.Error()))
		return nil
	}
	return program
}

// inspect reports expressions that CEL accepts but custom rules do not allow.
func (c *compilation) inspect(tree *ast.AST) {
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		at := tree.SourceInfo().GetStartLocation(e.ID())
		switch e.Kind() {
		case ast.IdentKind:
			c.readsNow = c.readsNow || e.AsIdent() == varNow
		case ast.MapKind:
			c.fault(at, "map literals are not allowed: their order is random")
		case ast.StructKind:
			c.fault(at, "objects cannot be created, only read")
		case ast.CallKind:
			switch e.AsCall().FunctionName() {
			case operators.Equals, operators.NotEquals, operators.In:
				for _, arg := range e.AsCall().Args() {
					if t := tree.GetType(arg.ID()); holdsObjects(t) {
						c.fault(at, "%s cannot be compared: compare its fields, or test with has() whether it exists", t)
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

// explain returns a message of cel-go as one short, printable line. If the expression uses the
// reserved word "package", explain adds a hint to use pkg.
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
