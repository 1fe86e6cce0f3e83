// Package filekind recognizes the kinds of files that users confuse: policies, policy test suites,
// reports, SBOMs and statements. An error can then say what the file is, instead of listing all its
// unknown keys.
//
// [IsOwn] recognizes a report that imagegate wrote, before another report replaces it. Parsers do
// not use this package to accept a file.
package filekind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// Kind is the kind of a file, with its article, such as "a policy". The zero value is an unknown
// kind.
type Kind string

// These are the kinds of files that a command can require.
const (
	Policy Kind = "a policy"
	Suite  Kind = "a suite of policy tests"
	Report Kind = "a JSON report"
)

// wanted says which command writes a file of a kind.
var wanted = map[Kind]string{
	Policy: `as "imagegate policy init" writes it`,
	Suite:  "with the keys policies and cases",
	Report: "as --output json=FILE writes it",
}

// known lists the top-level keys that identify a kind of file. The first entry that matches
// decides.
var known = []struct {
	kind Kind
	keys []string
}{
	{Report, []string{"schema", "tool", "command", "policy"}},
	{Suite, []string{"policies", "cases"}},
	{Policy, []string{"version", "rules"}},
	{"a SARIF report", []string{"version", "runs"}},
	{"an SBOM in SPDX", []string{"spdxVersion"}},
	{"a document in CycloneDX", []string{"bomFormat"}},
	{"a VEX document in OpenVEX", []string{"@context", "statements"}},
	{"an in-toto statement", []string{"_type", "predicateType"}},
	{"evidence without a report", []string{"image", "platforms"}},
}

// yamlKey matches a top-level key of a YAML file.
var yamlKey = regexp.MustCompile(`(?m)^([A-Za-z$_@][A-Za-z0-9$_-]*):(?:\s|$)`)

// Of returns the kind of a file, by its first bytes. data may be cut off.
func Of(data []byte) Kind {
	trimmed := bytes.TrimSpace(data)
	keys, isObject := jsonKeys(trimmed)
	if !isObject {
		for _, m := range yamlKey.FindAllSubmatch(trimmed, -1) {
			keys[string(m[1])] = true
		}
	}
	for _, k := range known {
		if hasAll(keys, k.keys) {
			return k.kind
		}
	}
	return ""
}

// Explain returns an error that names the kind of the file, if it is of another kind than want.
// Otherwise it returns err, the error of the parser. data is the start of the file.
func Explain(path string, data []byte, want Kind, err error) error {
	kind := Of(data)
	if kind == "" && want == Report {
		kind = raw(data)
	}
	if err == nil || kind == "" || kind == want {
		return err
	}
	return fmt.Errorf("%q is %s: expected %s, %s", path, kind, want, wanted[want])
}

// raw returns the kind of a file that is not JSON.
func raw(data []byte) Kind {
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(trimmed) == 0:
		return "an empty file"
	case !utf8.Valid(trimmed[:min(len(trimmed), 100)]) || bytes.IndexByte(trimmed, 0) >= 0:
		return "a binary file"
	case trimmed[0] != '{':
		return "not a JSON object"
	}
	return ""
}

// jsonKeys returns the top-level keys of a JSON object. If the JSON is cut off, it returns the keys
// before the cut.
func jsonKeys(data []byte) (keys map[string]bool, isObject bool) {
	keys = map[string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return keys, false
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			break
		}
		if name, ok := key.(string); ok {
			keys[name] = true
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			break
		}
	}
	return keys, true
}

func hasAll(keys map[string]bool, want []string) bool {
	for _, k := range want {
		if !keys[k] {
			return false
		}
	}
	return true
}
