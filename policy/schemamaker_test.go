package policy

import (
	"errors"
	"go/ast"
	"maps"
	"regexp"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// keywords is a part of a schema. encoding/json sorts its keys.
type keywords map[string]any

type schemaMaker struct{ *manual }

// places has a policy for each type. The policy has %s at the place of a mapping of that type.
var places = map[string]string{
	"Policy":           "%s",
	"Rule":             "rules: [%s]",
	"EPSSThreshold":    "rules: [{name: a, epss: %s}]",
	"PackageCondition": "rules: [{name: a, package: %s}]",
	"LicenseRule":      "licenses: [%s]",
	"PackageRule":      "packages: [%s]",
	"MinimumVersion":   "packages: [{name: a, minimum: %s}]",
	"ImageRule":        "image: [%s]",
	"CustomRule":       "custom: [%s]",
	"DatabaseRule":     "database: %s",
	"DistributionRule": "distribution: %s",
	"SBOMRule":         "sbom: %s",
	"CoverageEffects":  "distribution: {notCovered: %s}",
	"UnknownEffects":   "sbom: {unknowns: %s}",
	"VEXRule":          "vex: %s",
	"exceptions":       "exceptions: %s",
	"Exception":        "exceptions: [%s]",
	"Scope":            "images: [%s]",
	"OverrideRule":     "override: %s",
	"DecisionRule":     "decision: %s",
	"SignerRule":       "signers: [%s]",
	"ProvenanceRule":   "provenance: [%s]",
	"CopyRule":         "copyAttestations: [%s]",
}

// answer lists keys that the messages of Parse name for a mapping: all keys, and the mandatory
// keys. exactlyOne lists alternative keys: a mapping must have exactly one of them.
type answer struct {
	keys, mandatory, exactlyOne []string
	notEmpty                    bool
}

var (
	saysKeys       = regexp.MustCompile(`^unknown key "zzzzzzzzzzzz" in .*: expected one of (.*)$`)
	saysMandatory  = regexp.MustCompile(` has no "(.*)", which is mandatory$`)
	saysExactlyOne = regexp.MustCompile(` has 0 of the keys (.*): expected exactly one$`)
)

// ask parses an empty mapping and a mapping that has only an unknown key. The messages name the
// keys, and which of them are mandatory.
func (m schemaMaker) ask(name string) answer {
	m.Helper()
	place, ok := places[name]
	if !ok {
		m.Fatalf("the position of a %s in a file is unknown", name)
	}
	var s answer
	for _, mapping := range []string{"{zzzzzzzzzzzz: 1}", "{}"} {
		_, err := Parse("", []byte(strings.Replace(place, "%s", mapping, 1)))
		var invalid *ParseError
		if !errors.As(err, &invalid) && mapping != "{}" {
			m.Fatalf("%s: %v", name, err)
		}
		// Read only the problems of this mapping. Their position is the mapping or its key.
		from := strings.Index(place, "%s") + 1
		for _, p := range invalid.Problems {
			if p.Position.Column < from {
				continue
			}
			if match := saysKeys.FindStringSubmatch(p.Message); match != nil {
				s.keys = strings.Split(match[1], ", ")
			}
			if mapping == "{}" {
				if match := saysMandatory.FindStringSubmatch(p.Message); match != nil {
					s.mandatory = append(s.mandatory, match[1])
				}
				if match := saysExactlyOne.FindStringSubmatch(p.Message); match != nil {
					s.exactlyOne = strings.Split(match[1], ", ")
				}
				s.notEmpty = s.notEmpty || strings.Contains(p.Message, " is empty: ")
			}
		}
	}
	if len(s.keys) == 0 {
		m.Fatalf("Parse does not say which keys a %s has", name)
	}
	return s
}

func (m schemaMaker) document() keywords {
	defs := keywords{}
	for name := range places {
		if name != "Policy" && name != "exceptions" {
			defs[name] = m.mapping(name)
		}
	}
	policy := m.mapping("Policy")
	policy["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	policy["title"] = "imagegate policy"
	policy["description"] = "Rules that decide which images imagegate promotes. A section that is left out has a strict default."
	policy["$defs"] = defs
	return policy
}

// mapping returns the schema of a struct.
func (m schemaMaker) mapping(name string) keywords {
	s := m.ask(name)
	properties := keywords{}
	for _, key := range s.keys {
		properties[key] = m.property(name, key)
	}
	out := keywords{"type": "object", "properties": properties, "additionalProperties": false}
	if doc := paragraphs(m.docs[name]); doc != "" {
		out["description"] = doc
	}
	if len(s.mandatory) > 0 {
		out["required"] = s.mandatory
	}
	if s.notEmpty {
		out["minProperties"] = 1
	}
	if len(s.exactlyOne) > 0 {
		var one []keywords
		for _, key := range s.exactlyOne {
			one = append(one, keywords{"required": []string{key}})
		}
		out["oneOf"] = one
	}
	if name == "Scope" {
		out["minProperties"] = 2 // a scope needs the key match and at least one other key
	}
	return out
}

// property returns the schema of a key's value, with its description.
func (m schemaMaker) property(owner, key string) keywords {
	if owner == "Policy" && key == "version" {
		return keywords{"const": formatVersion, "description": "Version of this format: 1. Mandatory."}
	}
	// A scope has the sections of the policy. The mapping "exceptions" has fields of the type
	// Policy.
	in, fieldKey := owner, key
	switch {
	case owner == "exceptions" && key == "list":
		in, fieldKey = "Policy", "exceptions"
	case owner == "exceptions":
		in, fieldKey = "Policy", "exceptions."+key
	case owner == "Scope" && key != "match":
		in = "Policy"
	}
	f := m.field(in, fieldKey)
	value := m.value(in, key, f.Type)
	switch {
	case owner == "Policy" && key == "exceptions":
		value = keywords{"oneOf": []keywords{value, m.mapping("exceptions")}}
	case owner == "Scope" && key == "match":
		value = keywords{"oneOf": []keywords{value, value["items"].(keywords)}}
	}
	if doc, ok := strings.CutPrefix(paragraph(f.Doc.Text()+f.Comment.Text()), f.Names[0].Name); ok {
		value["description"] = key + doc
	}
	return value
}

func (m schemaMaker) field(owner, key string) *ast.Field {
	m.Helper()
	for _, f := range m.types[owner].Type.(*ast.StructType).Fields.List {
		if k, ok := yamlKey(owner, f); ok && k == key {
			return f
		}
	}
	m.Fatalf("%s has no field for the key %q, which Parse accepts", owner, key)
	return nil
}

// goDuration is the syntax of time.ParseDuration, without a sign.
const goDuration = `(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))`

// refined has the schemas of values whose Go type does not show all limits.
var refined = map[string]keywords{
	"Rule.cvss":                  number(maxCVSS),
	"EPSSThreshold.score":        number(1),
	"EPSSThreshold.percentile":   number(1),
	"ImageRule.maxLayers":        {"type": "integer", "minimum": 1},
	"DatabaseRule.minAdvisories": {"type": "integer", "minimum": 1},
	"ImageRule.ports":            {"type": "array", "items": keywords{"type": "string", "pattern": `^\s*[0-9]{1,5}(-[0-9]{1,5})?(/[A-Za-z]+)?\s*$`}},
	"VEXRule.accept":             listOf(enum(string(evidence.VEXNotAffected), string(evidence.VEXFixed))),
	"VEXRule.justifications":     listOf(enum(vexJustifications...)),
	"SignerRule.key":             {"type": "string", "pattern": "-----BEGIN PUBLIC KEY-----"},
	"Rule.ids":                   listOf(keywords{"type": "string", "pattern": `^\s*[^*\s]+\s*$`}),
	"Exception.id":               {"type": "string", "pattern": `^\s*[^*\s]+\s*$`},
	"Exception.package":          purlPatternSchema,
	"Exception.path":             {"type": "string", "pattern": `^\s*(/|\*\*)`},
	"LicenseRule.package":        purlPatternSchema,
	"PackageCondition.purl":      purlPatternSchema,
	"PackageRule.deny":           purlPatternSchema,
	"PackageRule.require":        purlPatternSchema,
	"MinimumVersion.purl":        purlPatternSchema,
}

var purlPatternSchema = keywords{"type": "string", "pattern": `^\s*(pkg:|\*)`}

func number(most float64) keywords {
	return keywords{"type": "number", "exclusiveMinimum": 0, "maximum": most}
}

func listOf(items keywords) keywords {
	return keywords{"type": "array", "items": items, "minItems": 1}
}

func enum(values ...string) keywords { return keywords{"enum": values} }

// value returns the schema of a value of this type.
func (m schemaMaker) value(owner, key string, expr ast.Expr) keywords {
	m.Helper()
	if r, ok := refined[owner+"."+key]; ok {
		return maps.Clone(r) // clone, because the caller adds a description
	}
	switch x := expr.(type) {
	case *ast.ArrayType:
		items := m.value("", "", x.Elt)
		if _, rules := items["$ref"]; rules && key != "rules" {
			return keywords{"type": "array", "items": items}
		}
		return listOf(items)
	case *ast.SelectorExpr:
		switch x.Sel.Name {
		case "Severity":
			return severitySchema()
		case "Duration":
			return keywords{"type": "string", "minLength": 1,
				"pattern": `^(\+` + goDuration + `+|([0-9]{1,4}w)?([0-9]{1,4}d)?` + goDuration + `*)$`}
		case "Time":
			return keywords{"type": "string",
				"pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2}))?$`}
		}
	case *ast.Ident:
		switch x.Name {
		case "string":
			return keywords{"type": "string", "pattern": `\S`}
		case "bool":
			return keywords{"const": true}
		case "int":
			return keywords{"type": "integer", "minimum": 0}
		case "CoverageEffects", "UnknownEffects":
			return keywords{"oneOf": []keywords{enum(Block.String(), Warn.String()), {"$ref": "#/$defs/" + x.Name}}}
		case "Effect", "OptInEffect":
			return enum(Block.String(), Warn.String())
		case "Fixable":
			return enum(string(FixableYes), string(FixableNo))
		case "UnmatchedImages":
			return enum(allowWritten, string(UnmatchedDeny))
		case "Inheritance":
			return enum(string(InheritApproved))
		case "ProvenanceType":
			return enum(string(ProvenanceSLSA), string(ProvenanceSignature))
		case "Each":
			return enum(string(EachFinding), string(EachPackage), string(EachPlatform))
		case "ByteSize":
			var units []string
			for _, u := range sizeUnits {
				units = append(units, u.name)
			}
			return keywords{"type": "string", "pattern": `^[1-9][0-9]* ?(` + strings.Join(units, "|") + `)$`}
		}
		if _, ok := m.types[x.Name].Type.(*ast.StructType); ok {
			return keywords{"$ref": "#/$defs/" + x.Name}
		}
	}
	m.Fatalf("%s.%s: no rule says how a %T %v is written", owner, key, expr, expr)
	return nil
}

// severitySchema returns a schema that lists the severities in lower case, and accepts any letter
// case.
func severitySchema() keywords {
	var names, any []string
	for s := evidence.SeverityNegligible; s <= evidence.SeverityCritical; s++ {
		name := s.String()
		names = append(names, name)
		var b strings.Builder
		for _, r := range name {
			b.WriteString("[" + string(r) + strings.ToUpper(string(r)) + "]")
		}
		any = append(any, b.String())
	}
	return keywords{"anyOf": []keywords{enum(names...), {"type": "string", "pattern": "^(" + strings.Join(any, "|") + ")$"}}}
}
