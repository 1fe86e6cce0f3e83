package custom

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/imagegate/imagegate/policy/evidence"
)

// This file creates the types of the expression language from the structs of the evidence. cel-go's
// ext.NativeTypes could do this, too. But it reads a missing EPSS as zeros and an unknown date as
// 1970, so that missing data would look harmless.

// structType describes a Go struct for expressions, with the field names of its JSON form.
type structType struct {
	name   string
	cel    *types.Type
	fields map[string]*structField
}

// structField is one field of a structType.
type structField struct {
	name  string
	index []int
	cel   *types.Type
	// always means that the JSON form always has the field, so that has() is true.
	always bool
	// stated means that the zero value of the field means missing data. Reading a zero value is
	// then an error.
	stated bool
	// kev marks the field that holds a finding's entry in the KEV catalog.
	kev bool
	// value converts the field to a CEL value. of is the object that has the field.
	value func(of *object, v reflect.Value) ref.Val
}

// absent reports whether v is empty or zero, so that the JSON options omitempty and omitzero would
// omit it.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}

// evidenceTypes has the structTypes of the evidence, by name.
type evidenceTypes map[string]*structType

var (
	timeType     = reflect.TypeFor[time.Time]()
	severityType = reflect.TypeFor[evidence.Severity]()
	fixStateType = reflect.TypeFor[evidence.FixState]()
	findingType  = reflect.TypeFor[evidence.Finding]()
	packageType  = reflect.TypeFor[evidence.Package]()
	kevType      = reflect.TypeFor[*evidence.KEV]()
	jsonText     = reflect.TypeFor[encoding.TextMarshaler]()
	jsonValue    = reflect.TypeFor[json.Marshaler]()
)

// add creates the structType of t and of all structs in it. without lists the keys of fields to
// omit. Fields that contain findings are always omitted, so that additional findings cannot make a
// rule pass.
func (ts evidenceTypes) add(name string, t reflect.Type, without ...string) (*structType, error) {
	if s := ts[name]; s != nil {
		return s, nil
	}
	s := &structType{name: name, cel: types.NewObjectType(name), fields: map[string]*structField{}}
	ts[name] = s
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || !f.IsExported() || holdsFindings(f.Type) {
			continue
		}
		key, options, tagged := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || key == "-" || s.fields[key] != nil {
			return nil, fmt.Errorf("field %s of %s has no JSON name of its own", f.Name, t)
		}
		if slices.Contains(without, key) {
			continue
		}
		field := &structField{name: key, index: f.Index, always: !tagged || !strings.Contains(options, "omit"), kev: f.Type == kevType}
		if err := ts.describe(field, f.Type, t); err != nil {
			return nil, fmt.Errorf("field %q of %s: %w", key, t, err)
		}
		s.fields[key] = field
	}
	return s, nil
}

// holdsFindings reports whether a value of type t contains findings.
func holdsFindings(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return holdsFindings(t.Elem())
	case reflect.Struct:
		if t == findingType {
			return true
		}
		return slices.ContainsFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool {
			return f.IsExported() && holdsFindings(f.Type)
		})
	}
	return false
}

