package report

import (
	_ "embed"
	"slices"
)

// schema is written by TestSchemaIsCurrent.
//
//go:embed schema.json
var schema []byte

// JSONSchema returns the JSON Schema (2020-12) of a JSON report. It allows unknown fields, because a
// later version of this program may add some under the same value of [Schema].
func JSONSchema() []byte { return slices.Clone(schema) }
