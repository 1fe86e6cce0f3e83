package integration

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listed is the description of a package that "go list" prints.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// goList returns the description of each package of imagegate, by import path.
func goList(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	all := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	return all
}

// module returns the module path of the product.
func module(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m").Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// TestImportsPointOneWay checks that each package imports only the packages of this module that the
// test lists for it.
func TestImportsPointOneWay(t *testing.T) {
	allowed := map[string][]string{
		"policy":                     {"policy/evidence", "policy/internal/builtin", "policy/internal/coverage", "policy/internal/custom", "policy/internal/exceptions", "policy/internal/image", "policy/internal/indexed", "policy/internal/keys", "policy/internal/match", "policy/internal/order", "policy/internal/signed", "policy/internal/spdx", "internal/strict", "policy/internal/vex", "policy/internal/wording", "internal/versions", "internal/clock", "internal/names"},
		"policy/diff":                {"policy", "policy/evidence", "policy/explain", "policy/internal/wording"},
		"policy/evidence":            nil,
		"policy/explain":             {"policy", "policy/evidence", "policy/internal/wording"},
		"policy/format":              {"policy", "policy/internal/keys", "policy/internal/wording"},
		"policy/internal/builtin":    nil,
		"policy/internal/coverage":   {"policy/evidence", "policy/internal/wording"},
		"policy/internal/custom":     {"policy/evidence", "policy/internal/order", "policy/internal/wording"},
		"policy/internal/exceptions": {"policy/evidence", "policy/internal/indexed", "policy/internal/match"},
		"policy/internal/image":      {"policy/evidence", "policy/internal/match", "policy/internal/wording"},
		"policy/internal/indexed":    {"policy/evidence", "policy/internal/match", "internal/clock"},
		"policy/internal/keys":       nil,
		"policy/internal/match":      {"policy/evidence", "internal/names"},
		"policy/internal/order":      {"policy/evidence"},
		"policy/internal/signed":     {"policy/evidence", "policy/internal/match", "policy/internal/order"},
		"policy/internal/spdx":       {"policy/internal/match", "internal/suggest"},
		"policy/internal/vex":        {"policy/evidence", "policy/internal/indexed", "policy/internal/match", "policy/internal/order", "internal/clock"},
		"policy/internal/wording":    {"policy/evidence"},
		"policy/lint":                {"policy", "policy/evidence", "policy/internal/builtin", "policy/internal/match", "policy/internal/spdx", "policy/internal/wording"},
		"policy/suite":               {"policy", "policy/evidence", "policy/internal/match", "policy/internal/order", "internal/strict"},
		"internal/versions":          nil,
		"internal/clock":             nil,
		"internal/suggest":           nil,
		"internal/strict":            {"internal/suggest"},
		"internal/config":            {"internal/disk", "internal/filekind", "internal/strict", "internal/suggest"},
		"internal/registry":          {"internal/names"},
		"internal/observe":           {"gate", "internal/report"},
		"internal/flags":             {"policy", "internal/suggest"},
		"internal/help":              {"internal/flags"},
		"internal/buildinfo":         nil,
		"internal/filekind":          nil,
		"internal/reference":         {"gate", "internal/names"},
		"internal/redact":            nil,
		"internal/trust":             {"internal/clock"},
		"internal/attach":            {"internal/clock", "internal/registry", "internal/trust"},
		"internal/vex":               nil,
		"internal/layout":            nil,
		"internal/units":             nil,
		"internal/suites":            {"policy", "internal/layout"},
		"internal/remedy":            {"policy", "policy/evidence", "internal/names", "internal/versions"},
		"internal/report":            {"policy", "policy/evidence", "policy/diff", "policy/explain", "internal/layout", "internal/remedy", "internal/units"},
		"internal/formats":           {"policy", "policy/evidence", "internal/remedy", "internal/report", "internal/formats/html"},
		"internal/github":            {"internal/formats", "internal/layout", "internal/report", "internal/units", "policy"},
		"internal/hostile":           {"policy/evidence", "internal/report"},
		"internal/formats/html":      {"policy", "policy/evidence", "internal/report", "internal/units"},
		"internal/attestations":      {"policy", "policy/evidence", "internal/attach", "internal/registry", "internal/trust", "internal/vex"},
		"gate/layers":                {"internal/disk", "internal/registry"},
		"gate/secrets":               {"policy/evidence"},
		"gate/cache":                 {"internal/disk"},
		"gate/vulndb":                {"policy/evidence", "internal/clock", "internal/disk"},
		"gate/filesystem":            {"gate/layers"},
		"gate/catalog":               {"policy/evidence", "gate/filesystem", "gate/layers", "gate/secrets"},
		"gate/match":                 {"policy/evidence", "gate/catalog", "gate/vulndb"},
		"gate":                       {"policy", "policy/evidence", "internal/registry", "gate/cache", "gate/catalog", "gate/filesystem", "gate/layers", "gate/match", "gate/secrets", "gate/vulndb", "internal/names"},
		"promote":                    {"policy", "policy/evidence", "internal/attach", "internal/clock", "internal/registry", "gate", "gate/layers", "internal/trust"},
		"internal/run":               {"policy", "policy/evidence", "gate", "promote", "internal/attestations", "internal/registry", "internal/report", "internal/trust"},
		"internal/cli":               {"internal/cli/doctorcmd", "internal/cli/releasecmd", "internal/cli/exit", "internal/cli/output", "internal/filekind", "internal/github", "internal/cli/password", "internal/cli/settings", "internal/audit", "internal/release", "internal/replay", "internal/telemetry", "internal/buildinfo", "internal/flags", "internal/help", "internal/reference", "internal/run", "internal/observe", "internal/redact", "policy", "policy/evidence", "policy/suite", "policy/lint", "policy/explain", "policy/format", "internal/attach", "internal/registry", "gate", "gate/cache", "gate/layers", "gate/vulndb", "promote", "internal/trust", "internal/report", "internal/suites", "internal/formats", "internal/attestations", "internal/vex", "internal/credentials", "internal/names", "internal/disk", "internal/suggest", "internal/supervise"},
		"internal/cli/output":        {"gate", "gate/layers", "internal/audit", "internal/cli/exit", "internal/disk", "internal/formats", "internal/observe", "internal/report", "internal/run", "internal/suggest", "internal/supervise", "internal/telemetry", "policy", "policy/evidence"},
		"internal/audit":             {"internal/disk", "internal/report", "policy"},
		"internal/replay":            {"internal/audit", "internal/layout", "internal/report", "policy", "policy/diff"},
		"internal/telemetry":         {"gate", "internal/report"},
		"internal/schemas":           nil,
		"internal/release":           {"internal/trust"},
		"internal/cli/password":      {"internal/cli/exit"},
		"internal/cli/releasecmd":    {"internal/cli/exit", "internal/release", "internal/report", "internal/trust"},
		"internal/cli/exit":          {"gate", "gate/vulndb", "internal/attach", "internal/attestations", "internal/audit", "internal/credentials", "internal/disk", "internal/observe", "internal/redact", "internal/registry", "internal/report", "internal/run", "internal/suggest", "policy", "promote"},
		"internal/cli/settings":      {"internal/cli/exit", "internal/config", "internal/flags", "internal/formats", "internal/observe", "internal/report"},
		"internal/cli/doctorcmd":     {"internal/cli/exit", "internal/doctor", "internal/observe", "internal/reference", "internal/trust", "gate", "gate/cache", "gate/vulndb", "policy"},
		"internal/doctor":            {"gate/cache", "gate/vulndb", "internal/clock", "internal/credentials", "internal/disk", "internal/layout", "internal/registry", "internal/trust", "policy"},
		"internal/lab":               nil,
		"":                           {"internal/cli"},
		"examples/demo":              {"internal/lab"},
		"integration/bench":          {"internal/lab"},
		"integration/release/pins":   nil,
		"integration/html":           {"policy", "policy/evidence", "internal/report", "internal/formats/html"},
		"integration":                nil,
		"integration/corpus":         nil,
		"integration/release":        nil,
		"integration/release/sign":   {"internal/lab"},
		"internal/names":             nil,
		"internal/credentials":       {"internal/names", "internal/disk"},
		"internal/disk":              nil,
		"internal/supervise":         nil,
	}
	mod := module(t)
	for path, p := range goList(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(path, mod), "/")
		may, known := allowed[name]
		if !known {
			t.Errorf("package %q has no place in the layout: state here what it may import", name)
			continue
		}
		for _, imp := range p.Imports {
			rel, ours := strings.CutPrefix(imp, mod+"/")
			if ours && !slices.Contains(may, rel) {
				t.Errorf("%q imports %q, which the layout does not allow", name, rel)
			}
		}
	}
}

