package filekind

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKindsOfFiles(t *testing.T) {
	for text, want := range map[string]Kind{
		"version: 1\nrules:\n  - {name: a}\n":                              Policy,
		"# a comment\n---\nversion: 1\nrules: []\n":                        Policy,
		"version: 1\npolicies: [policy.yaml]\ncases:\n  - name: rules\n":   Suite,
		`{"version": 1, "rules": []}`:                                      Policy,
		`{"schema": "1", "tool": {}, "command": "check", "policy": {}, "i`: Report,
		`{"$schema": "x", "version": "2.1.0", "runs": []}`:                 "a SARIF report",
		`{"spdxVersion": "SPDX-2.3"}`:                                      "an SBOM in SPDX",
		`{"bomFormat": "CycloneDX"}`:                                       "a document in CycloneDX",
		`{"@context": "x", "statements": []}`:                              "a VEX document in OpenVEX",
		`{"nested": {"version": 1, "rules": []}}`:                          "",
		"rules:\n  - version: 1\n":                                         "",
		"":                                                                 "",
		"[1]":                                                              "",
	} {
		if got := Of([]byte(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	for file, want := range map[string]Kind{
		"../report/testdata/denied.json":           Report,
		"../../examples/policies/starter.yaml":     Policy,
		"../../examples/policy-tests/starter.yaml": Suite,
	} {
		data, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			t.Fatal(err)
		}
		if got := Of(data); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

// TestErrorSaysWhatTheFileIs checks that Explain replaces the error of the parser only if the file
// is recognized as another kind.
func TestErrorSaysWhatTheFileIs(t *testing.T) {
	parser := errors.New("the error of the parser")
	for _, c := range []struct {
		text string
		want Kind
		says string
	}{
		{"version: 1\nrules: []\n", Report, `"x" is a policy: expected a JSON report, as --output json=FILE writes it`},
		{`{"schema": "1", "tool": {}, "command": "", "policy": {}}`, Policy, `"x" is a JSON report: expected a policy`},
		{"version: 1\nrules: []\n", Suite, `"x" is a policy: expected a suite of policy tests`},
		{"", Report, "is an empty file"},
		{"\x00\x01", Report, "is a binary file"},
		{"<html>", Report, "is not a JSON object"},
		{`{"a": 1}`, Report, parser.Error()},
		{"", Policy, parser.Error()},
		{"version: 1\nrules: []\n", Policy, parser.Error()},
	} {
		err := Explain("x", []byte(c.text), c.want, parser)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q in place of %s: %v, want %q", c.text, c.want, err, c.says)
		}
	}
	if err := Explain("x", nil, Report, nil); err != nil {
		t.Error(err)
	}
}

// TestForeignFilesAreNotOwn checks that IsOwn refuses documents of other tools, and files that only
// mention imagegate. Package formats tests the reports themselves.
func TestForeignFilesAreNotOwn(t *testing.T) {
	for format, files := range map[string][]string{
		"text":          {"", "imagegate is a program\n", "note\nimagegate v0.1.0 check, 2026-11-23 04:00 UTC\n"},
		"json":          {"{}", `{"specversion":"1.0","id":"1","type":"imagegate.run.v1"}`, `{"schema": "1", "tool": {"name": "other", "x": "imagegate"}}`},
		"sarif":         {`{"$schema": "s", "version": "2.1.0", "runs": [{"tool": {"driver": {"name": "other"}}}]}`},
		"openvex":       {`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "vendor", "tooling": "imagegate"}`},
		"cyclonedx":     {`{"bomFormat":"CycloneDX","metadata":{"tools":{"components":[{"name":"syft"}]},"component":{"name":"imagegate"}}}`},
		"spdx":          {`{"spdxVersion":"SPDX-2.3","creationInfo":{"creators":["Tool: syft"]},"name":"Tool: imagegate"}`},
		"csv":           {"record,status\n"},
		"html":          {`<!doctype html><title>imagegate</title>`},
		"none":          {"imagegate"},
		"cyclonedx-vex": {"[]"},
	} {
		for _, data := range files {
			if IsOwn(format, []byte(data)) {
				t.Errorf("%s: %q is taken for a report", format, data)
			}
		}
	}
}
