package promote

import (
	"encoding/json"
	"fmt"
	"strings"
)

// SchemaVersion is the version of imagegate's extensions of standard predicates: imagegate_basis of
// a decision, and scanner.result and imagegate_coverage of a scan. It increases when a field is
// removed or changes its meaning. It stays the same for a new field, because readers ignore fields
// that they do not know. docs/schemas has the JSON Schema of each extension.
//
// The version is a field because standards define the predicate types. The predicate of an override
// is imagegate's own, so its version is part of the type.
const SchemaVersion = 1

// SchemaError reports a trusted statement with a schema version that this program cannot read.
// Verify then refuses the image, because the statement may be a newer denial.
type SchemaError struct {
	// Field is the versioned part of the statement, such as "imagegate_basis".
	Field string
	// Version is the schemaVersion of Field. It is 0 if Field has no schemaVersion.
	Version int
}

// Error returns the version and a hint for the user.
func (e *SchemaError) Error() string {
	if e.Version == 0 {
		return fmt.Sprintf("%s has no schemaVersion, which every release of imagegate writes: find out which other program signs with this key", e.Field)
	}
	return fmt.Sprintf("%s has schemaVersion %d, but this release of imagegate reads %d: use a newer imagegate", e.Field, e.Version, SchemaVersion)
}

func checkSchema(field string, version int) error {
	if version != SchemaVersion {
		return &SchemaError{Field: field, Version: version}
	}
	return nil
}

// checkBasis returns a *SchemaError if a decision of imagegate for the repository uri has an
// unknown schema version. For a decision by another program, which has no imagegate_basis, it
// returns nil. It reads no other fields, because they may differ in another version.
func checkBasis(raw json.RawMessage, uri string) error {
	var d struct {
		ResourceURI string          `json:"resourceUri"`
		Basis       json.RawMessage `json:"imagegate_basis"`
	}
	if json.Unmarshal(raw, &d) != nil || len(d.Basis) == 0 || d.ResourceURI != uri {
		return nil //nolint:nilerr // not a decision of imagegate: parseDecision reports it
	}
	var basis struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	if json.Unmarshal(d.Basis, &basis) != nil { // imagegate_basis is null or not an object, or its version is not a number
		return checkSchema("imagegate_basis", 0)
	}
	return checkSchema("imagegate_basis", basis.SchemaVersion)
}

// unknownOverride returns the reason why a statement does not count if the statement is an override
// with an unknown version. Otherwise it returns "".
func unknownOverride(kind, verifier string) string {
	version, ok := strings.CutPrefix(kind, verifier+"/override")
	if !ok || kind == OverrideType(verifier) {
		return ""
	}
	if version == "" {
		return fmt.Sprintf("the override %s has no version in its type, which every release of imagegate writes", kind)
	}
	return fmt.Sprintf("the type of the override is %s, but this release of imagegate reads %s: use a newer imagegate", kind, OverrideType(verifier))
}
