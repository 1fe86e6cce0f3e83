package cli

import (
	"strings"
	"testing"
)

// TestCrashOfTheFirstProcessIsNoDenial checks which commands run in a child process. As PID 1 of a
// container, imagegate runs every command in a child, because a crash of PID 1 would exit with the
// code of a denial.
func TestCrashOfTheFirstProcessIsNoDenial(t *testing.T) {
	for line, want := range map[string]bool{
		"check r/a:1": true, "promote r/a:1 r/b:1": true, "verify r/a:1": true, "explain CVE-1 --report r.json": true,
		"report diff a.json b.json": true, "db update": true, "db import a.tar.gz": true, "db build records": true, "doctor": true,
		"": false, "--help": false, "--version": false, "check --help": false, "db": false, "db status": false,
		"policy lint policy.yaml": false, "key generate": false, "cache status": false,
	} {
		args := append([]string{"imagegate"}, strings.Fields(line)...)
		if got := isSupervised(args, 4711); got != want {
			t.Errorf("%q: supervised %v", line, got)
		}
		if !isSupervised(args, 1) {
			t.Errorf("%q: not supervised as the first process", line)
		}
	}
}
