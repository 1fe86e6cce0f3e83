package custom

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Limits of an expression: the length of its text, and the cost of one evaluation. Costs are in
// cel-go's units: about one for each field that is read, each operator, and each ten characters
// that are examined.
const (
	maxCELText = 16 << 10 // in characters
	// maxCost limits one evaluation for a finding or package. An expression may loop over all
	// packages once, but not once for each package.
	maxCost = 1_000_000
	// maxPlatformCost limits one evaluation for a platform. The limit is higher, because such a
	// rule is evaluated only once for each platform.
	maxPlatformCost = 10_000_000
)

// The sizes of a large image. The cost estimate for a rule assumes these sizes. The same limits
// apply to the actual cost of an evaluation, so a rule can fail for an even larger image.
const (
	assumedPackages = 10_000 // and the entries of any other list of a platform
	assumedItems    = 20     // the entries of other lists and maps, such as licenses, fixes and labels
	assumedText     = 200    // in characters
)

// The names of the variables in expressions.
const (
	varImage    = "image"
	varPlatform = "platform"
	varPackage  = "pkg" // "package" is a reserved word in CEL
	varFinding  = "finding"
	varNow      = "now"
)

// language has the parts of the expression language that all expressions share.
type language struct {
	image, platform, pkg, finding *structType
	envs                          map[Each]*cel.Env
}

// loadLanguage creates the expression language when the first policy needs it, and only once,
// because that takes milliseconds.
var loadLanguage = sync.OnceValues(newLanguage)

func newLanguage() (*language, error) {
	l := &language{envs: map[Each]*cel.Env{}}
	structs := evidenceTypes{}
	for _, s := range []struct {
		to   **structType
		name string
		of   reflect.Type
	}{
		{&l.image, "Image", reflect.TypeFor[evidence.Image]()},
		{&l.platform, "Platform", reflect.TypeFor[evidence.Platform]()},
		{&l.pkg, "Package", packageType},
		{&l.finding, "Finding", findingType},
	} {
		var err error
		if *s.to, err = structs.add(s.name, s.of); err != nil {
			return nil, err
		}
	}

	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	provider := &typeProvider{Registry: registry, structs: structs}
	base, err := cel.NewCustomEnv(
		cel.CustomTypeAdapter(registry),
		cel.CustomTypeProvider(provider),
		cel.StdLib(cel.StdLibSubset(withoutSurprises())),
		ext.Strings(ext.StringsVersion(5)),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxCELText),
		cel.ExtendedValidations(),
		severities(),
		cel.Variable(varImage, l.image.cel),
		cel.Variable(varPlatform, l.platform.cel),
		cel.Variable(varNow, types.TimestampType),
	)
	if err != nil {
		return nil, err
	}
	l.envs[Platform] = base
	if l.envs[Package], err = base.Extend(cel.Variable(varPackage, l.pkg.cel)); err != nil {
		return nil, err
	}
	if l.envs[Finding], err = base.Extend(cel.Variable(varFinding, l.finding.cel)); err != nil {
		return nil, err
	}
	return l, nil
}

// withoutSurprises returns the CEL standard library without two kinds of functions. With dyn, a
// misspelled field would be found only when the rule is evaluated. Functions with a time zone read
// files of the machine, so their results can differ between machines.
func withoutSurprises() *env.LibrarySubset {
	subset := env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction("dyn"))
	for _, f := range stdlib.Functions() {
		var zoned []*env.Overload
		for _, o := range f.OverloadDecls() {
			if args := o.ArgTypes(); len(args) == 2 && args[0].IsExactType(types.TimestampType) && args[1].IsExactType(types.StringType) {
				zoned = append(zoned, &env.Overload{ID: o.ID()})
			}
		}
		if len(zoned) > 0 {
			subset.AddExcludedFunctions(env.NewFunction(f.Name(), zoned...))
		}
	}
	return subset
}

// severities declares the constants severity.low and so on, their comparison, and their conversion
// to text.
func severities() cel.EnvOption {
	options := []cel.EnvOption{
		cel.Function("string", cel.Overload("severity_to_string", []*cel.Type{severityCEL}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return v.ConvertToType(types.StringType) }))),
	}
	for s := evidence.SeverityUnknown; s <= evidence.SeverityCritical; s++ {
		options = append(options, cel.Constant("severity."+s.String(), severityCEL, severityValue(s)))
	}
	for operator, id := range map[string]string{
		operators.Less: "less_severity", operators.LessEquals: "less_equals_severity",
		operators.Greater: "greater_severity", operators.GreaterEquals: "greater_equals_severity",
	} {
		options = append(options, cel.Function(operator,
			cel.Overload(id, []*cel.Type{severityCEL, severityCEL}, cel.BoolType)))
	}
	return cel.Lib(library(options))
}

// library is a cel.Library that only has compiler options.
type library []cel.EnvOption

// CompileOptions implements cel.Library.
func (l library) CompileOptions() []cel.EnvOption { return l }

// ProgramOptions implements cel.Library.
func (l library) ProgramOptions() []cel.ProgramOption { return nil }

// variables has the values of the variables for one evaluation.
type variables struct {
	image, platform, pkg, finding object
	now                           time.Time
	// public is the platform without values that look like credentials, for messages. It is nil if
	// the platform has no such values.
	public *evidence.Platform
}

func (l *language) variables(in *evidence.Input, p *evidence.Platform, now time.Time) *variables {
	v := &variables{
		image:    object{t: l.image, v: reflect.ValueOf(&in.Image).Elem()},
		platform: object{t: l.platform, v: reflect.ValueOf(p).Elem()},
		now:      now.UTC(),
	}
	if p.Config != nil && len(p.Config.HiddenLabels) > 0 {
		public := *p
		public.Config, v.public = p.Config.Public(), &public
	}
	return v
}

// forText returns the variables for messages, without values that look like credentials.
func (v *variables) forText() *variables {
	if v.public == nil {
		return v
	}
	out := *v
	out.platform.v = reflect.ValueOf(v.public).Elem()
	return &out
}

func (l *language) packageObject(p *evidence.Package) object {
	return object{t: l.pkg, v: reflect.ValueOf(p).Elem()}
}

func (l *language) findingObject(f *evidence.Finding, as *assumed) object {
	return object{t: l.finding, v: reflect.ValueOf(f).Elem(), as: as}
}

// ResolveName implements cel.Activation.
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case varImage:
		return &v.image, true
	case varPlatform:
		return &v.platform, true
	case varPackage:
		return &v.pkg, v.pkg.t != nil
	case varFinding:
		return &v.finding, v.finding.t != nil
	case varNow:
		return types.Timestamp{Time: v.now}, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (v *variables) Parent() cel.Activation { return nil }

// sizes tells cel-go's cost estimate how large the values of the evidence can be, based on the
// constants above.
type sizes struct{}

// EstimateSize implements cost.CostEstimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	switch n.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &cost.SizeEstimate{Max: assumedText}
	case types.MapKind:
		return &cost.SizeEstimate{Max: assumedItems}
	case types.ListKind:
		if path := n.Path(); len(path) == 2 && slices.Contains(path[:1], varPlatform) {
			return &cost.SizeEstimate{Max: assumedPackages}
		}
		return &cost.SizeEstimate{Max: assumedItems}
	case types.StructKind:
		return &cost.SizeEstimate{Min: 1, Max: 1}
	}
	return nil
}

// EstimateCallCost implements cost.CostEstimator.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
