package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// exiter is an error that urfave/cli would let choose the exit code.
type exiter struct{ error }

func (exiter) ExitCode() int { return 0 }

// TestExitCodeComesFromOneTable: the code is a function of the returned error
// alone, and never what some error says of itself.
func TestExitCodeComesFromOneTable(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want int
	}{
		"nothing":       {err: nil, want: 0},
		"anything":      {err: errors.New("x"), want: 1},
		"own exit code": {err: exiter{errors.New("x")}, want: 1},
		"denied":        {err: errDenied, want: 2},
		"usage":         {err: usagef("x"), want: 3},
		"policy":        {err: fmt.Errorf("x: %w", &policy.ParseError{}), want: 3},
		"staging":       {err: fmt.Errorf("x: %w", &gate.RegistryError{Side: gate.Staging, Err: io.EOF}), want: 4},
		"database":      {err: &vulndb.UnusableError{Problem: vulndb.Missing, Err: io.EOF}, want: 5},
		"key":           {err: trustError{io.EOF}, want: 6},
		"sealing":       {err: &promote.SealError{Err: io.EOF}, want: 6},
		"verifying":     {err: &promote.VerifyError{}, want: 6},
		"conflict":      {err: &promote.TagConflictError{}, want: 1},
		"interrupted":   {ctx: cancelled, err: &gate.RegistryError{Err: context.Canceled}, want: 130},
		"denied anyway": {ctx: cancelled, err: errDenied, want: 2},
		"passed anyway": {ctx: cancelled, err: nil, want: 0},
	} {
		ctx := c.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		var out bytes.Buffer
		if got := finish(ctx, &out, c.err); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
		if silent := c.err == nil || errors.Is(c.err, errDenied); silent != (out.Len() == 0) {
			t.Errorf("%s: it says %q", name, out.String())
		}
	}
}

// TestReportThatCannotBeWrittenIsSaid also beside a denial.
func TestReportThatCannotBeWrittenIsSaid(t *testing.T) {
	var out bytes.Buffer
	if got := finish(t.Context(), &out, errors.Join(errors.New("writing the report: disk full"), errDenied)); got != exitDenied {
		t.Errorf("exit code %d", got)
	}
	if !strings.Contains(out.String(), "disk full") {
		t.Errorf("it says %q", out.String())
	}
}

func TestHintsAreForWhoCanUseThem(t *testing.T) {
	status := func(code int) error {
		return &gate.RegistryError{Side: gate.Staging, Err: &transport.Error{StatusCode: code}}
	}
	for want, err := range map[string]error{
		"docker login":    status(401),
		"repository":      status(404),
		"db update":       &vulndb.UnusableError{Problem: vulndb.Corrupt, Err: io.EOF},
		"database.maxAge": &vulndb.UnusableError{Problem: vulndb.TooOld, Err: io.EOF},
		"--move-tag":      &promote.TagConflictError{},
		"COSIGN_PASSWORD": trustError{fmt.Errorf("x: %w", errNoKeyPassword)},
	} {
		if got := hint(err); !strings.Contains(got, want) {
			t.Errorf("%T: %q, want %q", err, got, want)
		}
	}
}

func TestErrorTextIsSanitised(t *testing.T) {
	var out bytes.Buffer
	finish(t.Context(), &out, errors.New("bad image \x1b[2Jx\n::error::injected"))
	for _, bad := range []string{"\x1b", "\n::error::"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("it says %q", out.String())
		}
	}
}

func TestFlagsMayFollowArguments(t *testing.T) {
	app := newApp(Streams{})
	for _, c := range []struct{ in, want string }{
		{"imagegate promote A B --policy p --move-tag -k x", "imagegate promote --policy p --move-tag -k x -- A B"},
		{"imagegate promote --policy=p A -q B", "imagegate promote --policy=p -q -- A B"},
		{"imagegate check -- --odd", "imagegate check -- --odd"},
		{"imagegate db build DIR --to OUT", "imagegate db build --to OUT -- DIR"},
		{"imagegate", "imagegate"},
		{"imagegate --version", "imagegate --version"},
		{"imagegate check --policy", "imagegate check --policy"},
		{"imagegate policy init -", "imagegate policy init -- -"},
		{"imagegate explain CVE-1 --report r", "imagegate explain --report r -- CVE-1"},
	} {
		if got := intersperse(app, strings.Fields(c.in)); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%q: %q", c.in, got)
		}
	}
}

// TestEveryCommandStatesTheExitCodes in its help, and every flag has a
// variable or is of one command alone.
func TestEveryCommandStatesTheExitCodes(t *testing.T) {
	for _, args := range [][]string{{}, {"promote"}, {"check"}, {"verify"}, {"explain"}, {"report"}, {"report", "diff"}, {"policy"},
		{"policy", "init"}, {"policy", "lint"}, {"policy", "test"}, {"policy", "print"}, {"policy", "schema"}, {"db"}, {"db", "update"},
		{"db", "status"}, {"db", "import"}, {"db", "build"}, {"key", "generate"}} {
		var out bytes.Buffer
		code := Run(t.Context(), append(append([]string{"imagegate"}, args...), "--help"), Streams{In: strings.NewReader(""), Out: &out, Err: io.Discard})
		if code != 0 || !strings.Contains(out.String(), "130  interrupted") {
			t.Errorf("%v: exit code %d\n%s", args, code, out.String())
		}
	}
}

// TestKeyReferenceIsNeverExecuted: a scheme that nobody knows is a file that
// does not exist, and not a program to look for.
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
	if code != exitUsage {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if _, err := os.Stat(pwned); err == nil {
		t.Error("it was executed")
	}
}

// TestFaultIsNoDenial: Go ends a program that panics with 2, which says that an image
// was denied.
func TestFaultIsNoDenial(t *testing.T) {
	var stderr bytes.Buffer
	code := Run(t.Context(), []string{"imagegate", "--version"}, Streams{In: strings.NewReader(""), Out: faulty{}, Err: &stderr})
	if code != exitError || !strings.Contains(stderr.String(), "a fault in imagegate itself: nothing can be written") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// faulty is a writer that panics.
type faulty struct{}

func (faulty) Write([]byte) (int, error) { panic("nothing can be written") }
