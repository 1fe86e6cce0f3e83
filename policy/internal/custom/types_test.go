package custom

import (
	"encoding/json"
	"maps"
	"net"
	"reflect"
	"slices"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

// leftOut lists the fields of the JSON form that expressions cannot read, by type.
var leftOut = map[string][]string{
	"Platform":        {"findings", "suppressed"},
	"AffectedPackage": {"licenses"},
}

// TestExpressionsSeeWhatTheJSONHas compares the fields of each structType with the keys of the JSON
// form. If every value is set, all fields must be keys. For the zero value, has() must be true for
// exactly the keys.
func TestExpressionsSeeWhatTheJSONHas(t *testing.T) {
	l, err := newLanguage()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	check := func(s *structType, of reflect.Type) {
		t.Helper()
		checked++
		zero, full := reflect.New(of), reflect.New(of)
		fill(full.Elem())

		fields := slices.Concat(slices.Collect(maps.Keys(s.fields)), leftOut[s.name])
		slices.Sort(fields)
		if diff := cmp.Diff(jsonKeys(t, full.Interface()), fields); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}

		set := slices.Clone(leftOut[s.name])
		for name, f := range s.fields {
			if (&object{t: s, v: zero.Elem()}).states(f) {
				set = append(set, name)
			}
			if !(&object{t: s, v: full.Elem()}).states(f) {
				t.Errorf("%s.%s is not set", s.name, name)
			}
		}
		keys := jsonKeys(t, zero.Interface())
		set = slices.DeleteFunc(set, func(name string) bool {
			return slices.Contains(leftOut[s.name], name) && !slices.Contains(keys, name)
		})
		slices.Sort(set)
		if diff := cmp.Diff(keys, set); diff != "" {
			t.Errorf("the zero %s: %s", s.name, diff)
		}
	}
	check(l.image, reflect.TypeFor[evidence.Image]())
	check(l.platform, reflect.TypeFor[evidence.Platform]())
	check(l.pkg, reflect.TypeFor[evidence.Package]())
	check(l.finding, reflect.TypeFor[evidence.Finding]())
	structs := evidenceTypes{}
	for _, of := range []reflect.Type{
		reflect.TypeFor[evidence.Distribution](), reflect.TypeFor[evidence.Location](), reflect.TypeFor[evidence.Unknown](), reflect.TypeFor[evidence.Unmatched](),
		reflect.TypeFor[evidence.CVSS](), reflect.TypeFor[evidence.EPSS](), reflect.TypeFor[evidence.KEV](), reflect.TypeFor[evidence.Fix](), reflect.TypeFor[evidence.Match](),
		reflect.TypeFor[evidence.ImageConfig](), reflect.TypeFor[evidence.Secret](), reflect.TypeFor[evidence.Layer](), reflect.TypeFor[evidence.Base](), reflect.TypeFor[evidence.LazyIndex](),
	} {
		s, err := structs.add(of.Name(), of)
		if err != nil {
			t.Fatal(err)
		}
		check(s, of)
	}
	affected, err := structs.add("AffectedPackage", packageType, "licenses")
	if err != nil {
		t.Fatal(err)
	}
	check(affected, packageType)

	if _, err := structs.add("Platform", reflect.TypeFor[evidence.Platform]()); err != nil {
		t.Fatal(err)
	}
	if _, err := structs.add("Finding", findingType); err != nil {
		t.Fatal(err)
	}
	if _, err := structs.add("Image", reflect.TypeFor[evidence.Image]()); err != nil {
		t.Fatal(err)
	}
	if checked != len(structs) {
		t.Errorf("%d types of %d are checked: %v", checked, len(structs), slices.Sorted(maps.Keys(structs)))
	}
}

func jsonKeys(t *testing.T, v any) []string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(m))
}

// fill sets everything in v to a value other than zero.
func fill(v reflect.Value) {
	switch {
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(now))
		return
	case v.Type() == fixStateType:
		v.SetString(string(evidence.FixAvailable))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"key": "value"}))
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Uint8:
		v.SetUint(1)
	default:
		v.SetInt(1)
	}
}

