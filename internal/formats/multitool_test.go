package formats

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestSARIFSatisfiesGitHub validates the report of each outcome with Microsoft's SARIF Multitool
// and GitHub's rules. IMAGEGATE_TEST_SARIF is the path of the tool, which "make test-formats"
// installs.
func TestSARIFSatisfiesGitHub(t *testing.T) {
	multitool := os.Getenv("IMAGEGATE_TEST_SARIF")
	if multitool == "" {
		t.Skip("IMAGEGATE_TEST_SARIF names no validator")
	}
	dir := t.TempDir()
	reports := outcomes(t)
	reports["30000 findings"] = manyFindings()
	files := map[string]string{}
	var args []string
	for i, name := range sortedNames(reports) {
		data, err := write(t, row(t, "sarif"), reports[name])
		if err != nil {
			continue
		}
		file := filepath.Join(dir, strconv.Itoa(i)+".sarif")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(file)] = name
		args = append(args, file)
	}
	validate := func(result string, files ...string) []byte {
		result = filepath.Join(dir, result)
		cmd := exec.CommandContext(t.Context(), multitool, append([]string{"validate", "--rule-kind", "Sarif;Ghas", "--output", result}, files...)...)
		cmd.Env = append(os.Environ(), "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return read(t, result)
	}
	// The tool exits with 0 even if a rule is violated, so read its results.
	var log struct {
		Runs []struct {
			Results []json.RawMessage `json:"results"`
		} `json:"runs"`
	}
	count := func(result []byte) int {
		t.Helper()
		if err := json.Unmarshal(bytes.TrimPrefix(result, []byte("\ufeff")), &log); err != nil {
			t.Fatal(err)
		}
		if len(log.Runs) != 1 {
			t.Fatalf("%d runs", len(log.Runs))
		}
		return len(log.Runs[0].Results)
	}
	if n := count(validate("result.sarif", args...)); n != 0 || len(files) < 10 {
		t.Errorf("%d files, %d results: %v\n%s", len(files), n, files, log.Runs[0].Results)
	}
	// Check that the rules are active: a file that violates one of GitHub's rules must be reported.
	data, err := write(t, row(t, "sarif"), reports["denied"])
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.sarif")
	if err := os.WriteFile(bad, bytes.Replace(data, []byte(`"fullDescription"`), []byte(`"fullDescriptions"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := count(validate("bad-result.sarif", bad)); n == 0 {
		t.Error("the validator accepts a rule without description")
	}
}
