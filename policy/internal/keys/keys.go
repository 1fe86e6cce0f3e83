// Package keys finds the fields of the structs of a policy by their keys in the file. A key equals
// the name of the field in JSON.
package keys

import (
	"fmt"
	"reflect"
	"strings"
)

// Of returns the key of a field: its name in JSON, or "" or "-" if it has none.
func Of(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// Field returns the field of a struct for a key. It panics if the field is missing: the decoder has
// accepted the key, so this is a bug in the program.
func Field(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		if Of(v.Type().Field(i)) == key {
			return v.Field(i)
		}
	}
	panic(fmt.Sprintf("%s has no field for the key %q", v.Type(), key))
}