// TestNothingButTheFindingHoldsFindings checks that no structType has a field that contains
// findings.
func TestNothingButTheFindingHoldsFindings(t *testing.T) {
	l, err := newLanguage()
	if err != nil {
		t.Fatal(err)
	}
	for name, env := range l.envs {
		provider, ok := env.CELTypeProvider().(*typeProvider)
		if !ok {
			t.Fatalf("%s: %T", name, env.CELTypeProvider())
		}
		for of, s := range provider.structs {
			for field, f := range s.fields {
				if leadsTo(f.cel, l.finding.cel) {
					t.Errorf("%s.%s is a %s", of, field, f.cel)
				}
			}
		}
	}
}

func leadsTo(from, to *types.Type) bool {
	return from.IsExactType(to) || slices.ContainsFunc(from.Parameters(), func(p *types.Type) bool { return leadsTo(p, to) })
}

// TestUnreadableEvidenceIsNoType checks that the expression language is not created from Go types
// that expressions cannot read, or would read differently from their JSON form.
func TestUnreadableEvidenceIsNoType(t *testing.T) {
	for _, test := range []struct {
		of   any
		want string
	}{
		{struct{ Name string }{}, "field Name of struct { Name string } has no JSON name of its own"},
		{struct {
			evidence.Location
			Where string `json:"path"`
		}{}, "field Where of struct { evidence.Location; Where string \"json:\\\"path\\\"\" } has no JSON name of its own"},
		{struct {
			Counts map[string]int `json:"counts"`
		}{}, `field "counts" of struct { Counts map[string]int "json:\"counts\"" }: a map[string]int cannot be read by expressions`},
		{struct {
			Sizes []uint `json:"sizes"`
		}{}, `field "sizes" of struct { Sizes []uint "json:\"sizes\"" }: a uint cannot be read by expressions`},
		{struct {
			Address net.IP `json:"address"`
		}{}, `field "address" of struct { Address net.IP "json:\"address\"" }: net.IP has a JSON form of its own`},
		{struct {
			In *struct {
				F func() `json:"f"`
			} `json:"in"`
		}{}, `field "in" of struct { In *struct { F func() "json:\"f\"" } "json:\"in\"" }: field "f" of struct { F func() "json:\"f\"" }: a func() cannot be read by expressions`},
	} {
		_, err := evidenceTypes{}.add("Test", reflect.TypeOf(test.of))
		if err == nil || err.Error() != test.want {
			t.Errorf("%v", err)
		}
	}
}

// TestZeroTimeIsNotADate checks that reading a missing date is an error, and does not give the year
// 1.
func TestZeroTimeIsNotADate(t *testing.T) {
	in := input()
	for _, when := range []string{`finding.published < now`, `finding.published > now`, `finding.fixes[0].available < now`} {
		r := compiled(t, Finding, when, ``)
		f := evidence.Finding{ID: "CVE-2026-1", Fixes: []evidence.Fix{{Version: "1"}}}
		if matched, message, err := r.Matches(in, &in.Platforms[0], &f, now); !matched || err == nil {
			t.Errorf("%s: %v, %q, %v", when, matched, message, err)
		}
	}
}

// TestTimesAreInUTC checks that the time zone of the machine has no influence on times in
// expressions.
func TestTimesAreInUTC(t *testing.T) {
	in := input()
	r := compiled(t, Platform, `now.getHours() == 12`, `string(now)`)
	said, _ := ask(r, in, &in.Platforms[0], now.In(time.FixedZone("east", 5*3600)))
	if diff := cmp.Diff([]string{"2026-06-15T12:00:00Z"}, said); diff != "" {
		t.Error(diff)
	}
}

// TestUnstatedFixStateIsUnknown checks that expressions read a missing fix state as unknown, like
// its JSON form.
func TestUnstatedFixStateIsUnknown(t *testing.T) {
	in := input()
	r := compiled(t, Finding, `finding.fixState == "unknown"`, ``)
	if matched, _, err := r.Matches(in, &in.Platforms[0], &evidence.Finding{}, now); !matched || err != nil {
		t.Errorf("%v, %v", matched, err)
	}
}
