package promote

import (
	"encoding/json"
	"fmt"
	"strings"
)

// SchemaVersion is the version of our extensions of standard predicates: imagegate_basis of a
// decision, and scanner.result and imagegate_coverage of a scan. It increases when a field is
// removed or changes its meaning. A new field does not change it, because readers ignore fields
// that they do not know. docs/schemas has the JSON Schema of each extension.
//
// The version is a field because the predicate types belong to the standards. The override is a
// predicate of our own and has its version in the type.
const SchemaVersion = 1

// SchemaError reports a trusted statement in a version that this program cannot read. Verify refuses
// the image: the statement may be a newer denial.
type SchemaError struct {
	// Field is the versioned part of the statement, such as "imagegate_basis".
	Field string
	// Version is the schemaVersion of Field. It is 0 if there is none.
	Version int
}

// Error names the version and the remedy.
func (e *SchemaError) Error() string {
	if e.Version == 0 {
		return fmt.Sprintf("%s has no schemaVersion, and no release of imagegate writes it like that: find out what else signs with this key", e.Field)
	}
	return fmt.Sprintf("%s has schemaVersion %d, and this imagegate reads %d: use a newer imagegate", e.Field, e.Version, SchemaVersion)
}

func checkSchema(field string, version int) error {
	if version != SchemaVersion {
		return &SchemaError{Field: field, Version: version}
	}
	return nil
}

// checkBasis returns a *SchemaError if a decision of this program, for the repository uri, has
// another schema version. It returns nil for a decision by another program, which has no
// imagegate_basis. It reads nothing else: the other fields may differ in another version.
func checkBasis(raw json.RawMessage, uri string) error {
	var d struct {
		ResourceURI string          `json:"resourceUri"`
		Basis       json.RawMessage `json:"imagegate_basis"`
	}
	if json.Unmarshal(raw, &d) != nil || len(d.Basis) == 0 || d.ResourceURI != uri {
		return nil //nolint:nilerr // not a decision of this program: parseDecision reports it
	}
	var basis struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	if json.Unmarshal(d.Basis, &basis) != nil { // null, another type, or a version that is not a number
		return checkSchema("imagegate_basis", 0)
	}
	return checkSchema("imagegate_basis", basis.SchemaVersion)
}

// unknownOverride returns the reason why a statement does not count if it is an override in another
// version, or "".
func unknownOverride(kind, verifier string) string {
	version, ok := strings.CutPrefix(kind, verifier+"/override")
	if !ok || kind == OverrideType(verifier) {
		return ""
	}
	if version == "" {
		return fmt.Sprintf("the override %s has no version in its type, and no release of imagegate writes it like that", kind)
	}
	return fmt.Sprintf("the override %s is of another version than %s, which this imagegate reads: use a newer imagegate", kind, OverrideType(verifier))
}
