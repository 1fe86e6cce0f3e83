package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// exiter is an error with an ExitCode method, which urfave/cli would use as the exit code.
type exiter struct{ error }

func (exiter) ExitCode() int { return 0 }

// TestExitCodeComesFromOneTable checks that finish derives the exit code only from the returned
// error and the cancellation of the context, and never from an ExitCode method of an error.
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
		"staging":       {err: fmt.Errorf("x: %w", &registry.Error{Side: registry.Staging, Err: io.EOF}), want: 4},
		"database":      {err: &vulndb.UnusableError{Problem: vulndb.Missing, Err: io.EOF}, want: 5},
		"key":           {err: trustError{io.EOF}, want: 6},
		"sealing":       {err: &promote.SigningError{Err: io.EOF}, want: 6},
		"verifying":     {err: &promote.VerifyError{}, want: 6},
		"conflict":      {err: &promote.TagConflictError{}, want: 1},
		"interrupted":   {ctx: cancelled, err: &registry.Error{Err: context.Canceled}, want: 130},
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

// TestOnlyWhatMayPassIsRetryable checks for each class of error whether it is retryable.
func TestOnlyWhatMayPassIsRetryable(t *testing.T) {
	registry := func(err error) error { return fmt.Errorf("x: %w", &registry.Error{Side: registry.Staging, Err: err}) }
	status := func(code int) error { return registry(&transport.Error{StatusCode: code}) }
	dial := func(err error) error {
		return registry(&url.Error{Op: "Get", URL: "http://x/", Err: &net.OpError{Op: "dial", Err: err}})
	}
	for name, c := range map[string]struct {
		err       error
		code      int
		retryable bool
	}{
		"misspelt tag":          {status(404), 4, false},
		"login refused":         {status(401), 4, false},
		"login not enough":      {status(403), 4, false},
		"method":                {status(405), 4, false},
		"bad request":           {status(400), 4, false},
		"too many requests":     {status(429), 4, true},
		"server error":          {status(500), 4, true},
		"bad gateway":           {status(502), 4, true},
		"unavailable":           {status(503), 4, true},
		"gateway timeout":       {status(504), 4, true},
		"not implemented":       {status(501), 4, false},
		"refused connection":    {dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), 4, true},
		"reset connection":      {dial(os.NewSyscallError("read", syscall.ECONNRESET)), 4, true},
		"no route":              {dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), 4, true},
		"timeout":               {dial(os.ErrDeadlineExceeded), 4, true},
		"deadline":              {registry(context.DeadlineExceeded), 4, true},
		"no such host":          {dial(&net.DNSError{Err: "no such host", IsNotFound: true}), 4, false},
		"name server fails":     {dial(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), 4, true},
		"name server timeout":   {dial(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), 4, true},
		"certificate":           {dial(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), 4, false},
		"plain HTTP":            {dial(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), 4, false},
		"answer cut off":        {registry(io.ErrUnexpectedEOF), 4, true},
		"answer with an error":  {registry(errors.Join(&transport.Error{StatusCode: 404}, io.EOF)), 4, false},
		"wrong content":         {registry(errors.New("manifest does not match")), 4, false},
		"database missing":      {&vulndb.UnusableError{Problem: vulndb.Missing, Err: io.EOF}, 5, false},
		"database corrupt":      {&vulndb.UnusableError{Problem: vulndb.Corrupt, Err: io.ErrUnexpectedEOF}, 5, false},
		"database too old":      {&vulndb.UnusableError{Problem: vulndb.TooOld, Err: io.EOF}, 5, false},
		"clock wrong":           {&vulndb.UnusableError{Problem: vulndb.FromFuture, Err: io.EOF}, 5, false},
		"database mirror busy":  {fmt.Errorf("x: %w", &serverError{503}), 1, true},
		"wrong password":        {trustError{errors.New("the password is wrong")}, 6, false},
		"key service busy":      {&promote.SigningError{Err: &serverError{503}}, 6, true},
		"key service refuses":   {&promote.SigningError{Err: &serverError{403}}, 6, false},
		"key service times out": {trustError{&url.Error{Err: os.ErrDeadlineExceeded}}, 6, true},
		"unproven":              {&promote.VerifyError{}, 6, false},
		"usage":                 {usagef("x"), 3, false},
		"policy":                {&policy.ParseError{}, 3, false},
		"named nothing":         {fmt.Errorf("x: %w", &gate.InputError{Err: fs.ErrNotExist}), 3, false},
		"file missing":          {usageError{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}}, 3, false},
		"local file cut off":    {fmt.Errorf("reading x: %w", io.ErrUnexpectedEOF), 1, false},
		"disk full":             {&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, 1, false},
		"conflict":              {&promote.TagConflictError{}, 1, false},
		"fault":                 {&faultError{reason: "x"}, 1, false},
		"fault at a registry":   {errors.Join(&faultError{reason: "x"}, status(503)), 1, false},
		"report not written":    {&run.UnwrittenError{Promoted: true, Err: syscall.ENOSPC}, 1, true},
	} {
		got := classify(t.Context(), c.err)
		if got != (verdict{c.code, c.retryable}) {
			t.Errorf("%s: %+v", name, got)
		}
		var out bytes.Buffer
		finish(t.Context(), &out, c.err)
		if want := map[bool]string{true: "\nretryable: yes\n", false: "\nretryable: no\n"}[c.retryable]; !strings.HasSuffix(out.String(), want) {
			t.Errorf("%s: it ends with %q", name, out.String())
		}
		if e := errorOf(got, c.err); e.Retryable != c.retryable || e.Class == "" {
			t.Errorf("%s: the report says %+v", name, e)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if got := classify(cancelled, context.Canceled); got != (verdict{130, true}) {
		t.Errorf("interrupted: %+v", got)
	}
}

// serverError has the form of the errors from the clients of key services.
type serverError struct{ StatusCode int }

func (e *serverError) Error() string { return http.StatusText(e.StatusCode) }

// TestReportThatCannotBeWrittenIsSaid checks that finish also prints the error of an unwritable
// report if the image is denied.
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
		return &registry.Error{Side: registry.Staging, Err: &transport.Error{StatusCode: code}}
	}
	for want, err := range map[string]error{
		"docker login":    status(401),
		"repository":      status(404),
		"db update":       &vulndb.UnusableError{Problem: vulndb.Corrupt, Err: io.EOF},
		"database.maxAge": &vulndb.UnusableError{Problem: vulndb.TooOld, Err: io.EOF},
		"--repository":    &promote.VerifyError{OtherRepository: true},
		"check the clock": &vulndb.UnusableError{Problem: vulndb.FromFuture, Err: io.EOF},
		"--move-tag":      &promote.TagConflictError{},
		"COSIGN_PASSWORD": trustError{fmt.Errorf("x: %w", errNoKeyPassword)},
	} {
		if got := hint(err); !strings.Contains(got, want) {
			t.Errorf("%T: %q, want %q", err, got, want)
		}
	}
}

