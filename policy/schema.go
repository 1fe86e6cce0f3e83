package policy

import (
	_ "embed"
	"slices"
)

// schema is written by TestSchemaIsCurrent.
//
//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of a policy file, for editors. It has the meaning of
// every key, the mandatory keys and the possible values. Every file that Parse accepts is valid,
// but a schema cannot express everything that Parse refuses.
func Schema() []byte { return slices.Clone(schema) }
