package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/flags"
)

func TestFlagsMayFollowArguments(t *testing.T) {
	app := newApp(Streams{})
	for _, c := range []struct{ in, want string }{
		{"imagegate promote A B --policy p --move-tag -k x", "imagegate promote --policy p --move-tag -k x -- A B"},
		{"imagegate promote --policy=p A -q B", "imagegate promote --policy=p -q -- A B"},
		{"imagegate check -- --odd", "imagegate check -- --odd"},
		{"imagegate db build DIR --to OUT", "imagegate db build --to OUT -- DIR"},
		{"imagegate", "imagegate"},
		{"imagegate --version", "imagegate --version"},
		{"imagegate policy init -", "imagegate policy init -- -"},
		{"imagegate explain CVE-1 --report r", "imagegate explain --report r -- CVE-1"},
	} {
		got, err := flags.Arrange(app, strings.Fields(c.in))
		if err != nil || !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%q: %q, %v", c.in, got, err)
		}
	}
}

// TestEveryCommandHasHelp checks that each command shows its help, and that the help of imagegate
// itself lists the exit codes.
func TestEveryCommandHasHelp(t *testing.T) {
	for _, line := range []string{"--help", "help", "promote --help", "check -h", "help verify", "report --help", "report help", "report diff --help", "help policy test",
		"db --help", "help db import", "help exit-codes", "help environment", "check --nonsense --help", "key generate --help"} {
		var out bytes.Buffer
		code := Run(t.Context(), append([]string{"imagegate"}, strings.Fields(line)...), Streams{In: strings.NewReader(""), Out: &out, Err: io.Discard})
		want := "Exit codes"
		if line == "report --help" || line == "report help" || line == "db --help" {
			want = "Commands:"
		} else if line == "help environment" {
			want = "IMAGEGATE_POLICY"
		}
		if code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d\n%s", line, code, out.String())
		}
	}
	var out, errs bytes.Buffer
	if code := Run(t.Context(), []string{"imagegate", "help", "chekc"}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); code != exit.UsageCode || !strings.Contains(errs.String(), "did you mean check?") {
		t.Errorf("%d: %s", code, &errs)
	}
}

// TestKeyReferenceIsNeverExecuted checks that imagegate takes a key reference with an unknown
// scheme for a missing file. It must not run a plugin for the scheme.
func TestKeyReferenceIsNeverExecuted(t *testing.T) {
	dir := t.TempDir()
	pwned := filepath.Join(dir, "pwned")
	plugin := filepath.Join(dir, "sigstore-kms-evil")
	if err := os.WriteFile(plugin, []byte("#!/bin/sh\ntouch "+pwned+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	policyFile := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policyFile, []byte("version: 1\nrules:\n  - name: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	code := Run(t.Context(), []string{"imagegate", "promote", "127.0.0.1:1/a:1", "127.0.0.1:1/b:1", "--policy", policyFile, "--key", "evil://key"},
		Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
	if code != exit.UsageCode {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if _, err := os.Stat(pwned); err == nil {
		t.Error("it was executed")
	}
}

// TestFaultIsNoDenial checks that a panic in imagegate exits with the code for an error. By
// default, Go exits with 2 after a panic, which is the code for a denied image.
func TestFaultIsNoDenial(t *testing.T) {
	var stderr bytes.Buffer
	code := Run(t.Context(), []string{"imagegate", "--version"}, Streams{In: strings.NewReader(""), Out: faulty{}, Err: &stderr})
	if code != exit.Failure || !strings.Contains(stderr.String(), "internal error in imagegate: nothing can be written") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// faulty is a writer whose Write method panics.
type faulty struct{}

func (faulty) Write([]byte) (int, error) { panic("nothing can be written") }
