package format

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// samePolicy compares the content of two policies, without positions.
func samePolicy(t *testing.T, a, b *policy.Policy) string {
	t.Helper()
	return cmp.Diff(a, b,
		cmpopts.IgnoreTypes(policy.Position{}),
		cmpopts.IgnoreFields(policy.Policy{}, "File", "Files", "Digest"),
		cmpopts.IgnoreFields(policy.Scope{}, "Keys"),
		cmpopts.IgnoreUnexported(policy.CustomRule{}),
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b policy.CustomRule) bool {
			a.Position, b.Position = policy.Position{}, policy.Position{}
			return a.Equal(b)
		}))
}

// checkFormat writes p and parses the result. The parsed policy must equal p, and writing the
// parsed policy must give the same file.
func checkFormat(t *testing.T, p *policy.Policy) {
	t.Helper()
	text, err := Policy(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := policy.Parse("printed.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := samePolicy(t, p, again); diff != "" {
		t.Errorf("printed and parsed: %s\n%s", diff, text)
	}
	twice, err := Policy(again)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(twice)); diff != "" {
		t.Errorf("printed again: %s", diff)
	}
}

const scopedPolicy = `version: 1
database:
  maxAge: 5d
sbom:
  unknowns: block
  minPackages: 2
rules:
  - name: critical
    severity: critical
  - name: rest
    effect: warn
images:
  - match: registry.example/legacy/*
    sbom:
      minPackages: 1
    rules:
      - name: rest
        severity: high
      - name: banned
        ids: [CVE-1]
  - match: [registry.example/legacy/app, "*/other"]
    sbom: {unknowns: warn}
    exceptions:
      - {id: CVE-2, reason: r, owner: o, expires: 2026-07-01}
`

// effects is a policy that sets groups of effects both by a single effect and by a mapping, for all
// images and in a scope.
const effects = `version: 1
rules:
  - name: all
distribution:
  notCovered: {packageType: warn, firstParty: block}
sbom: {unknowns: warn}
images:
  - match: a
    distribution: {notCovered: {version: warn}}
  - match: b
    distribution: {notCovered: warn}
  - match: b
    distribution: {notCovered: {packageType: block}}
    sbom: {unknowns: {file: block, testData: block}}
`

// TestFormat checks that every policy in the golden cases and the examples survives writing and
// parsing.
func TestFormat(t *testing.T) {
	for _, pattern := range []string{"../testdata/evaluate/*/*.yaml", "../../examples/policies/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := policy.Parse(file, data)
			if err != nil {
				t.Fatal(err)
			}
			checkFormat(t, p)
		}
	}
	for _, data := range []string{scopedPolicy, effects} {
		p, err := policy.Parse("p.yaml", []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		checkFormat(t, p)
	}
}

// TestForImage checks that the values of a scope replace the policy's own values.
func TestForImage(t *testing.T) {
	p, err := policy.Parse("p.yaml", []byte(`version: 1
rules:
  - {name: a, severity: high}
sbom: {unknowns: warn, minPackages: 3}
images:
  - match: registry.example/legacy/*
    rules: [{name: a, severity: critical}, {name: b}]
    sbom: {unknowns: block}
`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := Policy(p.ForImage("registry.example/legacy/app"))
	if err != nil {
		t.Fatal(err)
	}
	want := `version: 1
rules:
  - name: a
    severity: critical
  - name: b
database:
  maxAge: 5d
sbom:
  minPackages: 3
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if len(p.Images) != 1 || p.Rules[0].Severity != evidence.SeverityHigh {
		t.Error("the policy has changed")
	}
}

// FuzzPolicy checks that every policy that Parse accepts is the same after it is written and parsed
// again.
func FuzzPolicy(f *testing.F) {
	files, err := filepath.Glob("../../examples/policies/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(scopedPolicy))
	f.Add([]byte(effects))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := policy.Parse("p.yaml", data); err == nil {
			checkFormat(t, p)
		}
	})
}
