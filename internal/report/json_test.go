package report

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// full returns a report with every field of every type set, and a different text in each string, so
// that the comparison notices a lost field.
func full() Report {
	var r Report
	n := 0
	fill(reflect.ValueOf(&r).Elem(), &n)
	r.Schema = Schema
	r.Decision.Passed = false // it has violations
	r.Error.Class = ClassTrust
	for i := range r.Destinations {
		r.Destinations[i].State = Promoted
	}
	return r
}

func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 1, 0, 0, *n, *n, time.UTC)))
		return
	case evidence.Severity:
		v.Set(reflect.ValueOf(evidence.SeverityHigh))
		return
	case evidence.FixState:
		v.Set(reflect.ValueOf(evidence.FixAvailable))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) / 7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	default:
		panic(fmt.Sprintf("fill has no case for %s", v.Type()))
	}
}

// walkStrings calls visit for every string of a report. visit may change the string. Maps are
// skipped, because their keys and values cannot be changed in place.
func walkStrings(r *Report, visit func(s reflect.Value)) {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			visit(v)
		case reflect.Pointer:
			walk(v.Elem())
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	walk(reflect.ValueOf(r).Elem())
}

func TestJSONRoundTripLosesNothing(t *testing.T) {
	for name, want := range map[string]Report{
		"full": full(), "minimal": {Schema: Schema}, "hostile": load(t, "hostile.json"), "promoted": load(t, "promoted.json"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadJSON(strings.NewReader(render(t, JSON, want)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSONKeepsEveryPrintableAndUnprintableRune(t *testing.T) {
	var b strings.Builder
	for r := rune(0); r <= 0x10ffff; r++ {
		if r < 0xd800 || r > 0xdfff {
			b.WriteRune(r)
		}
	}
	b.WriteString("### ## #")
	want := Report{Schema: Schema, Command: b.String()}
	text := render(t, JSON, want)
	checkSafe(t, text)
	got, err := ReadJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got.Command != want.Command {
		t.Error("the text changed")
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for _, tt := range []struct{ name, json, want string }{
		{"nothing", ``, "EOF"},
		{"null", `null`, `schema ""`},
		{"no schema", `{}`, `schema ""`},
		{"another schema", `{"schema":"2"}`, `schema "2"`},
		{"unknown field", `{"schema":"1","pased":true}`, `unknown field "pased"`},
		{"unknown nested field", `{"schema":"1","decision":{"passed":true,"override":true}}`, `unknown field "override"`},
		{"repeated field", `{"schema":"1","decision":{"passed":false,"passed":true}}`, `field "passed" is repeated`},
		{"repeated in other case", `{"schema":"1","decision":{"passed":false,"PASSED":true}}`, `field "PASSED" is repeated`},
		{"repeated in another script", `{"schema":"1","decision":{"passed":false,"pa` + "\u017f" + `sed":true}}`, "is repeated"},
		{"repeated by escape", `{"schema":"1","decision":{"passed":false,"p\u0061ssed":true}}`, `field "passed" is repeated`},
		{"repeated after a list", `{"schema":"1","destinations":[],"error":{"class":"other","message":""},"destinations":[]}`, `field "destinations" is repeated`},
		{"second report", `{"schema":"1"}{"schema":"1"}`, "data follows the report"},
		{"trailing text", `{"schema":"1"} x`, "data follows the report"},
		{"cut short", `{"schema":"1"`, "unexpected EOF"},
		{"wrong type", `{"schema":"1","command":1}`, "cannot unmarshal number"},
		{"misspelt severity", `{"schema":"1","input":{"platforms":[{"findings":[{"severity":"hihg","fixState":"fixed"}]}]}}`, `unknown severity "hihg"`},
		{"misspelt fix state", `{"schema":"1","input":{"platforms":[{"findings":[{"severity":"high","fixState":"fixd"}]}]}}`, `unknown fix state "fixd"`},
		{"misspelt class", `{"schema":"1","error":{"class":"usge","message":""}}`, `unknown error class "usge"`},
		{"misspelt state", `{"schema":"1","destinations":[{"state":"promotd"}]}`, `destination 1: unknown state "promotd"`},
		{"pass with violations", `{"schema":"1","decision":{"passed":true,"violations":[{"kind":"sbom"}]}}`, "the decision passes with 1 violations"},
		{"too deep", `{"schema":"1","tool":` + strings.Repeat(`[`, 20000), "exceeded max depth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadJSON(strings.NewReader(tt.json))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(Report{}, got); diff != "" {
				t.Errorf("a report came with the error:\n%s", diff)
			}
		})
	}
}

func TestReadJSONIsBounded(t *testing.T) {
	data := `{"schema":"1"}`
	if _, err := readJSON(strings.NewReader(data), int64(len(data))); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	endless := &endlessReader{}
	if _, err := readJSON(endless, 1000); err == nil || !strings.Contains(err.Error(), "longer than 1000 bytes") {
		t.Errorf("error %v", err)
	}
	if endless.read > 10000 {
		t.Errorf("%d bytes were read", endless.read)
	}
}

type endlessReader struct{ read int }

func (e *endlessReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestContradictionIsNotWritten(t *testing.T) {
	for name, r := range map[string]Report{
		"schema":     {Schema: "0"},
		"components": {Tool: Tool{Components: map[string]string{"syft": "1", "Syft": "2"}}},
		"class":      {Error: &Error{Class: ""}},
		"state":      {Destinations: []Destination{{}}},
		"verdict":    {Decision: &policy.Decision{Passed: true, Violations: []policy.Violation{{}}}},
	} {
		var out bytes.Buffer
		if err := JSON(&out, r); err == nil || out.Len() > 0 {
			t.Errorf("%s: error %v, %d bytes written", name, err, out.Len())
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	// The seeds are small, each with another part of a report, because the fuzzer would spend its
	// time on minimizing whole reports.
	for _, seed := range []string{
		`{"schema":"1"}`,
		`{"schema":"1","tool":{"components":{"a":"1","b":"2"}}}`,
		`{"schema":"1","finished":"2026-11-23T04:00:00Z","policy":{"file":"p","digest":"sha256:0"},"decision":{"passed":true,"until":"2026-11-25T00:00:00Z"}}`,
		`{"schema":"1","decision":{"violations":[{"kind":"sbom","rule":"r","message":"::error::m"}]}}`,
		`{"schema":"1","decision":{"violations":[{"finding":{"id":"CVE-1","severity":"high","fixState":"fixed","fixes":[{"version":"1.2"}],"epss":{"score":0.5},"kev":{}}}]}}`,
		`{"schema":"1","decision":{"violations":[{"finding":{"severity":"low"},"expired":[{"id":"a","expires":"2026-01-01T00:00:00Z"}]}]}}`,
		`{"schema":"1","decision":{"passed":true,"excepted":[{"finding":{},"exception":{"id":"a"}}],"allowed":[{"finding":{}}],"warnings":[{}]}}`,
		`{"schema":"1","input":{"platforms":[{"unknowns":[{"path":"/a","reason":"\u001b"}],"unmatched":[{"reason":"r"}],"suppressed":[{}]}],"database":{"built":"2026-11-23T04:00:00+01:00","providers":[{}]}}}`,
		`{"schema":"1","destinations":[{"state":"promoted","statements":[{"subjects":["a"]}]}],"error":{"class":"trust","message":"a\nb"}}`,
	} {
		if _, err := ReadJSON(strings.NewReader(seed)); err != nil {
			f.Fatalf("seed %s: %v", seed, err)
		}
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadJSON(bytes.NewReader(data))
		if err != nil {
			if diff := cmp.Diff(Report{}, r); diff != "" {
				t.Errorf("a report came with the error:\n%s", diff)
			}
			return
		}
		checkSafe(t, render(t, Text, r))
		checkSafe(t, Summary(r))
		var first bytes.Buffer
		if err := JSON(&first, r); err != nil {
			t.Fatal(err)
		}
		again, err := ReadJSON(bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatalf("reading what was written: %v\n%s", err, first.Bytes())
		}
		if second := render(t, JSON, again); second != first.String() {
			t.Errorf("(-first +second):\n%s", cmp.Diff(first.String(), second))
		}
	})
}
