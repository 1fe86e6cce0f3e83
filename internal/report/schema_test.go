package report

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagegate/imagegate/internal/schemas"
	"github.com/imagegate/imagegate/policy/evidence"
)

// enums are the types with a fixed set of values. ReadJSON refuses any other value.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[evidence.Severity](): {"unknown", "negligible", "low", "medium", "high", "critical"},
	reflect.TypeFor[evidence.FixState](): {string(evidence.FixUnknown), string(evidence.FixAvailable), string(evidence.FixNone), string(evidence.FixWont)},
	reflect.TypeFor[Class](): {string(ClassOther), string(ClassUsage), string(ClassRegistry), string(ClassDatabase), string(ClassTrust),
		string(ClassInterrupted), string(ClassOutput)},
	reflect.TypeFor[State](): {string(Promoted), string(AlreadyPromoted), string(Verified), string(SignatureVerified)},
}

// makeSchema generates the schema of a report from the Go types and their comments. If closed is
// set, the schema forbids unknown fields.
func makeSchema(t *testing.T, closed bool) []byte {
	t.Helper()
	data, err := schemas.Of(reflect.TypeFor[Report](), schemas.Options{Root: "../..", Title: "imagegate report, version " + Schema,
		Enums: enums, Const: map[string]string{"schema": Schema}, Closed: closed})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSchemaIsCurrent checks that the published schema has every field of the Go types, with its
// comment. Run it with -update to write the schema.
func TestSchemaIsCurrent(t *testing.T) {
	want := makeSchema(t, false)
	if bytes.Equal(want, JSONSchema()) {
		return
	}
	if !*update {
		t.Fatalf("schema.json is not what the types and comments say: run go test ./internal/report -run %s -update", t.Name())
	}
	if err := os.WriteFile("schema.json", want, 0o644); err != nil {
		t.Fatal(err)
	}
}

func compileSchema(t *testing.T, data []byte) *jsonschema.Schema {
	t.Helper()
	s, err := schemas.Compile(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReportsHoldToTheSchema checks every golden report, and a report with every field set, against
// the schema. It also uses a closed schema, which forbids unknown fields, to find fields that the
// schema lacks.
func TestReportsHoldToTheSchema(t *testing.T) {
	reports := map[string]string{"every field": render(t, JSON, full())}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reports[file] = string(data)
	}
	for _, s := range []*jsonschema.Schema{compileSchema(t, JSONSchema()), compileSchema(t, makeSchema(t, true))} {
		for name, text := range reports {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	s := compileSchema(t, JSONSchema())
	good := render(t, JSON, load(t, "denied.json"))
	for name, change := range map[string][2]string{
		"another version":     {`"schema": "1"`, `"schema": "2"`},
		"no version":          {`"schema": "1",`, ``},
		"an unknown severity": {`"severity": "critical"`, `"severity": "severe"`},
		"text for a truth":    {`"passed": false`, `"passed": "false"`},
		"no decision key":     {`"decision": {`, `"verdict": {`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
		if err != nil || bad == good {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Validate(value) == nil {
			t.Errorf("the schema accepts %s", name)
		}
	}
}
