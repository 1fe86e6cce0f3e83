package help

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// serveVariable is an environment variable that makes the test binary act as imagegate, so that
// completion scripts can call the test binary.
const serveVariable = "HELP_TEST_COMPLETE"

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) == "" {
		os.Exit(m.Run())
	}
	c := Completer{App: tree(), Flags: map[string]Values{
		"--policy": {Kind: Files, Extensions: []string{"yaml", "yml"}}, "--output": {Words: []string{"text", "json", "json="}},
		"--cache-max": {Kind: Folders}, "--certificate-oidc-issuer-regexp": {Words: []string{"linux/arm64", "linux/arm/v7"}},
	}, Arguments: map[string]Values{"imagegate check": {Words: []string{"oci:", "docker-archive:"}}}}
	if len(os.Args) < 2 || os.Args[1] != CompleteCommand || c.Complete(os.Stdout, os.Args[2:]) != nil {
		os.Exit(3)
	}
}

// shells has a test script for each shell. The script loads the completion script and prints the
// completions of a command line, one on each line.
var shells = map[string]string{
	// compopt works only while bash completes a line, so replace it.
	"bash": `compopt() { :; }; source script.bash; COMP_LINE=$1 COMP_POINT=${#1}; _imagegate; printf '%s\n' "${COMPREPLY[@]}"`,
	// Replace the functions of zsh's completion system, because they need a terminal.
	"zsh": `compdef() { :; }
		_describe() { local -a all; all=("${(@P)4}"); local one; for one in "${all[@]}"; do print -r -- "${${one//\\:/@}%%:*}" | tr @ :; done }
		compset() { local pattern=${2}; PREFIX=${PREFIX##${~pattern}}; }
		_files() { local kind=$1 globs=$2 one; for one in $PREFIX*(N); do
			[[ $kind == -/ && ! -d $one ]] && continue
			[[ $kind == -g && $one != ${~globs} ]] && continue
			print -r -- $one; done; }
		source ./script.zsh; words=("${(@s: :)1}"); CURRENT=$#words; PREFIX=$words[-1]; _imagegate; true`,
	"fish": `source script.fish; complete -C "$argv[1]" | string replace -r '\t.*' ''; true`,
}

// TestShellsComplete checks, in each installed shell, that the completion script completes
// commands, flags, values with "=" and ":", and files.
func TestShellsComplete(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"policy.yaml", "notes.txt", "my policy.yml"} {
		write(name, "", 0o600)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write("imagegate", fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", serveVariable, self), 0o700)
	for shell, code := range shells {
		t.Run(shell, func(t *testing.T) {
			program, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			script, err := Script(shell)
			if err != nil {
				t.Fatal(err)
			}
			write("script."+shell, string(script), 0o600)
			for line, want := range map[string]string{
				"imagegate ":                    "check db help",
				"imagegate c":                   "check",
				"imagegate db ":                 "status update",
				"imagegate check --q":           "--quiet",
				"imagegate check --policy pol":  "policy.yaml",
				"imagegate check -p no":         "",
				"imagegate check -o j":          "json json=",
				"imagegate check --cache-max f": "folder",
				"imagegate check --certificate-oidc-issuer-regexp linux": "linux/arm/v7 linux/arm64",
				"imagegate check doc":               "docker-archive:",
				"imagegate check -o json=no":        "notes.txt",
				"imagegate check docker-archive:no": "notes.txt",
				"imagegate db update ":              "",
			} {
				args := []string{"-c", code, shell, line}
				if shell == "fish" {
					args = []string{"--no-config", "-c", code, line}
				}
				cmd := exec.CommandContext(t.Context(), program, args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+dir)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				var got []string
				for one := range strings.Lines(string(out)) {
					// Some shells return the whole word, others only the part after the last "=" or
					// ":".
					one = strings.TrimSuffix(strings.TrimSuffix(one, "\n"), "/")
					if i := strings.LastIndexAny(one, "=:"); i >= 0 && i < len(one)-1 {
						one = one[i+1:]
					}
					if one != "" {
						got = append(got, one)
					}
				}
				slices.Sort(got)
				if err != nil || strings.Join(got, " ") != want {
					t.Errorf("%s: %q, want %q: %v %s", line, strings.Join(got, " "), want, err, &stderr)
				}
			}
		})
	}
}
