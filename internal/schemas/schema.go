// Package schemas makes JSON Schemas from Go types and their comments, and compiles them. Only tests use it: they compare
// the result with the published schemas.
package schemas

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Keywords is a part of a JSON Schema: keywords with their values. encoding/json sorts the keys.
type Keywords = map[string]any

// Options configure the generated schema.
type Options struct {
	// Root is the path of the root folder of this module, whose source files have the comments.
	Root string
	// Title is the title of the schema. ID is its URI, or "" for a schema without one.
	Title, ID string
	// Enums has the allowed values of each type with a fixed set of values.
	Enums map[reflect.Type][]string
	// Const maps JSON keys to values. A field with such a key always has that value.
	Const map[string]string
	// Closed forbids unknown fields. Published schemas are open. Tests use a closed schema to find
	// fields that the schema lacks.
	Closed bool
}

// Of returns the JSON Schema (2020-12) of a struct type. It returns an error if a field has no JSON
// key, or a type without a JSON form.
func Of(of reflect.Type, o Options) ([]byte, error) {
	m := &maker{Options: o, comments: map[string]string{}, read: map[string]bool{}, defs: Keywords{}}
	root := m.object(of)
	if m.err != nil {
		return nil, m.err
	}
	root["$schema"], root["title"] = "https://json-schema.org/draft/2020-12/schema", o.Title
	if o.ID != "" {
		root["$id"] = o.ID
	}
	properties := root["properties"].(Keywords) //nolint:forcetypeassert // object makes it
	for key, value := range o.Const {
		one, ok := properties[key].(Keywords)
		if !ok {
			return nil, fmt.Errorf("%s has no field %s", of, key)
		}
		one["const"] = value
	}
	if len(m.defs) > 0 {
		root["$defs"] = m.defs
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// maker generates one schema.
type maker struct {
	Options
	comments map[string]string // by "package path.Type" and "package path.Type.Field"
	read     map[string]bool   // package paths
	defs     Keywords
	err      error // the first error
}

func (m *maker) fail(err error) {
	m.err = cmp.Or(m.err, err)
}

// value returns the schema of a value. For a named struct, it adds a definition and returns a
// reference to it.
func (m *maker) value(of reflect.Type) Keywords {
	if values, ok := m.Enums[of]; ok {
		return Keywords{"enum": values}
	}
	switch of.Kind() {
	case reflect.Pointer:
		return Keywords{"anyOf": []Keywords{m.value(of.Elem()), {"type": "null"}}}
	case reflect.Slice:
		return Keywords{"type": []string{"array", "null"}, "items": m.value(of.Elem())}
	case reflect.Map:
		return Keywords{"type": []string{"object", "null"}, "additionalProperties": m.value(of.Elem())}
	case reflect.String:
		return Keywords{"type": "string"}
	case reflect.Bool:
		return Keywords{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return Keywords{"type": "integer"}
	case reflect.Float64:
		return Keywords{"type": "number"}
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() {
			return Keywords{"type": "string", "format": "date-time"}
		}
		name := of.String() // with the package, because two packages have an Attestation
		if m.defs[name] == nil {
			m.defs[name] = Keywords{} // for a type that contains itself
			m.defs[name] = m.object(of)
		}
		return Keywords{"$ref": "#/$defs/" + name}
	}
	m.fail(fmt.Errorf("no rule says how a %s is written", of))
	return nil
}

func (m *maker) object(of reflect.Type) Keywords {
	properties, required := Keywords{}, []string{}
	m.fields(of, properties, &required)
	out := Keywords{"type": "object", "properties": properties, "required": required}
	if text := m.comment(of, ""); text != "" {
		out["description"] = text
	}
	if m.Closed {
		out["additionalProperties"] = false
	}
	return out
}

// fields adds the schemas of a struct's fields to properties, including the fields of embedded
// structs.
func (m *maker) fields(of reflect.Type, properties Keywords, required *[]string) {
	for i := range of.NumField() {
		f := of.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && key == "":
			m.fields(f.Type, properties, required)
			continue
		case key == "":
			m.fail(fmt.Errorf("%s.%s has no JSON key", of, f.Name))
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

// comment returns the doc comment of a type or, if field is not "", of one of its fields, as one
// paragraph.
func (m *maker) comment(of reflect.Type, field string) string {
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

// readComments reads the doc comments in the package at an import path of this module.
func (m *maker) readComments(path string) {
	_, dir, ok := strings.Cut(path, "/imagegate/imagegate/")
	files, err := filepath.Glob(filepath.Join(m.Root, dir, "*.go"))
	if !ok || err != nil || len(files) == 0 {
		m.fail(fmt.Errorf("the source of %s is not in %s", path, m.Root))
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			m.fail(err)
			return
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

// describe stores a comment as a description, without the Go name that it begins with.
func (m *maker) describe(key, name, comment string) {
	text := strings.Join(strings.Fields(comment), " ")
	text = regexp.MustCompile("^"+name+" (is|are|has) ").ReplaceAllString(text, "")
	text = strings.NewReplacer("[", "", "]", "").Replace(text)
	if text != "" {
		m.comments[key] = strings.ToUpper(text[:1]) + text[1:]
	}
}

// Compile returns the compiled form of a JSON Schema. It also validates formats, such as date-time.
func Compile(data []byte) (*jsonschema.Schema, error) {
	const name = "schema.json"
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, parsed); err != nil {
		return nil, err
	}
	return c.Compile(name)
}