// TestHintNamesNoCommandThatIsRefused checks that a hint suggests chmod only for a folder of the
// user, because a user who does not own a folder cannot change its mode.
func TestHintNamesNoCommandThatIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the system's access lists decide")
	}
	mine := t.TempDir()
	theirs := "/" // owned by root
	for name, tt := range map[string]struct {
		err       disk.UntrustedError
		want, not string
	}{
		"a folder":                    {disk.UntrustedError{Path: mine, At: mine, Problem: disk.WritableByOthers}, "chmod go-w '" + mine, "--insecure"},
		"a parent":                    {disk.UntrustedError{Path: mine + "/x", At: mine, Problem: disk.WritableByOthers}, "chmod go-w '" + mine, "--insecure"},
		"another user's":              {disk.UntrustedError{Path: mine, At: mine, Problem: disk.OwnedByOther}, "--temp-dir", "--insecure"},
		"another user's parent":       {disk.UntrustedError{Path: mine + "/x", At: mine, Problem: disk.OwnedByOther}, "--insecure-shared-parents", "chmod"},
		"a parent that cannot be set": {disk.UntrustedError{Path: "/x", At: theirs, Problem: disk.WritableByOthers}, "--insecure-shared-parents", "chmod"},
	} {
		if tt.err.At == theirs && os.Geteuid() == 0 {
			continue
		}
		if got := hint(&tt.err); !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
			t.Errorf("%s: %s", name, got)
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

// TestEveryCommandStatesTheExitCodes checks that the help of each command has the exit codes, and
// that every flag has a variable or belongs to one command only.
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

// TestKeyReferenceIsNeverExecuted checks that imagegate reads a key reference with an unknown
// scheme as the name of a missing file, and does not run a plugin for the scheme.
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

// TestFaultIsNoDenial checks that a panic in imagegate exits with the code for an error. By
// default, Go exits with 2 after a panic, which is the code for a denied image.
func TestFaultIsNoDenial(t *testing.T) {
	var stderr bytes.Buffer
	code := Run(t.Context(), []string{"imagegate", "--version"}, Streams{In: strings.NewReader(""), Out: faulty{}, Err: &stderr})
	if code != exitError || !strings.Contains(stderr.String(), "internal error in imagegate: nothing can be written") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// TestPanicLeavesAReportWithError checks that a panic leaves a report with the error, even if the
// image had passed before the panic.
func TestPanicLeavesAReportWithError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	o := &output{targets: []target{{"json", file}}, stop: func() {}, streams: Streams{Out: io.Discard, Err: io.Discard}}
	o.report.Decision = &policy.Decision{Passed: true}
	err := func() (err error) {
		defer o.finish(t.Context(), &err)
		panic("a library's fault")
	}()
	if got := classify(t.Context(), err); got.code != exitError {
		t.Errorf("%+v: %v", got, err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	if r.Error == nil || r.Error.Class != report.ClassOther || !strings.Contains(r.Error.Message, "a library's fault") || r.Outcome() == report.Passed {
		t.Errorf("%v: %+v", r.Outcome(), r.Error)
	}
}

// faulty is a writer that panics.
type faulty struct{}

func (faulty) Write([]byte) (int, error) { panic("nothing can be written") }