// describe sets the CEL type of f. t is the Go type of the field, and of is its struct.
func (ts evidenceTypes) describe(f *structField, t, of reflect.Type) error {
	switch t {
	case timeType:
		f.cel, f.stated = types.TimestampType, true
		f.value = func(_ *object, v reflect.Value) ref.Val { return types.Timestamp{Time: v.Interface().(time.Time)} }
		return nil
	case severityType:
		f.cel = severityCEL
		f.value = func(o *object, v reflect.Value) ref.Val { return o.severityOf(evidence.Severity(v.Uint())) }
		return nil
	case fixStateType:
		f.cel = types.StringType
		f.value = func(_ *object, v reflect.Value) ref.Val {
			if v.Len() == 0 {
				return types.String(evidence.FixUnknown)
			}
			return types.String(v.String())
		}
		return nil
	}
	if t.Implements(jsonText) || t.Implements(jsonValue) {
		return fmt.Errorf("%s has a JSON form of its own", t)
	}
	switch t.Kind() {
	case reflect.String:
		f.cel = types.StringType
		f.value = func(_ *object, v reflect.Value) ref.Val { return types.String(v.String()) }
	case reflect.Bool:
		f.cel = types.BoolType
		f.value = func(_ *object, v reflect.Value) ref.Val { return types.Bool(v.Bool()) }
	case reflect.Int, reflect.Int64:
		f.cel, f.stated = types.IntType, !f.always
		f.value = func(_ *object, v reflect.Value) ref.Val { return types.Int(v.Int()) }
	case reflect.Float64:
		f.cel, f.stated = types.DoubleType, !f.always
		f.value = func(_ *object, v reflect.Value) ref.Val { return types.Double(v.Float()) }
	case reflect.Struct:
		return ts.describeStruct(f, t, of)
	case reflect.Pointer:
		if err := ts.describe(f, t.Elem(), of); err != nil {
			return err
		}
		value := f.value
		f.stated = true
		f.value = func(o *object, v reflect.Value) ref.Val { return value(o, v.Elem()) }
	case reflect.Slice:
		element := &structField{always: true}
		if err := ts.describe(element, t.Elem(), of); err != nil {
			return err
		}
		f.cel = types.NewListType(element.cel)
		f.value = func(_ *object, v reflect.Value) ref.Val { return newList(v, element.value) }
	case reflect.Map:
		if t != reflect.TypeFor[map[string]string]() {
			return fmt.Errorf("a %s cannot be read by expressions", t)
		}
		f.cel = types.NewMapType(types.StringType, types.StringType)
		f.value = func(_ *object, v reflect.Value) ref.Val { return newTextMap(v.Interface().(map[string]string)) }
	default:
		return fmt.Errorf("a %s cannot be read by expressions", t)
	}
	return nil
}

// describeStruct is describe for a struct. It omits the licenses of a finding's package: the
// evidence does not have them, and an expression must not read that as a package without licenses.
func (ts evidenceTypes) describeStruct(f *structField, t, of reflect.Type) error {
	name, without := t.Name(), []string(nil)
	if t == packageType && of == findingType {
		name, without = "AffectedPackage", []string{"licenses"}
	}
	s, err := ts.add(name, t, without...)
	if err != nil {
		return err
	}
	f.cel = s.cel
	f.value = func(_ *object, v reflect.Value) ref.Val { return &object{t: s, v: v} }
	return nil
}

// typeProvider tells cel-go about the structs of the evidence. Expressions can read structs but not
// create them.
type typeProvider struct {
	*types.Registry
	structs evidenceTypes
}

// FindStructType implements types.Provider.
func (p *typeProvider) FindStructType(name string) (*types.Type, bool) {
	if s := p.structs[name]; s != nil {
		return types.NewTypeTypeWithParam(s.cel), true
	}
	if name == severityCEL.TypeName() {
		return types.NewTypeTypeWithParam(severityCEL), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *typeProvider) FindStructFieldNames(name string) ([]string, bool) {
	if s := p.structs[name]; s != nil {
		return slices.Sorted(maps.Keys(s.fields)), true
	}
	return p.Registry.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p *typeProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s := p.structs[name]
	if s == nil {
		return p.Registry.FindStructFieldType(name, field)
	}
	f := s.fields[field]
	if f == nil {
		return nil, false
	}
	return &types.FieldType{
		Type: f.cel,
		IsSet: func(of any) bool {
			o, ok := of.(*object)
			return ok && o.states(f)
		},
		GetFrom: func(of any) (any, error) {
			o, ok := of.(*object)
			if !ok {
				return nil, fmt.Errorf("%T is not a %s", of, name)
			}
			return o.read(f)
		},
	}, true
}

// NewValue implements types.Provider.
func (p *typeProvider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	return types.NewErr("expressions cannot create a %s", name)
}
