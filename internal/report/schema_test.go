package report

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagegate/imagegate/policy/evidence"
)

// keywords is a part of a schema. encoding/json sorts its keys.
type keywords map[string]any

// schemaMaker makes the schema of a report from the types and their comments.
type schemaMaker struct {
	*testing.T
	comments map[string]string // by "package path.Type" and "package path.Type.Field"
	read     map[string]bool   // package paths
	defs     keywords
	// closed forbids unknown fields.
	closed bool
}

// enums are the types whose other values ReadJSON refuses.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[evidence.Severity](): {"unknown", "negligible", "low", "medium", "high", "critical"},
	reflect.TypeFor[evidence.FixState](): {string(evidence.FixUnknown), string(evidence.FixAvailable), string(evidence.FixNone), string(evidence.FixWont)},
	reflect.TypeFor[Class](): {string(ClassOther), string(ClassUsage), string(ClassRegistry), string(ClassDatabase), string(ClassTrust),
		string(ClassInterrupted), string(ClassOutput)},
	reflect.TypeFor[State](): {string(Promoted), string(AlreadyPromoted), string(Verified), string(SignatureVerified)},
}

// document returns the schema of a report.
func (m *schemaMaker) document() []byte {
	m.Helper()
	root := m.object(reflect.TypeFor[Report]())
	root["$schema"], root["title"] = "https://json-schema.org/draft/2020-12/schema", "imagegate report, version "+Schema
	root["properties"].(keywords)["schema"].(keywords)["const"] = Schema
	root["$defs"] = m.defs
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		m.Fatal(err)
	}
	return out.Bytes()
}

// value returns the schema of a value. Named structs are definitions.
func (m *schemaMaker) value(of reflect.Type) keywords {
	m.Helper()
	if values, ok := enums[of]; ok {
		return keywords{"enum": values}
	}
	switch of.Kind() {
	case reflect.Pointer:
		return keywords{"anyOf": []keywords{m.value(of.Elem()), {"type": "null"}}}
	case reflect.Slice:
		return keywords{"type": []string{"array", "null"}, "items": m.value(of.Elem())}
	case reflect.Map:
		return keywords{"type": []string{"object", "null"}, "additionalProperties": m.value(of.Elem())}
	case reflect.String:
		return keywords{"type": "string"}
	case reflect.Bool:
		return keywords{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return keywords{"type": "integer"}
	case reflect.Float64:
		return keywords{"type": "number"}
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() {
			return keywords{"type": "string", "format": "date-time"}
		}
		name := of.String() // with the package, because two packages have an Attestation
		if m.defs[name] == nil {
			m.defs[name] = keywords{} // for a type that contains itself
			m.defs[name] = m.object(of)
		}
		return keywords{"$ref": "#/$defs/" + name}
	}
	m.Fatalf("no rule says how a %s is written", of)
	return nil
}

func (m *schemaMaker) object(of reflect.Type) keywords {
	m.Helper()
	properties, required := keywords{}, []string{}
	m.fields(of, properties, &required)
	out := keywords{"type": "object", "properties": properties, "required": required}
	if text := m.comment(of, ""); text != "" {
		out["description"] = text
	}
	if m.closed {
		out["additionalProperties"] = false
	}
	return out
}

// fields adds the fields of a struct, and the fields of its embedded structs.
func (m *schemaMaker) fields(of reflect.Type, properties keywords, required *[]string) {
	m.Helper()
	for i := range of.NumField() {
		f := of.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && key == "":
			m.fields(f.Type, properties, required)
			continue
		case key == "":
			m.Fatalf("%s.%s has no JSON key", of, f.Name)
		}
		one := m.value(f.Type)
		if text := m.comment(of, f.Name); text != "" {
			one["description"] = text
		}
		properties[key] = one
		if !strings.HasPrefix(options, "omit") {
			*required = append(*required, key)
		}
	}
}

// comment returns the comment of a type, or of a field of it, as one paragraph.
func (m *schemaMaker) comment(of reflect.Type, field string) string {
	m.Helper()
	if path := of.PkgPath(); !m.read[path] {
		m.read[path] = true
		m.readComments(path)
	}
	key := of.PkgPath() + "." + of.Name()
	if field != "" {
		key += "." + field
	}
	return m.comments[key]
}

// readComments reads the comments of a package of this module.
func (m *schemaMaker) readComments(path string) {
	m.Helper()
	_, dir, ok := strings.Cut(path, "/imagegate/imagegate/")
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if !ok || err != nil || len(files) == 0 {
		m.Fatalf("%s: %d files, %v", path, len(files), err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			m.Fatal(err)
		}
		for _, d := range parsed.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range decl.Specs {
				spec, ok := s.(*ast.TypeSpec)
				if !ok {
					continue
				}
				m.describe(path+"."+spec.Name.Name, spec.Name.Name, decl.Doc.Text()+spec.Doc.Text())
				if body, ok := spec.Type.(*ast.StructType); ok {
					for _, f := range body.Fields.List {
						for _, id := range f.Names {
							m.describe(path+"."+spec.Name.Name+"."+id.Name, id.Name, f.Doc.Text()+" "+f.Comment.Text())
						}
					}
				}
			}
		}
	}
}

// describe keeps a comment as a description: without the name that a comment in Go begins with.
func (m *schemaMaker) describe(key, name, comment string) {
	text := strings.Join(strings.Fields(comment), " ")
	text = regexp.MustCompile("^"+name+" (is|are|has) ").ReplaceAllString(text, "")
	text = strings.NewReplacer("[", "", "]", "").Replace(text)
	if text != "" {
		m.comments[key] = strings.ToUpper(text[:1]) + text[1:]
	}
}

func newSchemaMaker(t *testing.T, closed bool) *schemaMaker {
	return &schemaMaker{T: t, comments: map[string]string{}, read: map[string]bool{}, defs: keywords{}, closed: closed}
}

// TestSchemaIsCurrent checks that the schema has every field of the types, with its comment. Run it
// with -update to write the schema.
func TestSchemaIsCurrent(t *testing.T) {
	want := newSchemaMaker(t, false).document()
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
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReportsHoldToTheSchema checks every golden report, and a report with every field, against the
// schema. A second schema, which forbids unknown fields, shows that no field is missing in it.
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
	for _, s := range []*jsonschema.Schema{compileSchema(t, JSONSchema()), compileSchema(t, newSchemaMaker(t, true).document())} {
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