// TestHeavyLibrariesHaveOneHome checks that only the listed packages import syft, grype, sigstore
// and other large modules. The peculiarities of a module then concern only these packages.
func TestHeavyLibrariesHaveOneHome(t *testing.T) {
	homes := map[string][]string{
		"github.com/anchore/syft/":        {"gate/catalog", "gate/match", "gate/vulndb"}, // these packages need syft's types for grype's interfaces
		"github.com/anchore/stereoscope/": {"gate/catalog", "gate/filesystem"},
		"github.com/anchore/grype/":       {"gate/match", "gate/vulndb"},
		"github.com/sigstore/":            {"internal/trust", "internal/lab", "integration/release/sign"}, // the last two sign for the tests
		"github.com/distribution/":        {"internal/lab"},
		"github.com/urfave/cli":           {"internal/cli", "internal/cli/doctorcmd", "internal/cli/releasecmd", "internal/cli/settings", "internal/flags", "internal/help"},
		"github.com/zricethezav/gitleaks": {"gate/secrets"},
		"cel.dev/":                        {"policy/internal/custom"},
	}
	mod := module(t)
	for path, p := range goList(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(path, mod), "/")
		for _, imp := range p.Imports {
			for prefix, may := range homes {
				if strings.HasPrefix(imp, prefix) && !slices.Contains(may, name) {
					t.Errorf("%q imports %s, whose home is %v", name, imp, may)
				}
			}
		}
	}
}

