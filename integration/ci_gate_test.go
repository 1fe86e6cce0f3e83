package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/lab"
)

// copyGate copies gate.sh to a folder, which it creates.
func copyGate(t *testing.T, dir string) {
	t.Helper()
	script, err := os.ReadFile("../examples/ci/gate.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "gate.sh")
	write(t, file, script)
	if err := os.Chmod(file, 0o700); err != nil {
		t.Fatal(err)
	}
}

// fakeImagegate takes its exit codes from the files "codes" and "updates", one per line. Without a
// line, an update passes. It writes each command to the file "calls".
const fakeImagegate = `#!/bin/sh
echo "$1" >>calls
file=codes
if [ "$1" = db ]; then file=updates; fi
read -r code <$file || code=0
sed -i 1d $file
if [ "$1" != db ]; then
  echo 'imagegate_run_info{command="promote",image="i",digest="sha256:ab",outcome="denied",policy=""} 1' >imagegate.prom
fi
exit "$code"
`

// TestCIGateHandlesEveryExitCode checks the number and the order of the attempts of gate.sh.
func TestCIGateHandlesEveryExitCode(t *testing.T) {
	for name, tc := range map[string]struct {
		command, attempts, codes, updates string // codes are separated by spaces
		code                              int
		calls                             string
	}{
		"passed":                    {"promote", "", "0", "", 0, "db promote"},
		"denied":                    {"promote", "", "2 0", "", 2, "db promote"},
		"checked":                   {"check", "", "2 0", "", 2, "db check"},
		"registry recovers":         {"promote", "", "4 4 0", "", 0, "db promote promote promote"},
		"registry does not recover": {"promote", "", "4 4 4 0", "", 4, "db promote promote promote"},
		"the CI system retries":     {"promote", "1", "4 0", "", 4, "db promote"},
		"no decision":               {"promote", "", "1 2 0", "", 2, "db promote promote"},
		"invalid":                   {"promote", "", "3 0", "", 3, "db promote"},
		"signing failed":            {"promote", "", "6 0", "", 6, "db promote"},
		"interrupted":               {"promote", "", "130 0", "", 130, "db promote"},
		"killed":                    {"promote", "", "137 0", "", 137, "db promote"},
		"old database":              {"promote", "1", "5 0", "", 0, "db promote db promote"},
		"database stays old":        {"promote", "", "5 5 0", "", 5, "db promote db promote"},
		"no update":                 {"promote", "", "5 0", "5 5", 5, "db promote db"},
		"no update, but not old":    {"promote", "", "0", "5", 0, "db promote"},
		"no command":                {"", "", "0", "", 3, ""},
		"another command":           {"verify", "", "0", "", 3, ""},
		"no number":                 {"promote", "two", "0", "", 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyGate(t, dir)
			lines := func(s string) []byte { return []byte(strings.ReplaceAll(s, " ", "\n") + "\n") }
			write(t, filepath.Join(dir, "codes"), lines(tc.codes))
			write(t, filepath.Join(dir, "updates"), bytes.TrimLeft(lines(tc.updates), "\n"))
			write(t, filepath.Join(dir, "calls"), nil)
			write(t, filepath.Join(dir, "imagegate"), []byte(fakeImagegate))
			if err := os.Chmod(filepath.Join(dir, "imagegate"), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "gate.sh", tc.command)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "RETRY_DELAY=0", "STAGING_IMAGE=s", "APPROVED_IMAGE=approved.example:443/app:1",
				"ATTEMPTS=" + tc.attempts}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			calls, err := os.ReadFile(filepath.Join(dir, "calls"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(string(calls)), " "); cmd.ProcessState.ExitCode() != tc.code || got != tc.calls {
				t.Errorf("exit code %d after %q\n%s", cmd.ProcessState.ExitCode(), got, out)
			}
			dotenv, err := os.ReadFile(filepath.Join(dir, "imagegate.env"))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			approved := bytes.Contains(dotenv, []byte("\nGATE_APPROVED_IMAGE=approved.example:443/app@sha256:ab\n"))
			if want := tc.code == 0 && tc.command == "promote"; approved != want {
				t.Errorf("the approved image is known: %v, want %v\n%s", approved, want, dotenv)
			}
		})
	}
}

// TestCIGateWithoutVariablesIsNotADenial checks that a missing image is an error of the command line.
// With "set -u", the shell would exit with code 2.
func TestCIGateWithoutVariablesIsNotADenial(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	copyGate(t, r.workspace)
	r.env["IMAGEGATE_DB_URL"] = r.mirror(t)
	for _, command := range []string{"check", "promote"} {
		r.bash(t, "./gate.sh "+command, map[string]string{"IMAGEGATE_POLICY": "policy.yaml", "IMAGEGATE_KEY": r.key,
			"COSIGN_PASSWORD": keyPassword}).must(t, 3)
	}
	r.mustBeUntouched(t)
}
