package policy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/imagegate/imagegate/policy/evidence"
)

// samePolicy compares the content of two policies, without positions.
func samePolicy(t *testing.T, a, b *Policy) string {
	t.Helper()
	return cmp.Diff(a, b,
		cmpopts.IgnoreTypes(Position{}),
		cmpopts.IgnoreFields(Policy{}, "File", "Files", "Digest"),
		cmpopts.IgnoreFields(Scope{}, "Keys"),
		cmpopts.IgnoreUnexported(CustomRule{}),
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b CustomRule) bool {
			a.Position, b.Position = Position{}, Position{}
			return a.Equal(b)
		}))
}

// checkFormat checks that p, printed and parsed, is the same policy, and that printing it again
// changes nothing.
func checkFormat(t *testing.T, p *Policy) {
	t.Helper()
	text, err := p.Format()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("printed.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := samePolicy(t, p, again); diff != "" {
		t.Errorf("printed and parsed: %s\n%s", diff, text)
	}
	twice, err := again.Format()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(twice)); diff != "" {
		t.Errorf("printed again: %s", diff)
	}
}

// TestFormat prints every policy of the golden cases and the examples.
func TestFormat(t *testing.T) {
	for _, pattern := range []string{"testdata/evaluate/*/*.yaml", "../examples/policies/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Parse(file, data)
			if err != nil {
				t.Fatal(err)
			}
			checkFormat(t, p)
		}
	}
	p, err := Parse("scoped.yaml", []byte(scopedPolicy))
	if err != nil {
		t.Fatal(err)
	}
	checkFormat(t, p)
}

// TestForImage checks that the values for an image replace the policy's own.
func TestForImage(t *testing.T) {
	p, err := Parse("p.yaml", []byte(`version: 1
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
	text, err := p.ForImage("registry.example/legacy/app").Format()
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
