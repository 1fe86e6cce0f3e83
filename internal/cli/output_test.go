package cli

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
)

// TestOutputThatCannotBeWrittenIsRefusedBefore checks that newOutput refuses an unwritable report
// or record before anything is read or promoted, and that it leaves no files behind.
func TestOutputThatCannotBeWrittenIsRefusedBefore(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"folder", "sealed"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("file", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("sealed", 0o500); err != nil { //nolint:gosec // without write permission
		t.Fatal(err)
	}
	if err := os.Symlink("file", "link"); err != nil {
		t.Fatal(err)
	}
	cases := map[string][]string{
		"a folder":                  {"--output", "json=folder"},
		"below a file":              {"--output", "json=file/report.json"},
		"no folder":                 {"--output", "json=none/report.json"},
		"a name that is too long":   {"--output", "json=" + strings.Repeat("long ", 52)},
		"metrics in a folder":       {"--metrics-file", "folder"},
		"audit log in a folder":     {"--audit-log", "folder"},
		"audit log without folder":  {"--audit-log", "none/audit.log"},
		"one file for both records": {"--metrics-file", "same", "--audit-log", "same"},
		"report in the audit log":   {"--audit-log", "a.json", "--output", "json=./a.json"},
		"report in the metrics":     {"--output", "json=link", "--metrics-file", "file"},
		"JSON and record":           {"--output", "json", "--audit-log", "-"},
		"empty audit log":           {"--audit-log", ""},
		"empty metrics":             {"--metrics-file", ""},
		"record in the policy":      {"--policy", "file", "--audit-log", "./file"},
		"report in the key":         {"--key", "file", "--output", "json=link"},
		"evidence in a file":        {"--evidence-dir", "file"},
		"evidence below a file":     {"--evidence-dir", "file/evidence"},
	}
	if os.Getuid() != 0 && runtime.GOOS != "windows" {
		cases["a sealed folder"] = []string{"--output", "json=sealed/report.json"}
		cases["evidence in a sealed folder"] = []string{"--evidence-dir", "sealed/evidence"}
	}
	for name, args := range cases {
		var stderr bytes.Buffer
		args = append([]string{"imagegate", "promote", "127.0.0.1:1/a:1", "127.0.0.1:1/b:1", "--policy", "none.yaml", "--key", "none.key"}, args...)
		code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
		if code != exit.UsageCode || !strings.Contains(stderr.String(), args[len(args)-2]) {
			t.Errorf("%s: exit code %d: %s", name, code, stderr.String())
		}
	}
	if err := output.CheckNewFolder("new/and/deep"); err != nil {
		t.Error(err)
	}
	if err := (output.Target{Format: "json", File: "new.json"}).Check(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "folder" && e.Name() != "link" && e.Name() != "file" && e.Name() != "sealed" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	if data, err := os.ReadFile("file"); err != nil || string(data) != "old" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestEvidenceForAnotherUserIsRefusedBefore checks that newOutput refuses an evidence folder that
// another user controls, before anything is read or promoted.
func TestEvidenceForAnotherUserIsRefusedBefore(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the system's access lists decide")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"promote", "127.0.0.1:1/a:1", "127.0.0.1:1/b:1", "--policy", "none.yaml"}, {"verify", "127.0.0.1:1/b:1"}} {
		var stderr bytes.Buffer
		args = append(append([]string{"imagegate"}, args...), "--key", "none.key", "--evidence-dir", dir)
		code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
		if code != exit.UsageCode || !strings.Contains(stderr.String(), "--evidence-dir: \""+dir+"\" cannot be trusted") {
			t.Errorf("%s: exit code %d: %s", args[1], code, stderr.String())
		}
	}
}

// TestResultDoesNotReplaceTheReport checks that the commands that read a report refuse to write their
// result over it.
func TestResultDoesNotReplaceTheReport(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a.json", "b.json"} {
		if err := os.WriteFile(name, []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"report", "convert", "a.json", "--output", "csv=a.json"},
		{"report", "diff", "a.json", "b.json", "--output", "json=./b.json"},
		{"explain", "CVE-1", "--report", "a.json", "--output", "json=a.json"},
		{"replay", "a.json", "--output", "json=a.json"},
		{"replay", "a.json", "--report", "b.json", "--output", "json=b.json"},
		{"replay", "a.json", "--policy", "b.json", "--output", "json=b.json"},
	} {
		var stderr bytes.Buffer
		code := Run(t.Context(), append([]string{"imagegate"}, args...), Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
		if code != exit.UsageCode || !strings.Contains(stderr.String(), "which this command reads") {
			t.Errorf("%q: exit code %d: %s", args, code, &stderr)
		}
	}
	for _, name := range []string{"a.json", "b.json"} {
		if data, err := os.ReadFile(name); err != nil || string(data) != "kept" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}
