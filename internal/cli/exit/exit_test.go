package exit

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
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

// exiter is an error with an ExitCode method, which the library urfave/cli would obey.
type exiter struct{ error }

func (exiter) ExitCode() int { return 0 }

// TestExitCodeComesFromOneTable checks that Finish derives the exit code only from the returned
// error and the cancellation of the context. An ExitCode method of an error has no effect.
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
		"denied":        {err: ErrDenied, want: 2},
		"usage":         {err: Usagef("x"), want: 3},
		"policy":        {err: fmt.Errorf("x: %w", &policy.ParseError{}), want: 3},
		"staging":       {err: fmt.Errorf("x: %w", &registry.Error{Side: registry.Staging, Err: io.EOF}), want: 4},
		"database":      {err: &vulndb.UnusableError{Problem: vulndb.Missing, Err: io.EOF}, want: 5},
		"key":           {err: Trust(io.EOF), want: 6},
		"sealing":       {err: &promote.SigningError{Err: io.EOF}, want: 6},
		"verifying":     {err: &promote.VerifyError{}, want: 6},
		"conflict":      {err: &promote.TagConflictError{}, want: 1},
		"interrupted":   {ctx: cancelled, err: &registry.Error{Err: context.Canceled}, want: 130},
		"denied anyway": {ctx: cancelled, err: ErrDenied, want: 2},
		"passed anyway": {ctx: cancelled, err: nil, want: 0},
	} {
		ctx := c.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		var out bytes.Buffer
		if got := Finish(ctx, &out, c.err); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
		if silent := c.err == nil || errors.Is(c.err, ErrDenied); silent != (out.Len() == 0) {
			t.Errorf("%s: it says %q", name, out.String())
		}
	}
}

// TestOnlyWhatMayPassIsRetryable checks for each class of error whether Classify reports it as
// retryable.
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
		"database mirror busy":  {Database(fmt.Errorf("x: %w", &serverError{503})), 5, true},
		"database mirror wrong": {Database(fmt.Errorf("x: %w", &serverError{404})), 5, false},
		"database is no file":   {Database(io.ErrUnexpectedEOF), 5, false},
		"wrong password":        {Trust(errors.New("the password is wrong")), 6, false},
		"key service busy":      {&promote.SigningError{Err: &serverError{503}}, 6, true},
		"key service refuses":   {&promote.SigningError{Err: &serverError{403}}, 6, false},
		"key service times out": {Trust(&url.Error{Err: os.ErrDeadlineExceeded}), 6, true},
		"unproven":              {&promote.VerifyError{}, 6, false},
		"usage":                 {Usagef("x"), 3, false},
		"policy":                {&policy.ParseError{}, 3, false},
		"bad records":           {fmt.Errorf("x: %w", &vulndb.RecordsError{Err: io.EOF}), 3, false},
		"named nothing":         {fmt.Errorf("x: %w", &gate.InputError{Err: fs.ErrNotExist}), 3, false},
		"file missing":          {Usage(&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}), 3, false},
		"local file cut off":    {fmt.Errorf("reading x: %w", io.ErrUnexpectedEOF), 1, false},
		"disk full":             {&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, 1, false},
		"conflict":              {&promote.TagConflictError{}, 1, false},
		"fault":                 {&Fault{Reason: "x"}, 1, false},
		"fault at a registry":   {errors.Join(&Fault{Reason: "x"}, status(503)), 1, false},
		"report not written":    {&run.UnwrittenError{Promoted: true, Err: syscall.ENOSPC}, 1, true},
	} {
		got := Classify(t.Context(), c.err)
		if got != (Verdict{c.code, c.retryable}) {
			t.Errorf("%s: %+v", name, got)
		}
		var out bytes.Buffer
		Finish(t.Context(), &out, c.err)
		if want := map[bool]string{true: "\nretryable: yes\n", false: "\nretryable: no\n"}[c.retryable]; !strings.HasSuffix(out.String(), want) {
			t.Errorf("%s: it ends with %q", name, out.String())
		}
		if e := ReportError(got, c.err); e.Retryable != c.retryable || e.Class == "" {
			t.Errorf("%s: the report says %+v", name, e)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Classify(cancelled, context.Canceled); got != (Verdict{130, true}) {
		t.Errorf("interrupted: %+v", got)
	}
}

// serverError has the same StatusCode field as the errors of key service clients.
type serverError struct{ StatusCode int }

func (e *serverError) Error() string { return http.StatusText(e.StatusCode) }

// TestReportThatCannotBeWrittenIsSaid checks that, after a denial, Finish still prints the error of
// a report that could not be written.
func TestReportThatCannotBeWrittenIsSaid(t *testing.T) {
	var out bytes.Buffer
	if got := Finish(t.Context(), &out, errors.Join(errors.New("writing the report: disk full"), ErrDenied)); got != Denial {
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
		"own advice":      Trust(fmt.Errorf("x: %w", WithHint(io.EOF, "own advice"))),
		"is signed":       &promote.VerifyError{Unsigned: true},
		"--url":           Database(&net.OpError{Op: "dial", Err: io.EOF}),
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
	Finish(t.Context(), &out, errors.New("bad image \x1b[2Jx\n::error::injected"))
	for _, bad := range []string{"\x1b", "\n::error::"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("it says %q", out.String())
		}
	}
}

// TestEachMissingInputHasItsHint checks that Finish prints every missing input and the hint of each,
// once.
func TestEachMissingInputHasItsHint(t *testing.T) {
	var inputs Inputs
	inputs.Add(nil)
	inputs.Add(Usage(WithHint(errors.New("no policy"), "write one")))
	inputs.Add(Usage(WithHint(errors.New("no other policy"), "write one")))
	inputs.Add(&vulndb.UnusableError{Problem: vulndb.Missing, Err: io.EOF})
	var out bytes.Buffer
	if code := Finish(t.Context(), &out, fmt.Errorf("x: %w", inputs)); code != UsageCode {
		t.Errorf("exit code %d", code)
	}
	const want = "imagegate: x: no policy\n           no other policy\n           the vulnerability database is missing: EOF\n" +
		"hint: write one\nhint: run \"imagegate db update\", or \"imagegate db import FILE\" without a network\nretryable: no\n"
	if out.String() != want {
		t.Errorf("it says %q", out.String())
	}
}

// TestInterruptedSaysWhatIsUndone checks that the message after an interruption says which work was
// not done.
func TestInterruptedSaysWhatIsUndone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[string]error{
		"imagegate: interrupted; run it again\nretryable: yes\n":                       context.Canceled,
		"imagegate: interrupted; nothing was promoted; run it again\nretryable: yes\n": &Stopped{Err: context.Canceled, Undone: "nothing was promoted"},
	} {
		var out bytes.Buffer
		if code := Finish(ctx, &out, err); code != Interrupted || out.String() != want {
			t.Errorf("%d: %q", code, out.String())
		}
	}
}

