package formats

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/imagegate/imagegate/internal/report"
)

// TestJUnitIsValid checks the JUnit XML of every outcome against the schema of Jenkins.
func TestJUnitIsValid(t *testing.T) {
	schema := shared(t, "junit-10.xsd")
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("IMAGEGATE_TEST_SCHEMAS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	args := []string{"--noout", "--huge", "--nonet", "--schema", schema}
	reports := outcomes(t)
	reports["30000 findings"] = manyFindings()
	for i, name := range sortedNames(reports) {
		data, err := write(t, row(t, "junit"), reports[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file := filepath.Join(dir, strconv.Itoa(i)+".xml")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if out, err := exec.CommandContext(t.Context(), xmllint, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%.5000s", err, out)
	}
}

func readJUnit(t testing.TB, data []byte) junit.Testsuites {
	t.Helper()
	var out junit.Testsuites
	if err := xml.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestJUnitTellsFailuresFromDenials checks that the failure of a tool is an error in JUnit XML,
// that a denial is a failure, and that every run has at least one test case.
func TestJUnitTellsFailuresFromDenials(t *testing.T) {
	for name, r := range outcomes(t) {
		data, err := write(t, row(t, "junit"), r)
		if err != nil {
			t.Fatal(err)
		}
		out := readJUnit(t, data)
		v := r.Verdict()
		errors := 0
		if v.Outcome.IsFailure() {
			errors = 1
		}
		failures := v.Counts.Blocking
		if v.Outcome == report.Overridden { // the exit code is 0
			failures = 0
		}
		if out.Errors != errors || out.Failures != failures || out.Tests == 0 {
			t.Errorf("%s: %d errors, %d failures, %d tests", name, out.Errors, out.Failures, out.Tests)
		}
	}
}
