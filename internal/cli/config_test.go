package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/cli/settings"
	"github.com/imagegate/imagegate/internal/config"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/help"
)

const (
	configSchema = "../../docs/schemas/config.v1.json"
	configDoc    = "../../docs/configuration.md"
)

// TestConfigurationSchemaIsCurrent checks that docs/schemas/config.v1.json has exactly the keys of
// the configuration file.
func TestConfigurationSchemaIsCurrent(t *testing.T) {
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(configurationSchema(settings.Keys(newApp(Streams{}).Commands))); err != nil {
		t.Fatal(err)
	}
	currentFile(t, configSchema, want.Bytes())
}

// TestConfigurationDocumentIsCurrent checks that the tables in docs/configuration.md list exactly
// the keys of the configuration file.
func TestConfigurationDocumentIsCurrent(t *testing.T) {
	keys := settings.Keys(newApp(Streams{}).Commands)
	have, err := os.ReadFile(configDoc)
	if err != nil {
		t.Fatal(err)
	}
	for part, found := range map[string]bool{"found": true, "named": false} {
		marks := regexp.MustCompile(`(?s)(<!-- keys: ` + part + ` -->\n).*?(<!-- end -->)`)
		if !marks.Match(have) {
			t.Fatalf("%s has no part %s", configDoc, part)
		}
		have = marks.ReplaceAllFunc(have, func(old []byte) []byte {
			m := marks.FindSubmatch(old)
			return slices.Concat(m[1], []byte(configurationTable(keys, found)), m[2])
		})
	}
	currentFile(t, configDoc, have)
}

func currentFile(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(have)); diff != "" {
		t.Errorf("%s is out of date: run \"go test ./internal/cli -run Configuration -update\"\n%s", file, diff)
	}
}

// configurationTable returns a Markdown table: of the keys that a found file may set or, if found
// is false, of the keys that only a file named with --config may set.
func configurationTable(keys []config.Key, found bool) string {
	var out strings.Builder
	out.WriteString("| key | value | what it does | variable |\n|---|---|---|---|\n")
	for _, k := range keys {
		if k.Variable == "" || k.Found() != found {
			continue
		}
		value := map[config.Form]string{config.Plain: "text", config.Path: "path", config.PathOrURI: "path or URI", config.Output: "`FORMAT` or `FORMAT=FILE`"}[k.Form]
		switch {
		case k.Bool:
			value = "`true` or `false`"
		case len(k.Words) > 0 && k.Form == config.Plain:
			value = "`" + strings.Join(k.Words, "`, `") + "`"
		}
		if k.Repeatable {
			value += ", or a list"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | `%s` |\n", k.Name, value, strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(k.Description), k.Variable)
	}
	return out.String()
}

func configurationSchema(keys []config.Key) map[string]any {
	properties := map[string]any{}
	for _, k := range keys {
		if k.Variable == "" {
			continue
		}
		description := strings.ToUpper(k.Description[:1]) + k.Description[1:] + "."
		if !k.Found() {
			description += " Only in a file that is named with --config."
		}
		value := valueSchema(k)
		if k.Repeatable {
			value = map[string]any{"oneOf": []any{value, map[string]any{"type": "array", "items": value, "minItems": 1, "maxItems": 100}}}
		}
		value["description"] = description
		properties[k.Name] = value
	}
	return map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "imagegate configuration",
		"description": "Values for flags. A file that imagegate finds by itself can have only the keys without \"Only in a file that is named\".",
		"type":        "object", "additionalProperties": false, "properties": properties,
	}
}

// valueSchema returns the JSON Schema for one value of the key k.
func valueSchema(k config.Key) map[string]any {
	switch {
	case k.Bool:
		return map[string]any{"type": "boolean"}
	case k.Form == config.Output:
		return map[string]any{"type": "string", "pattern": "^(" + strings.Join(k.Words, "|") + ")(=.+)?$"}
	case len(k.Words) > 0 && k.Form == config.Plain:
		return map[string]any{"enum": k.Words}
	case k.Form == config.Plain && !k.Repeatable:
		return map[string]any{"type": []string{"string", "integer"}, "pattern": `\S`}
	}
	return map[string]any{"type": "string", "pattern": `\S`}
}