// TestRefusedLoginNamesTheUser checks that the hint about a refused login names the user and the
// source of the credentials, for each kind of login.
func TestRefusedLoginNamesTheUser(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	refused := func(host string, status int, path string) error {
		req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: host, Path: path}}
		return fmt.Errorf("x: %w", &registry.Error{Side: registry.Staging, Err: &transport.Error{StatusCode: status, Request: req}})
	}
	robot := credentials.Login{Registry: "r.example", User: "robot", Source: home + "/.docker/config.json"}
	for name, c := range map[string]struct {
		login credentials.Login
		err   error
		want  string
	}{
		"user":         {robot, refused("r.example", 401, "/v2/"), `r.example refused the login of user "robot" from ~/.docker/config.json: log in with "docker login r.example" again`},
		"token server": {robot, refused("auth.example", 401, "/token"), `r.example refused the login of user "robot"`},
		"forbidden":    {robot, refused("r.example", 403, "/v2/"), `accepts the login of user "robot" from ~/.docker/config.json, but not for`},
		"token":        {credentials.Login{Registry: "r.example", User: "<token>", Source: "docker-credential-x"}, refused("r.example", 401, "/v2/"), "refused the login from docker-credential-x"},
		"anonymous":    {credentials.Login{Registry: "r.example"}, refused("r.example", 401, "/v2/"), "no credentials for r.example were found"},
		"referrers":    {robot, refused("r.example", 403, "/v2/a/referrers/sha256:1"), `log in with "docker login" or`},
	} {
		var used Logins
		used.Add(c.login)
		if got := hint(used.Explain(c.err)); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	var used Logins
	if err := used.Explain(io.EOF); err != io.EOF { //nolint:errorlint // it must be the same error
		t.Errorf("%v", err)
	}
	used.Add(robot)
	used.Add(credentials.Login{Registry: "other.example"})
	if got := hint(used.Explain(refused("auth.example", 401, "/token"))); strings.Contains(got, "robot") {
		t.Errorf("a login that may be another one: %q", got)
	}
}

// TestMissingFileNamesTheOneThatWasMeant checks that the hint about a missing file suggests an
// existing file with a similar name.
func TestMissingFileNamesTheOneThatWasMeant(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"policy.yaml", "cosign.key"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"policy.yml": "did you mean policy.yaml?", "polcy.yaml": "did you mean policy.yaml?", "other": PolicyHint, "none/policy.yaml": PolicyHint, ".": "use --policy once for each file",
	} {
		_, err := os.ReadFile(path)
		if got := hint(Usage(&FileError{What: "policy", Path: path, Err: err})); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := hint(&FileError{What: "key", Path: "a", Err: fs.ErrNotExist}); got != KeyHint {
		t.Errorf("%q", got)
	}
	if got := hint(&FileError{What: "VEX document", Path: "a", Err: fs.ErrNotExist}); got != "" {
		t.Errorf("%q", got)
	}
}
