package report

import (
	_ "embed"
	"slices"
)

// schema is written by TestSchemaIsCurrent.
//
//go:embed schema.json
var schema []byte

// JSONSchema returns the JSON Schema (2020-12) of a JSON report. It allows unknown fields, because
// a later version of imagegate may add fields without changing [Schema].
func JSONSchema() []byte { return slices.Clone(schema) }
