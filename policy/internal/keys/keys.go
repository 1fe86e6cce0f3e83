// Package keys finds the struct fields of a policy by their keys in the policy file. The key of a
// field is its JSON name.
package keys

import (
	"fmt"
	"reflect"
	"strings"
)

// Of returns the key of a field: its JSON name. The result is "" or "-" if the field has no key.
func Of(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// Field returns the field of a struct for a key. It panics if the field is missing: the decoder has
// accepted the key, so a missing field is a bug in imagegate.
func Field(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		if Of(v.Type().Field(i)) == key {
			return v.Field(i)
		}
	}
	panic(fmt.Sprintf("%s has no field for the key %q", v.Type(), key))
}
