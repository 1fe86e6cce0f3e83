package policy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReferenceIsCurrent checks that docs/policy.md has the reference generated from the comments
// on the types in this package. Run it with -update to write the reference.
func TestReferenceIsCurrent(t *testing.T) {
	const path = "../docs/policy.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- reference: generated from the types in policy -->\n", "<!-- end of the reference -->\n"
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the reference", path)
	}
	want := before + begin + newManual(t).text("Policy") + end + after
	if want == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the comments say: run go test ./policy -run %s -update", path, t.Name())
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// manual has the types of this package and their comments. The reference is generated from it.
type manual struct {
	*testing.T
	types map[string]*ast.TypeSpec
	docs  map[string]string
}

func newManual(t *testing.T) *manual {
	t.Helper()
	r := &manual{t, map[string]*ast.TypeSpec{}, map[string]string{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if decl, ok := d.(*ast.GenDecl); ok {
				for _, s := range decl.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok {
						r.types[ts.Name.Name] = ts
						r.docs[ts.Name.Name] = ts.Doc.Text() + decl.Doc.Text()
					}
				}
			}
		}
	}
	return r
}

// kinds maps Go types to the kind of their values in a policy file. The type of every key must be
// in this map or be a struct.
var kinds = map[string]string{
	"string": "text", "bool": "true", "int": "whole number", "int64": "whole number", "float64": "number",
	"Effect": "block or warn", "OptInEffect": "block or warn", "evidence.Severity": "severity", "Fixable": "available or unavailable",
	"Inheritance": "approved", "UnmatchedImages": "allow or deny", "ByteSize": "size, such as 500MB", "ProvenanceType": "slsa or signature", "Each": "finding, package or platform", "evidence.VEXStatus": "not_affected or fixed",
	"time.Duration": "duration", "time.Time": "date",
}

// unwritten lists the exported fields that are not keys of a policy file.
var unwritten = []string{"Policy.File", "Policy.Files", "Policy.Digest", "Scope.Keys", "Scope.Policy"}

// text returns the reference of a struct and of all structs that it contains, each once.
func (r *manual) text(root string) string {
	r.Helper()
	var b bytes.Buffer
	queue := []string{root}
	for i := 0; i < len(queue); i++ {
		name := queue[i]
		fields := r.types[name].Type.(*ast.StructType).Fields.List
		title := name
		if name == root {
			title = "The file"
		}
		fmt.Fprintf(&b, "\n### %s\n\n", title)
		if name != root {
			fmt.Fprintf(&b, "%s\n\n", paragraphs(r.docs[name]))
		}
		fmt.Fprint(&b, "| key | value | meaning |\n|---|---|---|\n")
		for _, f := range fields {
			key, ok := yamlKey(name, f)
			if !ok {
				continue
			}
			kind, of := r.kind(f.Type)
			if of != "" && !slices.Contains(queue, of) {
				queue = append(queue, of)
			}
			doc := f.Doc.Text() + f.Comment.Text()
			if strings.TrimSpace(doc) == "" && of == "" {
				r.Errorf("%s.%s has no comment", name, f.Names[0].Name)
			}
			doc = strings.TrimPrefix(paragraph(doc), f.Names[0].Name+" ")
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, kind, strings.ReplaceAll(doc, "|", `\|`))
		}
	}
	return b.String() + "\n"
}

// kind returns the kind of a value in a policy file. If the value is a mapping, of is the name of
// its struct.
func (r *manual) kind(expr ast.Expr) (text, of string) {
	switch x := expr.(type) {
	case *ast.ArrayType:
		text, of = r.kind(x.Elt)
		return "list of " + text, of
	case *ast.StarExpr:
		return r.kind(x.X)
	case *ast.SelectorExpr:
		return kinds[x.X.(*ast.Ident).Name+"."+x.Sel.Name], ""
	case *ast.Ident:
		if k, ok := kinds[x.Name]; ok {
			return k, ""
		}
		if ts, ok := r.types[x.Name]; ok {
			if _, ok := ts.Type.(*ast.StructType); ok {
				link := "[" + x.Name + "](#" + strings.ToLower(x.Name) + ")"
				if slices.Contains([]string{"CoverageEffects", "UnknownEffects"}, x.Name) {
					link = "block, warn or " + link
				}
				return link, x.Name
			}
		}
	}
	r.Errorf("no rule says how a %T %v is written", expr, expr)
	return "", ""
}

// yamlKey returns the key of a field, which is also its name in JSON.
func yamlKey(owner string, f *ast.Field) (string, bool) {
	if len(f.Names) != 1 || !f.Names[0].IsExported() || f.Names[0].Name == "Position" ||
		slices.Contains(unwritten, owner+"."+f.Names[0].Name) || f.Tag == nil {
		return "", false
	}
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return "", false
	}
	key, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
	// In a policy file, these keys are inside the mapping "exceptions".
	if rest, ok := strings.CutPrefix(key, "exceptions"); ok && rest != "" {
		key = "exceptions." + strings.ToLower(rest[:1]) + rest[1:]
	}
	return key, key != "" && key != "-"
}

// paragraphs joins the lines of each paragraph and list item of a comment. The result is Markdown.
func paragraphs(doc string) string {
	var b strings.Builder
	separator := ""
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			separator = "\n\n"
			continue
		case strings.HasPrefix(line, "- ") && separator == " ":
			separator = "\n"
		}
		b.WriteString(separator + line)
		separator = " "
	}
	return b.String()
}

// paragraph joins the lines of a comment.
func paragraph(doc string) string { return strings.Join(strings.Fields(doc), " ") }
