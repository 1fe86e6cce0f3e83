package custom

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/imagegate/imagegate/policy/evidence"
)

// This file has the CEL values of the expression language. They read the evidence in place: a field
// is copied or converted only when an expression reads it.

// object is a struct of the evidence as a CEL value.
type object struct {
	t *structType
	v reflect.Value
	// as is set for the finding that is evaluated. Expressions then see the assumed severity and
	// exploitation instead of the finding's own.
	as *assumed
}

// assumed holds the assumed severity of the evaluated finding, and whether the finding's KEV entry
// is hidden. read records that an expression has read the severity.
type assumed struct {
	severity    evidence.Severity
	unexploited bool
	read        bool
}

// states reports whether the evidence has a value for the field.
func (o *object) states(f *structField) bool {
	if o.as != nil && o.as.unexploited && f.kev {
		return false
	}
	return f.always || !absent(o.v.FieldByIndex(f.index))
}

// read returns the value of a field, or an error if the evidence does not have it.
func (o *object) read(f *structField) (ref.Val, error) {
	v := o.v.FieldByIndex(f.index)
	if f.stated && (absent(v) || !o.states(f)) {
		return nil, fmt.Errorf("%s is unknown: check it with has() first", f.name)
	}
	return f.value(o, v), nil
}

func (o *object) severityOf(own evidence.Severity) ref.Val {
	if o == nil || o.as == nil {
		return severityValue(own)
	}
	o.as.read = true
	return severityValue(o.as.severity)
}

// ConvertToNative implements ref.Val.
func (o *object) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be converted to %s", o.t.name, to)
}

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(to ref.Type) ref.Val {
	if to.TypeName() == o.t.name {
		return o
	}
	return types.NewErr("%s cannot be converted to %s", o.t.name, to.TypeName())
}

// Equal implements ref.Val. It always returns an error, because the cost limits do not account for
// comparing whole objects.
func (o *object) Equal(ref.Val) ref.Val {
	return types.NewErr("%s cannot be compared: compare its fields", o.t.name)
}

// Type implements ref.Val.
func (o *object) Type() ref.Type { return o.t.cel }

// Value implements ref.Val.
func (o *object) Value() any { return o }

// list is a CEL list whose elements are converted when they are read.
type list struct {
	size int
	at   func(int) ref.Val
}

func newList(v reflect.Value, value func(of *object, v reflect.Value) ref.Val) *list {
	return &list{v.Len(), func(i int) ref.Val { return value(nil, v.Index(i)) }}
}

// all returns a copy of the list with every element converted.
func (l *list) all() traits.Lister {
	elements := make([]ref.Val, l.size)
	for i := range elements {
		elements[i] = l.at(i)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, elements)
}

// Add implements traits.Adder. It does not copy the lists, because the cost limits assume that
// concatenation is cheap.
func (l *list) Add(other ref.Val) ref.Val {
	next, ok := other.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	more, ok := next.Size().(types.Int)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return &list{l.size + int(more), func(i int) ref.Val {
		if i < l.size {
			return l.at(i)
		}
		return next.Get(types.Int(i - l.size))
	}}
}

// Contains implements traits.Container.
func (l *list) Contains(value ref.Val) ref.Val { return l.all().Contains(value) }

// Equal implements ref.Val.
func (l *list) Equal(other ref.Val) ref.Val { return l.all().Equal(other) }

// ConvertToNative implements ref.Val.
func (l *list) ConvertToNative(to reflect.Type) (any, error) { return l.all().ConvertToNative(to) }

// ConvertToType implements ref.Val.
func (l *list) ConvertToType(to ref.Type) ref.Val { return l.all().ConvertToType(to) }

// Get implements traits.Indexer.
func (l *list) Get(index ref.Val) ref.Val {
	i, ok := index.(types.Int)
	if !ok {
		return types.MaybeNoSuchOverloadErr(index)
	}
	if i < 0 || i >= types.Int(l.size) {
		return types.NewErr("index %d is out of range: the list has %d elements", i, l.size)
	}
	return l.at(int(i))
}

// Iterator implements traits.Iterable.
func (l *list) Iterator() traits.Iterator { return &iterator{size: l.size, at: l.at} }

// Size implements traits.Sizer.
func (l *list) Size() ref.Val { return types.Int(l.size) }

// Type implements ref.Val.
func (l *list) Type() ref.Type { return types.ListType }

// Value implements ref.Val.
func (l *list) Value() any { return l }

// textMap is a map of texts with sorted iteration. Go iterates over a map in random order, so the
// result of an expression could otherwise differ from run to run.
type textMap struct {
	traits.Mapper
	m map[string]string
}

func newTextMap(m map[string]string) textMap {
	return textMap{types.NewStringStringMap(types.DefaultTypeAdapter, m), m}
}

// Iterator implements traits.Iterable.
func (m textMap) Iterator() traits.Iterator {
	keys := slices.Sorted(maps.Keys(m.m))
	return &iterator{size: len(keys), at: func(i int) ref.Val { return types.String(keys[i]) }}
}

// iterator iterates over CEL values by index. It embeds null only to be a CEL value; no expression
// sees it.
type iterator struct {
	types.Null
	next, size int
	at         func(int) ref.Val
}

// HasNext implements traits.Iterator.
func (it *iterator) HasNext() ref.Val { return types.Bool(it.next < it.size) }

// Next implements traits.Iterator.
func (it *iterator) Next() ref.Val {
	if it.next >= it.size {
		return nil
	}
	it.next++
	return it.at(it.next - 1)
}

// severityCEL is a type of its own, so that a severity can only be compared with a severity, not
// with a number or a text.
var severityCEL = types.NewObjectType("Severity", traits.ComparerType)

// severityValue is a severity as a CEL value. Unknown is greater than all others.
type severityValue evidence.Severity

// Compare implements traits.Comparer.
func (s severityValue) Compare(other ref.Val) ref.Val {
	o, ok := other.(severityValue)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return types.Int(evidence.Severity(s).Compare(evidence.Severity(o)))
}

// ConvertToNative implements ref.Val.
func (s severityValue) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("a severity cannot be converted to %s", to)
}

// ConvertToType implements ref.Val.
func (s severityValue) ConvertToType(to ref.Type) ref.Val {
	switch to.TypeName() {
	case types.StringType.TypeName():
		return types.String(evidence.Severity(s).String())
	case severityCEL.TypeName():
		return s
	}
	return types.NewErr("a severity cannot be converted to %s", to.TypeName())
}

// Equal implements ref.Val.
func (s severityValue) Equal(other ref.Val) ref.Val {
	o, ok := other.(severityValue)
	return types.Bool(ok && s == o)
}

// Type implements ref.Val.
func (s severityValue) Type() ref.Type { return severityCEL }

// Value implements ref.Val.
func (s severityValue) Value() any { return evidence.Severity(s) }
