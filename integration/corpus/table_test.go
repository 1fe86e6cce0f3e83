package corpus

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table in docs/policy.md")

// TestTableIsCurrent checks that the table of images in docs/policy.md agrees with images.yaml.
func TestTableIsCurrent(t *testing.T) {
	const path = "../../docs/policy.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- corpus: generated from integration/corpus/images.yaml -->\n", "<!-- end of the corpus -->\n"
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + begin + table(readRecipes(t)) + end + after
	if want == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s differs from images.yaml: run go test ./integration/corpus -run %s -update", path, t.Name())
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// table returns the Markdown table of the images, their verdicts and the reasons.
func table(all []recipe) string {
	var out strings.Builder
	out.WriteString("\n| image | look-alike of | verdict | why | denied after adding |\n|---|---|---|---|---|\n")
	for _, r := range all {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", r.Name, r.Like, r.Verdict, strings.TrimSpace(r.Why), r.Plant)
	}
	return out.String() + "\n"
}

// String returns the planted package and the finding that denies it.
func (p plant) String() string {
	what := p.Package
	if source, version, ok := strings.Cut(p.Deb, " "); ok {
		what = source + " " + version
	}
	return fmt.Sprintf("%s: %s", what, strings.Join(p.Finds, ", "))
}
