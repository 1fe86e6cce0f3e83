package policy

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

var update = flag.Bool("update", false, "write the golden decisions of testdata/evaluate")

// TestEvaluateGolden evaluates the policies in each folder of testdata/evaluate. Each folder has
// the evidence in evidence.json, the time of the evaluation in "now", and the expected decision in
// decision.golden.
func TestEvaluateGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/evaluate/*")
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			set := Set{goldenPolicy(t, dir, "policy.yaml")}
			files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if name := filepath.Base(file); name != "policy.yaml" {
					set = append(set, goldenPolicy(t, dir, name))
				}
			}
			at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(readFile(t, dir, "now"))))
			if err != nil {
				t.Fatal(err)
			}
			var in evidence.Input
			data := json.NewDecoder(bytes.NewReader(readFile(t, dir, "evidence.json")))
			data.DisallowUnknownFields()
			if err := data.Decode(&in); err != nil {
				t.Fatal(err)
			}

			d := set.Evaluate(in, at)
			got, err := json.MarshalIndent(d, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			if *update {
				if err := os.WriteFile(filepath.Join(dir, "decision.golden"), got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(readFile(t, dir, "decision.golden")), string(got)); diff != "" {
				t.Error(diff)
			}
			// The folder's name states the outcome, so that -update cannot turn a denial into a
			// pass unnoticed.
			if want := strings.HasPrefix(filepath.Base(dir), "pass-"); d.Passed != want {
				t.Errorf("passed: %v", d.Passed)
			}
			var back Decision
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, back); diff != "" {
				t.Errorf("JSON loses something: %s", diff)
			}
		})
	}
}

// goldenPolicy parses a policy and adds the files in the exceptions folder next to it.
func goldenPolicy(t *testing.T, dir, file string) *Policy {
	t.Helper()
	p, err := Parse(file, readFile(t, dir, file))
	if err != nil {
		t.Fatal(err)
	}
	if p.ExceptionsFolder == "" {
		return p
	}
	files, err := filepath.Glob(filepath.Join(dir, p.ExceptionsFolder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of exceptions, %v", len(files), err)
	}
	for _, file := range files {
		name := p.ExceptionsFolder + "/" + filepath.Base(file)
		if err := p.AddExceptions(name, readFile(t, file)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func readFile(t *testing.T, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
