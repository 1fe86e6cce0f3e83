package report

import (
	_ "embed"
	"slices"
)

// schema is the JSON Schema of a report. TestSchemaIsCurrent writes the file.
//
//go:embed schema.json
var schema []byte

// JSONSchema returns the JSON Schema (2020-12) of a JSON report. It allows unknown fields, because
// a later version of imagegate may add fields without changing [Schema].
func JSONSchema() []byte { return slices.Clone(schema) }
