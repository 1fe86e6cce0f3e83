package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode"
)

// FuzzParse checks that any content gives either a list of problems, or values that the flags
// accept. A found file must never set a key that it cannot have.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"output: [text, json=report.json]\ndetails: true\ncache-max: 0\n", "policy: a.yaml\nkey: awskms:///a\n", "at: &a 1d\nkey: *a\n",
		"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "quiet: true\nquiet: true\n", "color: \"\\e[31m\"\n", "output:\n\t- text\n", "\xff", "override: {}\n",
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		folder, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		for _, isFound := range []bool{false, true} {
			p := parser{file: &File{Path: "gate.yaml", Found: isFound}, keys: keys, base: "conf"}
			if isFound {
				p.folder = folder
			}
			got, err := p.parse(data)
			if (got == nil) != (err != nil) {
				t.Fatalf("%v and %v", got, err)
			}
			if err != nil {
				var invalid *Error
				if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
					t.Fatal(err)
				}
				continue
			}
			for _, v := range got.Values {
				checkValue(t, v, isFound)
			}
		}
	})
}

func checkValue(t *testing.T, v Value, isFound bool) {
	if v.Key.Variable == "" || isFound && !v.Key.Found() || v.Position.Line == 0 || len(v.Texts) == 0 {
		t.Fatalf("%+v", v)
	}
	for _, s := range v.Texts {
		if s == "" || strings.ContainsFunc(s, unicode.IsControl) {
			t.Fatalf("%s: %q", v.Key.Name, s)
		}
		if _, file, ok := strings.Cut(s, "="); isFound && v.Key.Form == Output && ok && (!strings.HasPrefix(file, "conf/") || strings.Contains(file, "/.")) {
			t.Fatalf("a report is written to %q", file)
		}
	}
}
