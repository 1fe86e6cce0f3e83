package formats

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// compileSchema compiles the JSON Schema in a file. Schemas that the file refers to are loaded from
// the same folder.
func compileSchema(t testing.TB, file string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	file, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	c.UseLoader(nextTo(filepath.Dir(file)))
	c.AssertFormat()
	s, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nextTo is a folder. It loads a schema by the base name of its URL from that folder.
type nextTo string

func (dir nextTo) Load(url string) (any, error) {
	file := path.Base(url)
	if file == "jsf-0.82.schema.json" {
		file = "jsf-0.82.schemax.json" // the name of this file in the CycloneDX module
	}
	return jsonschema.FileLoader{}.Load("file://" + filepath.Join(string(dir), file))
}

// moduleFile returns the path of a file in a Go module that imagegate depends on.
func moduleFile(t testing.TB, module, file string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("finding module %s: %v", module, err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), file)
}

// valid checks the JSON document data against the schema s.
func valid(t testing.TB, s *jsonschema.Schema, name string, data []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func decode[T any](t testing.TB, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSARIFIsValid(t *testing.T) {
	s := compileSchema(t, moduleFile(t, "github.com/anchore/grype", "grype/presenter/sarif/testdata/sarif-schema-2.1.0.json"))
	reports := outcomes(t)
	reports["30000 findings"] = manyFindings()
	for name, r := range reports {
		data, err := write(t, row(t, "sarif"), r)
		if r.Decision == nil {
			if err == nil {
				t.Errorf("%s: a result list without a decision reads as a pass", name)
			}
			continue
		}
		valid(t, s, name, data)
		run := decode[sarifLog](t, data).Runs[0]
		if failed := r.Error != nil; run.Invocations[0].Successful == failed {
			t.Errorf("%s: executionSuccessful is %v", name, !failed)
		}
		for _, result := range run.Results {
			if len(result.Locations) != 1 || run.Tool.Driver.Rules[result.RuleIndex].ID != result.RuleID {
				t.Errorf("%s: %+v", name, result)
			}
		}
	}
}

// TestSARIFIsCutWithWarning checks that a SARIF file with too many results lists blocking ones
// first, and has a notification about the rest.
func TestSARIFIsCutWithWarning(t *testing.T) {
	data, err := write(t, row(t, "sarif"), manyFindings())
	if err != nil {
		t.Fatal(err)
	}
	run := decode[sarifLog](t, data).Runs[0]
	if len(run.Results) != maxResults || run.Results[maxResults-1].Level != "error" {
		t.Errorf("%d results, the last of level %s", len(run.Results), run.Results[len(run.Results)-1].Level)
	}
	if text := run.Invocations[0].Notifications[1].Message.Text; !strings.HasPrefix(text, "Only the first 5000 of 30000 problems are listed: 10000 blocking") {
		t.Error(text)
	}
}

// TestSARIFAlertsStayOpen checks that another tag, digest or package version changes neither the
// location nor the fingerprint of a result, and that each set of platforms has its own category.
func TestSARIFAlertsStayOpen(t *testing.T) {
	results := func(change func(*report.Report)) sarifRun {
		r := outcomes(t)["denied root"]
		change(&r)
		data, err := write(t, row(t, "sarif"), r)
		if err != nil {
			t.Fatal(err)
		}
		return decode[sarifLog](t, data).Runs[0]
	}
	before := results(func(*report.Report) {})
	after := results(func(r *report.Report) {
		r.Input.Image.Reference, r.Input.Image.Digest = "registry.example:5000/team/app:1.5", "sha256:"+strings.Repeat("ef", 32)
		for i := range r.Decision.Violations {
			if f := r.Decision.Violations[i].Finding; f != nil {
				f.Package.Version, f.Package.PURL = "3.0.12", "pkg:deb/debian/openssl@3.0.12"
			}
		}
	})
	if before.AutomationDetails.ID != "imagegate/team/app/linux/amd64/" || after.AutomationDetails != before.AutomationDetails {
		t.Errorf("categories %q and %q", before.AutomationDetails.ID, after.AutomationDetails.ID)
	}
	for i, a := range before.Results {
		b := after.Results[i]
		if a.Fingerprints["primaryLocationLineHash"] != b.Fingerprints["primaryLocationLineHash"] || a.Locations[0] != b.Locations[0] || a.RuleID != b.RuleID {
			t.Errorf("%+v\n%+v", a, b)
		}
		if uri := a.Locations[0].Physical.Artifact.URI; !strings.HasPrefix(uri, "team/app") || strings.Contains(uri, "1.4") {
			t.Errorf("location %q", uri)
		}
	}
	index := results(func(r *report.Report) { r.Input.Platforms = append(r.Input.Platforms, r.Input.Platforms[0]) })
	if index.AutomationDetails == before.AutomationDetails {
		t.Errorf("an index and a platform share the category %q", index.AutomationDetails.ID)
	}
}

// TestSARIFRuleHoldsForEachPackage checks that the texts of a rule for several packages do not name
// only the first package, and that each result has the version of its own package.
func TestSARIFRuleHoldsForEachPackage(t *testing.T) {
	in := image("linux/amd64")
	in.Platforms[0].Findings = []evidence.Finding{
		finding("CVE-2024-0001", evidence.SeverityCritical, "openssl", "3.0.11", "3.0.15"),
		finding("CVE-2024-0001", evidence.SeverityCritical, "libressl", "2.0.0", "2.9.1"),
	}
	for i := range in.Platforms[0].Findings {
		in.Platforms[0].Findings[i].Description = ""
	}
	data, err := write(t, row(t, "sarif"), evaluated(t, "", in))
	if err != nil {
		t.Fatal(err)
	}
	run := decode[sarifLog](t, data).Runs[0]
	if len(run.Tool.Driver.Rules) != 1 || len(run.Results) != 2 {
		t.Fatalf("%d rules, %d results", len(run.Tool.Driver.Rules), len(run.Results))
	}
	rule := run.Tool.Driver.Rules[0]
	for _, text := range []string{rule.Help.Text, rule.FullDescription.Text, rule.ShortDescription.Text} {
		if text == "" || regexp.MustCompile(`openssl|libressl|3\.0\.15|2\.9\.1`).MatchString(text) {
			t.Errorf("the rule says %q", text)
		}
	}
	all := run.Results[0].Message.Text + run.Results[1].Message.Text
	for _, want := range []string{"Upgrade openssl to 3.0.15", "Upgrade libressl to 2.9.1"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
}

// TestCodeQualityOfAnOverride checks that the report of an overridden denial has no issue that
// looks as if it blocks. JUnit XML treats its test cases in the same way.
func TestCodeQualityOfAnOverride(t *testing.T) {
	for name, want := range map[string]string{"overridden": "info", "denied": "blocker"} {
		data, err := write(t, row(t, "codequality"), outcomes(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		blocking := 0
		for _, issue := range decode[[]codeIssue](t, data)[1:] {
			if issue.Status != "blocking" {
				continue
			}
			blocking++
			if issue.Severity != want || strings.HasSuffix(issue.Description, " An override allows it.") != (name == "overridden") {
				t.Errorf("%s: severity %s: %s", name, issue.Severity, issue.Description)
			}
		}
		if blocking == 0 {
			t.Errorf("%s: nothing blocks", name)
		}
	}
}
