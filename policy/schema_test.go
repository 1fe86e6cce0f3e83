package policy

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// TestSchemaIsCurrent checks that schema.json is generated from the types and their comments, like
// the reference in docs/policy.md, and from the decoder's messages about its keys. Run it with
// -update to write the schema.
//
// A library that generates schemas from Go types is not enough. The types describe a parsed policy,
// with positions and digests. They do not show which keys are mandatory, or how a duration is
// written. The messages of Parse do, so the generator reads these messages.
func TestSchemaIsCurrent(t *testing.T) {
	want, err := json.MarshalIndent(schemaMaker{newManual(t)}.document(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if bytes.Equal(want, Schema()) {
		return
	}
	if !*update {
		t.Fatalf("schema.json is not what the types and comments say: run go test ./policy -run %s -update", t.Name())
	}
	if err := os.WriteFile("schema.json", want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// compiledSchema returns the schema, and checks that it is valid itself.
func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// editorValue decodes YAML as an editor does for validation: dates are strings.
func editorValue(t *testing.T, data []byte) any {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var convert func(n *yaml.Node) any
	convert = func(n *yaml.Node) any {
		switch n.Kind {
		case yaml.DocumentNode:
			return convert(n.Content[0])
		case yaml.MappingNode:
			out := map[string]any{}
			for i := 0; i < len(n.Content); i += 2 {
				out[n.Content[i].Value] = convert(n.Content[i+1])
			}
			return out
		case yaml.SequenceNode:
			out := []any{}
			for _, item := range n.Content {
				out = append(out, convert(item))
			}
			return out
		}
		switch n.ShortTag() {
		case "!!null":
			return nil
		case "!!bool":
			return n.Value == "true"
		case "!!int", "!!float":
			return json.Number(n.Value)
		}
		return n.Value
	}
	return convert(&doc)
}

// policyFiles returns all policies of the golden cases and the examples.
func policyFiles(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"testdata/evaluate/*/*.yaml", "../examples/policies/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			all[file] = readFile(t, file)
		}
	}
	return all
}

func TestSchemaTakesEveryPolicy(t *testing.T) {
	s := compiledSchema(t)
	all := policyFiles(t)
	all["all keys"] = []byte(everyKey)
	for file, data := range all {
		if _, err := Parse(file, data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if err := s.Validate(editorValue(t, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	// Together, the policies in this test must use every key of the schema.
	used := map[string]bool{}
	collectKeys(editorValue(t, []byte(everyKey)), used)
	var document any
	if err := json.Unmarshal(Schema(), &document); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	collectProperties(document, known)
	for key := range known {
		if !used[key] {
			t.Errorf("no policy of this test has the key %q", key)
		}
	}
}

func collectKeys(v any, into map[string]bool) {
	switch x := v.(type) {
	case map[string]any:
		for key, value := range x {
			into[key] = true
			collectKeys(value, into)
		}
	case []any:
		for _, value := range x {
			collectKeys(value, into)
		}
	}
}

func collectProperties(v any, into map[string]bool) {
	switch x := v.(type) {
	case map[string]any:
		for key, value := range x {
			if properties, ok := value.(map[string]any); ok && key == "properties" {
				for name := range properties {
					into[name] = true
				}
			}
			collectProperties(value, into)
		}
	case []any:
		for _, value := range x {
			collectProperties(value, into)
		}
	}
}

// everyKey is a policy with every key. Its values have forms that the other policies do not have.
var everyKey = `version: 1
database: {maxAge: 1w2d12h30m, origins: ["https://mirror.example/*"], minAdvisories: 10}
distribution: {endOfLife: warn, notCovered: {distribution: block, packageType: warn, version: warn, firstParty: block}, allow: [debian 12], notAllowed: warn}
sbom: {unknowns: {packageDatabase: block, archive: block, file: warn, testData: block}, minPackages: 0}
rules:
  - {name: a, effect: block, severity: HIGH, fix: unavailable, grace: +1.5h}
  - {name: b, severity: Critical, epss: {score: 1, percentile: 0.5}, cvss: 10, kev: true, ids: [CVE-1]}
  - {name: c, package: {type: npm, name: a*, purl: "*"}, grace: 1d}
licenses:
  - {name: d, deny: [MIT], package: pkg:npm/*, effect: warn}
  - {name: e, allow: [MIT]}
  - {name: f, unknown: true}
packages:
  - {name: g, deny: pkg:npm/a}
  - {name: h, require: pkg:npm/b}
  - {name: i, minimum: {purl: pkg:npm/c, version: 1.2.3}}
image:
  - {name: j, notRoot: true}
  - {name: k, noSecrets: true}
  - {name: l, labels: [a, b=*]}
  - {name: m, ports: []}
  - {name: n, ports: ['8080', 8000-9000/udp]}
  - {name: o, maxAge: 90d}
  - {name: p, maxSize: 500 MB}
  - {name: q, maxLayers: 1}
  - {name: r, base: ["*"]}
  - {name: s, notLatest: true}
custom:
  - {name: t, each: package, when: pkg.name == "a", message: '"b"', effect: warn}
baseline: approved
baselineMaxAge: 30d
name: production
decision: {maxAge: 7d}
vex: {accept: [not_affected, fixed], justifications: [component_not_present], files: true, signers: [ci, engineers]}
signers:
  - {name: ci, issuer: https://login.example, subject: https://git.example/*}
  - name: engineers
    key: |
      ` + strings.ReplaceAll(strings.TrimSpace(testKey), "\n", "\n      ") + `
copyAttestations:
  - {type: https://slsa.dev/provenance/v1, signers: [ci]}
provenance:
  - {name: u, signers: [ci], type: slsa, builder: b*, source: https://git.example/*, effect: warn}
  - {name: v, signers: [engineers], type: signature}
exceptions:
  maxLifetime: 90d
  folder: a/b
  list:
    - {id: CVE-1, package: pkg:npm/a, image: registry.example/a, reason: r, owner: o, ticket: t, expires: 2026-12-31}
    - {rule: g, reason: r, owner: o, expires: 2026-12-31T12:00:00.5+02:00}
    - {rule: sbom.unknowns, path: /srv/**/*.jar, reason: r, owner: o, expires: 2026-12-31}
images:
  - {match: "*", sbom: {minPackages: 1, unknowns: warn}}
  - {match: "*", distribution: {notCovered: {version: block}}}
  - {match: [a, b], rules: [{name: a}], exceptions: [{id: CVE-2, reason: r, owner: o, expires: 2026-12-31}]}
unmatchedImages: deny
override: {maxLifetime: 24h, approvers: [a]}
`

func TestSchemaRefuses(t *testing.T) {
	s := compiledSchema(t)
	for name, data := range map[string]string{
		"no version":              "rules: [{name: a}]",
		"another version":         "version: 2\nrules: [{name: a}]",
		"no rules":                "version: 1",
		"an empty list of rules":  "version: 1\nrules: []",
		"a misspelt section":      "version: 1\nrules: [{name: a}]\ndatabse: {}",
		"a misspelt key":          "version: 1\nrules: [{name: a, serverity: high}]",
		"a rule without a name":   "version: 1\nrules: [{severity: high}]",
		"a blank name":            "version: 1\nrules: [{name: ' '}]",
		"an unknown severity":     "version: 1\nrules: [{name: a, severity: severe}]",
		"a threshold of unknown":  "version: 1\nrules: [{name: a, severity: unknown}]",
		"an unknown effect":       "version: 1\nrules: [{name: a, effect: deny}]",
		"kev: false":              "version: 1\nrules: [{name: a, kev: false}]",
		"a score above the most":  "version: 1\nrules: [{name: a, cvss: 11}]",
		"an empty condition":      "version: 1\nrules: [{name: a, epss: {}}]",
		"a duration without unit": "version: 1\nrules: [{name: a}]\ndatabase: {maxAge: 5}",
		"no advisories at all":    "version: 1\nrules: [{name: a}]\ndatabase: {minAdvisories: 0}",
		"an unknown unit":         "version: 1\nrules: [{name: a}]\ndatabase: {maxAge: 5y}",
		"an empty duration":       "version: 1\nrules: [{name: a}]\ndatabase: {maxAge: ''}",
		"a size without unit":     "version: 1\nrules: [{name: a}]\nimage: [{name: b, maxSize: 500}]",
		"a size of nothing":       "version: 1\nrules: [{name: a}]\nimage: [{name: b, maxSize: 0MB}]",
		"no condition":            "version: 1\nrules: [{name: a}]\nimage: [{name: b}]",
		"two conditions":          "version: 1\nrules: [{name: a}]\npackages: [{name: b, deny: pkg:npm/a, require: pkg:npm/b}]",
		"no purl":                 "version: 1\nrules: [{name: a}]\npackages: [{name: b, deny: lodash}]",
		"an exception for ever":   "version: 1\nrules: [{name: a}]\nexceptions: [{id: CVE-1, reason: r, owner: o}]",
		"an exception for both":   "version: 1\nrules: [{name: a}]\nexceptions: [{id: CVE-1, rule: b, reason: r, owner: o, expires: 2026-12-31}]",
		"a relative path":         "version: 1\nrules: [{name: a}]\nexceptions: [{rule: sbom.unknowns, path: srv/a.jar, reason: r, owner: o, expires: 2026-12-31}]",
		"an empty group":          "version: 1\nrules: [{name: a}]\nsbom: {unknowns: {}}",
		"an unknown reason":       "version: 1\nrules: [{name: a}]\ndistribution: {notCovered: {versions: warn}}",
		"a date of another form":  "version: 1\nrules: [{name: a}]\nexceptions: [{id: CVE-1, reason: r, owner: o, expires: 31.12.2026}]",
		"a scope of nothing":      "version: 1\nrules: [{name: a}]\nimages: [{match: a}]",
		"a scope of a scope":      "version: 1\nrules: [{name: a}]\nimages: [{match: a, images: []}]",
		"a justification of none": "version: 1\nrules: [{name: a}]\nvex: {justifications: [trust_me]}",
		"an unknown variable":     "version: 1\nrules: [{name: a}]\ncustom: [{name: b, each: image, when: 'true'}]",
	} {
		if _, err := Parse("p.yaml", []byte(data)); err == nil {
			t.Errorf("Parse accepts %s", name)
		}
		if err := s.Validate(editorValue(t, []byte(data))); err == nil {
			t.Errorf("the schema accepts %s", name)
		}
	}
}
