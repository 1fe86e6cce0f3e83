package policy

import (
	_ "embed"
	"slices"
)

// schema is written by TestSchemaIsCurrent.
//
//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of a policy file, for editors: every
// key with its meaning, what is mandatory and which values there are. A file that
// Parse accepts is valid by it; not all that Parse refuses can be said in a
// schema.
func Schema() []byte { return slices.Clone(schema) }
