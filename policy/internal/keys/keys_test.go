package keys

import (
	"reflect"
	"testing"
)

func TestFieldOfAKey(t *testing.T) {
	v := struct {
		A int    `json:"a,omitempty"`
		B string `json:"b"`
		C bool
		D bool `json:"-"`
	}{A: 1, B: "x"}
	if got := Field(reflect.ValueOf(v), "a").Int(); got != 1 {
		t.Errorf("%d", got)
	}
	if got := Field(reflect.ValueOf(v), "b").String(); got != "x" {
		t.Errorf("%q", got)
	}
	for i, want := range []string{"a", "b", "", "-"} {
		if got := Of(reflect.TypeOf(v).Field(i)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	defer func() {
		if got := recover(); got != `struct { A int "json:\"a,omitempty\""; B string "json:\"b\""; C bool; D bool "json:\"-\"" } has no field for the key "c"` {
			t.Errorf("%v", got)
		}
	}()
	Field(reflect.ValueOf(v), "c")
}
