package suite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/imagegate/imagegate/policy"
)

// FuzzParse checks that Parse returns, for any file, either a list of problems or a suite whose
// cases can be checked.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../examples/policy-tests/*.yaml")
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
	f.Add([]byte(suiteOf("{platforms: [{findings: [{kev: {}, epss: {score: 1}}], config: {labels: {a: b}}, unknowns: [{path: a}]}], vex: [{id: a}]}", "{passed: true}")))
	p := &policy.Policy{Rules: []policy.Rule{{Name: "all"}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("s.yaml", data)
		if (s == nil) != (err != nil) {
			t.Fatalf("%v and %v", s, err)
		}
		if err != nil {
			var invalid *policy.ParseError
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
				t.Fatal(err)
			}
			return
		}
		for i := range s.Cases {
			c := &s.Cases[i]
			if (c.Evidence == nil) == (c.EvidenceFile == "") || c.Name == "" || c.Now.IsZero() {
				t.Fatalf("%+v", c)
			}
			if c.Evidence != nil {
				c.Check(policy.Set{p}, *c.Evidence)
			}
		}
	})
}
