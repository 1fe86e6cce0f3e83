package policy

import (
	_ "embed"
	"slices"
)

// schema is written by TestSchemaIsCurrent.
//
//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of a policy file, for editors. It describes every key,
// and has the mandatory keys and the possible values. Every file that Parse accepts is valid by the
// schema. Parse also refuses some files that are valid by the schema, because a schema cannot
// express all conditions.
func Schema() []byte { return slices.Clone(schema) }