// TestConfigurationSchemaAgreesWithTheParser checks that the schema and the parser accept the same
// files.
func TestConfigurationSchemaAgreesWithTheParser(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(configSchema)
	if err != nil {
		t.Fatal(err)
	}
	keys := settings.Keys(newApp(Streams{}).Commands)
	for content, valid := range map[string]bool{
		"policy: policy.yaml\nkey: cosign.key\noutput: [text, json=report.json]\nlog-format: json\ncache-max: 0\nmax-age: 7d\n": true,
		"policy: [a.yaml, b.yaml]\nquiet: true\ndb-url: https://mirror.example\n":                                               true,
		"output: text\n":          true,
		"output: jsn\n":           false,
		"output: []\n":            false,
		"color: blue\n":           false,
		"quiet: 1\n":              false,
		"policy: {}\n":            false,
		"cache-dir: 1.5\n":        false,
		"allow-override: true\n":  false,
		"config: other.yaml\n":    false,
		"cache-key: abc\n":        false,
		"signature-only: true\n":  false,
		"- output\n":              false,
		"url: https://a.example/": false,
	} {
		path := t.TempDir() + "/gate.yaml"
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(config.Options{Named: path, Keys: keys})
		var value any
		if yerr := yaml.Unmarshal([]byte(content), &value); yerr != nil {
			t.Fatal(yerr)
		}
		serr := schema.Validate(value)
		if (err == nil) != valid || (serr == nil) != valid {
			t.Errorf("%q: the parser says %v, the schema says %v", content, err, serr)
		}
	}
}

// TestFoundConfigurationIsSafe compares the keys that a found file may set, and the flags that no
// file may set, with two fixed lists. A new flag is in neither list, so only a file named with
// --config can set it.
func TestFoundConfigurationIsSafe(t *testing.T) {
	var found, single []string
	keys := settings.Keys(newApp(Streams{}).Commands)
	for _, k := range keys {
		switch {
		case k.Variable == "":
			single = append(single, k.Name)
		case k.Found():
			found = append(found, k.Name)
		}
	}
	slices.Sort(found)
	slices.Sort(single)
	want := []string{"cache-max", "color", "details", "log-format", "output", "progress", "quiet"}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"allow-override", "override", "signature-only", "allow-older", "any-tag", "insecure-plain-http"} {
		if !slices.Contains(single, name) {
			t.Errorf("a file can set %s", name)
		}
	}
	known := flags.Variables(newApp(Streams{}).Commands)
	for _, k := range keys {
		if k.Variable != "" && !slices.Contains(known, k.Variable) {
			t.Errorf("%s sets no flag", k.Variable)
		}
	}
}

// TestCommandsThatReadAConfiguration checks that a broken configuration file does not break
// commands without configurable flags, such as help.
func TestCommandsThatReadAConfiguration(t *testing.T) {
	var without []string
	help.Walk(newApp(Streams{}), func(p help.Page) {
		has := slices.ContainsFunc(p.Flags, func(g help.FlagGroup) bool {
			return slices.ContainsFunc(g.Flags, func(f help.Flag) bool { return slices.Contains(f.Names, "--config") })
		})
		if !has && len(p.Commands) == 0 {
			without = append(without, strings.TrimPrefix(p.Name, "imagegate "))
		}
	})
	for _, name := range []string{"help", "version", "completion", "man", "policy lint", "policy init", "key generate"} {
		if !slices.Contains(without, name) {
			t.Errorf("%s reads a configuration file", name)
		}
	}
	for _, name := range []string{"promote", "check", "verify", "db update"} {
		if slices.Contains(without, name) {
			t.Errorf("%s reads no configuration file", name)
		}
	}
}
