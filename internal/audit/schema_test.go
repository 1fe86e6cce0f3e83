package audit

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/schemas"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var update = flag.Bool("update", false, "write the schema")

const schemaFile = "../../docs/schemas/audit.v1.json"

func makeSchema(t *testing.T, closed bool) []byte {
	t.Helper()
	data, err := schemas.Of(reflect.TypeFor[Event](), schemas.Options{Root: "../..", Title: "imagegate audit record, version 1", ID: SchemaURI, Closed: closed,
		Enums: map[reflect.Type][]string{
			reflect.TypeFor[evidence.Severity](): {"unknown", "negligible", "low", "medium", "high", "critical"},
		},
		Const: map[string]string{"specversion": specVersion, "type": Type, "datacontenttype": contentType, "dataschema": dataSchema, "source": source}})
	check(t, err)
	return data
}

// TestSchemaIsCurrent checks that the published schema has every field of the Go types. Run it with
// -update to write the schema.
func TestSchemaIsCurrent(t *testing.T) {
	want := makeSchema(t, false)
	have, err := os.ReadFile(schemaFile)
	if err == nil && bytes.Equal(have, want) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the types and comments say: run go test ./internal/audit -run %s -update (%v)", schemaFile, t.Name(), err)
	}
	check(t, os.WriteFile(schemaFile, want, 0o644)) //nolint:gosec // a file of the repository
}

// TestRecordHoldsToTheSchema validates the shortest possible record, and a record with every field
// set. It uses the published schema, and a closed schema that forbids unknown fields.
func TestRecordHoldsToTheSchema(t *testing.T) {
	published, err := os.ReadFile(schemaFile)
	check(t, err)
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	full := report.Report{Command: "promote", Started: now, Finished: now.Add(time.Second), EvaluatedAt: now,
		Tool:  report.Tool{Name: "imagegate", Version: "v1", Components: map[string]string{"syft": "v1"}},
		Error: &report.Error{Class: report.ClassOutput, Message: "full"},
		Input: evidence.Input{Image: evidence.Image{Reference: "registry.example/app:1", Repository: "registry.example/app", Digest: "sha256:aa"},
			Platforms: []evidence.Platform{{Platform: "linux/amd64", Digest: "sha256:bb"}},
			Database:  evidence.Database{Digest: "sha256:cc", Built: now, Schema: "6", Source: "grype.anchore.io"}},
		Policy:       report.Policy{File: "policy.yaml", Digest: "sha256:dd", Files: []report.PolicyFile{{}}},
		Decision:     &policy.Decision{},
		Destinations: []report.Destination{{Reference: "approved.example/app:1", Digest: "sha256:aa", State: report.Promoted, Signer: "SHA256:ee", Statements: []report.Statement{{}}}},
	}
	e := NewEvent(full, Process{ID: "1", ExitCode: 1, Actor: Actor{"root", "node", "github-actions", "octo", "https://github.com/r/1", "aa"}, Requested: []string{"approved.example/app:1"}})
	e.Data.Recovered, e.Data.Omitted, e.Data.ValidUntil = true, 1, now
	e.Data.Rules = []Rule{{"no critical", "policy.yaml:3", 1, 1}}
	e.Data.Exceptions = []Exception{{"CVE-1", "no critical", "openssl", "policy.yaml:9", "team", "why", now, 1}}
	e.Data.Override = &Override{"why", "who", now, now, 1}
	for name, record := range map[string]Event{"empty": NewEvent(report.Report{}, Process{}), "full": e} {
		line, err := encode(record)
		check(t, err)
		for _, schema := range [][]byte{published, makeSchema(t, true)} {
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
			check(t, err)
			if err := compile(t, schema).Validate(value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	var broken map[string]any
	line, err := encode(e)
	check(t, err)
	check(t, json.Unmarshal(line, &broken))
	broken["type"] = "other"
	if compile(t, published).Validate(broken) == nil {
		t.Error("a record of another type is valid")
	}
}

func compile(t *testing.T, data []byte) *jsonschema.Schema {
	t.Helper()
	s, err := schemas.Compile(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