// TestPolicyIsPure checks that package policy depends, directly or indirectly, only on the listed
// modules. They are for YAML, license expressions, version comparison of ecosystems, and CEL.
func TestPolicyIsPure(t *testing.T) {
	mod := module(t)
	known := []string{mod, "gopkg.in/yaml.v3", "github.com/github/go-spdx/v2", "github.com/Masterminds/semver/v3",
		"github.com/aquasecurity/go-pep440-version", "github.com/aquasecurity/go-version", "github.com/knqyf263/go-apk-version",
		"github.com/knqyf263/go-deb-version", "github.com/masahiro331/go-mvn-version", "github.com/hashicorp/errwrap",
		"github.com/hashicorp/go-multierror", "golang.org/x/xerrors", "github.com/bmatcuk/doublestar/v4",
		// These modules are CEL and its dependencies.
		"cel.dev/cel-go", "cel.dev/expr", "github.com/antlr4-go/antlr", "go.yaml.in/yaml/v3", "golang.org/x/exp",
		"golang.org/x/text", "google.golang.org/genproto", "google.golang.org/protobuf"}
	packages := goList(t)
	if _, ok := packages[mod+"/policy"]; !ok {
		t.Fatal("there is no policy package")
	}
	for path, p := range packages {
		name := strings.TrimPrefix(path, mod+"/")
		if name != "policy" && !strings.HasPrefix(name, "policy/") {
			continue
		}
		for _, dep := range p.Deps {
			switch {
			case dep == "net", dep == "net/http", dep == "os/exec", dep == "database/sql":
				t.Errorf("%s reaches %s", name, dep)
			case strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") && !slices.ContainsFunc(known, func(prefix string) bool { return strings.HasPrefix(dep, prefix) }):
				t.Errorf("%s reaches %s", name, dep)
			}
		}
	}
}

// TestBinaryHasNoTestServers checks that the shipped binary does not contain the demo's registry.
func TestBinaryHasNoTestServers(t *testing.T) {
	mod := module(t)
	for _, dep := range goList(t)[mod].Deps {
		if strings.HasPrefix(dep, "github.com/distribution/distribution/") || dep == mod+"/internal/lab" {
			t.Errorf("the binary links %s", dep)
		}
	}
}

// TestEdgesAreInjected checks that policy, gate, promote, and the packages of reports and of trust do not
// use the clock, the environment, os.Exit or context.Background. Only main and internal/cli may use
// these.
func TestEdgesAreInjected(t *testing.T) {
	banned := map[string]bool{"os.Exit": true, "os.Getenv": true, "os.LookupEnv": true, "os.Environ": true, "time.Now": true,
		"context.Background": true, "context.TODO": true}
	for _, dir := range []string{"policy", "gate", "promote", "internal/trust", "internal/report", "internal/formats", "internal/github"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Obj == nil && banned[x.Name+"."+sel.Sel.Name] {
					t.Errorf("%s: %s.%s", set.Position(n.Pos()), x.Name, sel.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestModuleCanBeInstalled checks that go.mod has no replace or exclude directives, because
// "go install" refuses a module with such directives.
func TestModuleCanBeInstalled(t *testing.T) {
	data, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "replace") || strings.HasPrefix(line, "exclude") {
			t.Errorf("go.mod: %s", line)
		}
	}
}

// TestTopLevelIsFixed checks that the root folder of the repository contains only the listed names
// and the usual files of a Go repository.
func TestTopLevelIsFixed(t *testing.T) {
	want := []string{"main.go", "gate", "promote", "policy", "examples", "integration", "go.mod", "go.sum", "action.yml",
		"README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "internal", ".git", ".github", ".gitignore", ".golangci.yml", ".goreleaser.yaml", ".gitattributes", ".ci", "bin", "dist", "docs"}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(want, e.Name()) {
			t.Errorf("%s is not part of the layout", e.Name())
		}
	}
}
