package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/imagegate/imagegate/gate/cache"
	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/registry"
)

// keychain is a keychain with one login for every registry.
type keychain authn.AuthConfig

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	if authn.AuthConfig(k) == (authn.AuthConfig{}) {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig(k)), nil
}

var robot = keychain{Username: "robot", Password: "right-password"}

// options returns Options with temporary folders and the given login.
func options(t *testing.T, login keychain) Options {
	t.Helper()
	dir := t.TempDir()
	folder := func() (string, error) { return dir, nil }
	return Options{Keychain: login, Transport: http.DefaultTransport, Now: time.Now, TempDir: folder, CacheDir: folder,
		DatabaseDir: func() (string, error) { return filepath.Join(dir, "db"), nil },
		Cache: func() (*cache.Cache, bool, error) {
			kept, err := cache.Open(cache.Options{Dir: filepath.Join(dir, "catalog"), Now: time.Now})
			return kept, true, err
		}}
}

func serve(t *testing.T, h http.HandlerFunc) (host string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func tag(t *testing.T, s string) name.Tag {
	t.Helper()
	out, err := name.NewTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// examine runs the check of one registry.
func examine(t *testing.T, o Options, side registry.Side, ref name.Reference) Result {
	t.Helper()
	return o.registryCheck(side, ref).Run(t.Context())
}

// TestUploadIsCanceledAtItsRegistryOnly checks that the upload for testing write access is
// canceled, and that a registry cannot make doctor send the request to another server.
func TestUploadIsCanceledAtItsRegistryOnly(t *testing.T) {
	for kind, want := range map[string]struct {
		status   Status
		requests string
	}{
		"relative": {OK, "GET /v2/,GET /v2/,HEAD /v2/a/manifests/1,GET /v2/a/manifests/1,POST /v2/a/blobs/uploads/,DELETE /v2/a/blobs/uploads/7"},
		"foreign":  {OK, "GET /v2/,GET /v2/,HEAD /v2/a/manifests/1,GET /v2/a/manifests/1,POST /v2/a/blobs/uploads/"},
		"redirect": {Fail, "GET /v2/,GET /v2/,HEAD /v2/a/manifests/1,GET /v2/a/manifests/1,POST /v2/a/blobs/uploads/"},
	} {
		other := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s: another server got %s", kind, r.Method) })
		var mu sync.Mutex
		var requests []string
		host := serve(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			requests = append(requests, r.Method+" "+r.URL.Path)
			switch {
			case r.URL.Path == "/v2/":
			case r.Method == http.MethodDelete:
				w.WriteHeader(http.StatusNoContent)
			case r.Method == http.MethodPost && kind == "redirect":
				http.Redirect(w, r, "http://"+other+"/upload", http.StatusTemporaryRedirect)
			case r.Method == http.MethodPost:
				w.Header().Set("Location", map[string]string{"relative": "/v2/a/blobs/uploads/7", "foreign": "http://" + other + "/upload"}[kind])
				w.WriteHeader(http.StatusAccepted)
			default:
				http.NotFound(w, r)
			}
		})
		got := examine(t, options(t, robot), registry.Approved, tag(t, host+"/a:1"))
		mu.Lock()
		if all := strings.Join(requests, ","); got.Status != want.status || all != want.requests {
			t.Errorf("%s: %+v\n%s", kind, got, all)
		}
		mu.Unlock()
	}
}

// TestUploadIsCanceledAfterTheTimeIsUp checks that the test upload is canceled even if the time
// limit ends right after the upload began.
func TestUploadIsCanceledAfterTheTimeIsUp(t *testing.T) {
	canceled := make(chan struct{}, 1)
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodDelete:
			canceled <- struct{}{}
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPost:
			w.Header().Set("Location", "/v2/a/blobs/uploads/7")
			w.WriteHeader(http.StatusAccepted)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := options(t, robot)
	o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if r.Method == http.MethodPost {
			cancel()
		}
		return resp, err
	})
	o.registryCheck(registry.Approved, tag(t, host+"/a:1")).Run(ctx)
	select {
	case <-canceled:
	default:
		t.Error("the upload stays")
	}
}

// TestReasonOfNoConnectionIsShort checks that a failed connection, which the client tries over
// HTTPS and HTTP, is reported with one short reason. Other errors keep their text.
func TestReasonOfNoConnectionIsShort(t *testing.T) {
	a := &access{repo: tag(t, "r.example/a:1").Repository}
	dial := func(err error) error {
		return &url.Error{Op: "Get", URL: "https://r.example/v2/", Err: &net.OpError{Op: "dial", Net: "tcp", Err: err}}
	}
	for want, cause := range map[string]error{
		"r.example cannot be reached: connection refused": errors.Join(dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))),
		"r.example cannot be reached: no such host":       dial(&net.DNSError{Err: "no such host", Name: "r.example", Server: "192.0.2.1:53"}),
	} {
		if got := a.refused("log in", cause); got.Message != want || got.Err == nil {
			t.Errorf("%v: %+v", cause, got)
		}
	}
	proxy := &url.Error{Op: "Get", URL: "https://r.example/v2/", Err: &net.OpError{Op: "proxyconnect", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	if got := a.refused("log in", proxy); !strings.Contains(got.Message, "proxyconnect") {
		t.Errorf("%+v", got)
	}
}

// TestTokenServerTellsLoginAndRightApart checks the results for a registry with a token server: one
// for a login that the server refuses, another for a token without write access, which some
// registries answer with status 401.
func TestTokenServerTellsLoginAndRightApart(t *testing.T) {
	var host string
	content := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	host = serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && password != robot.Password:
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		case r.URL.Path == "/token":
			fmt.Fprint(w, `{"token":"t"}`)
		case r.Header.Get("Authorization") != "Bearer t" || r.Method == http.MethodPost:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, host))
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		default:
			content.ServeHTTP(w, r)
		}
	})
	for _, c := range []struct {
		login keychain
		side  registry.Side
		want  string
	}{
		{robot, registry.Staging, host + "/team/app, but 1 does not exist yet"},
		{robot, registry.Approved, "but does not let it write to " + host + "/team/app"},
		{keychain{Username: "robot", Password: "wrong-password"}, registry.Staging, "the user, the password or the token is wrong"},
		{keychain{}, registry.Staging, "no credentials for it were found"},
	} {
		got := examine(t, options(t, c.login), c.side, tag(t, host+"/team/app:1"))
		mend := "docker login " + host
		if strings.Contains(c.want, "does not exist") {
			mend = "docker push " + host + "/team/app:1"
		}
		if got.Status == OK || !strings.Contains(got.Message, c.want) || got.Mend != mend {
			t.Errorf("%s, want %q: %+v", c.side, c.want, got)
		}
	}
}

// TestChecksEnd checks that Run returns in time if a registry never responds, or if a check ignores
// its context.
func TestChecksEnd(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	host := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	o := options(t, robot)
	o.Staging, o.Limit = tag(t, host+"/a:1"), 50*time.Millisecond
	o.Sigstore = func() error { <-release; return nil }
	results, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"registry staging": "deadline exceeded", "network sigstore": "no result after 2.05s"} {
		found := false
		for _, r := range results {
			if r.Name == name {
				found = r.Status == Fail && strings.Contains(r.Message, want) && r.Mend != ""
			}
		}
		if !found {
			t.Errorf("%s: %+v", name, results)
		}
	}
}

// TestInterruptedRunHasNoResults checks that Run returns only the cause after an interruption.
// Results would report problems that the interruption itself caused.
func TestInterruptedRunHasNoResults(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if results, err := Run(ctx, options(t, robot)); !errors.Is(err, context.Canceled) || results != nil {
		t.Errorf("%+v, %v", results, err)
	}
}

// TestResponsesOfARegistryAreSanitized checks that doctor removes secrets and terminal or CI
// commands from the error text of a registry.
func TestResponsesOfARegistryAreSanitized(t *testing.T) {
	host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `{"errors":[{"code":"X","message":"\u001b[2J\n::error::%s"}]}`, robot.Password)
	})
	o := options(t, robot)
	o.Staging = tag(t, host+"/a:1")
	o.Redact = func(s string) string { return strings.ReplaceAll(s, robot.Password, "***") }
	results, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var text, document bytes.Buffer
	if err := errors.Join(WriteText(&text, 100, results), WriteJSON(&document, results)); err != nil {
		t.Fatal(err)
	}
	if r := results[0]; !strings.Contains(r.Message, `X: \x1b[2J \x3a:error::***`) || r.Mend != "curl -v http://"+host+"/v2/" {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"\x1b", `\u001b`, " ::error", robot.Password} {
		if strings.Contains(text.String(), bad) || strings.Contains(document.String(), bad) {
			t.Errorf("%q:\n%s\n%s", bad, &text, &document)
		}
	}
}

func TestClockIsComparedWithServers(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		ahead  time.Duration
		age    string
		status Status
		want   string
	}{
		{0, "", OK, "within 1s of h"},
		{5 * time.Minute, "", OK, "within 5m0s of h"},
		{6 * time.Minute, "", Warn, "the clock of this machine is 6m0s ahead of the clock of h"},
		{-6 * time.Minute, "", Warn, "the clock of this machine is 6m0s behind the clock of h"},
		{29 * time.Minute, "", Warn, "29m0s ahead"},
		{30 * time.Minute, "", Fail, "30m0s ahead"},
		{-time.Hour, "", Fail, "1h0m0s behind the clock of h: tokens"},
		{time.Hour, "3600", OK, "within 1s of h"}, // from a cache
	} {
		cs := &clocks{now: func() time.Time { return now }, ahead: map[string]time.Duration{}}
		h := http.Header{"Date": {now.Add(-c.ahead).Format(http.TimeFormat)}}
		if c.age != "" {
			h.Set("Age", c.age)
		}
		cs.record("h", h, now, now)
		cs.record("silent", http.Header{}, now, now)
		got := cs.check()
		if got.Status != c.status || !strings.Contains(got.Message, c.want) || (got.Status == OK) != (got.Mend == "") {
			t.Errorf("%s: %+v", c.ahead, got)
		}
	}
}

func TestExpiryOfTokens(t *testing.T) {
	jwt := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	}
	for _, c := range []struct {
		login authn.AuthConfig
		want  int64 // 0 means none
	}{
		{authn.AuthConfig{Password: jwt(`{"exp":1700000000}`)}, 1700000000},
		{authn.AuthConfig{Password: jwt(`{"exp":1700000000.9}`)}, 1700000000},
		{authn.AuthConfig{IdentityToken: jwt(`{"exp":1700000000}`), Password: "x"}, 1700000000},
		{authn.AuthConfig{RegistryToken: jwt(`{"exp":1700000000}`)}, 1700000000},
		{authn.AuthConfig{Password: base64.StdEncoding.EncodeToString([]byte(`{"payload":"x","expiration":1700000000}`))}, 1700000000},
		{authn.AuthConfig{Password: "a.b.c"}, 0},
		{authn.AuthConfig{Password: jwt(`{"exp":"soon"}`)}, 0},
		{authn.AuthConfig{Password: jwt(`{"exp":-1}`)}, 0},
		{authn.AuthConfig{Password: jwt(`{"exp":1e300}`)}, 0},
		{authn.AuthConfig{Password: jwt(`{}`)}, 0},
		{authn.AuthConfig{}, 0},
	} {
		at, ok := expiry(c.login)
		if ok != (c.want != 0) || ok && at.Unix() != c.want {
			t.Errorf("%+v: %s, %v", c.login, at, ok)
		}
	}
}

func TestLoginCommands(t *testing.T) {
	for host, want := range map[string]string{
		"registry.example:5000":                           "docker login registry.example:5000",
		"index.docker.io":                                 "docker login",
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com": "aws ecr get-login-password --region eu-central-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-central-1.amazonaws.com",
		"europe-docker.pkg.dev":                           "gcloud auth configure-docker europe-docker.pkg.dev",
		"eu.gcr.io":                                       "gcloud auth configure-docker eu.gcr.io",
		"team.azurecr.io":                                 "az acr login --name team",
		"x;reboot":                                        "docker login 'x;reboot'",
		"gcr.io.attacker.test":                            "docker login gcr.io.attacker.test",
	} {
		if got := loginCommand(host); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
	for want, e := range map[string]credentials.ConfigError{
		"mv /h/config.json /h/config.json.bad && docker login r.example": {Registry: "r.example", File: "/h/config.json"},
		"docker-credential-pass list":                                    {Registry: "r.example", File: "/h/config.json", Helper: "docker-credential-pass"},
		"unset DOCKER_AUTH_CONFIG":                                       {Registry: "r.example", File: "DOCKER_AUTH_CONFIG"},
	} {
		if got := mendConfig(&e); got != want {
			t.Errorf("%+v: %s", e, got)
		}
	}
}

func TestCommandsForTheWayToARegistry(t *testing.T) {
	a := &access{repo: tag(t, "r.example/a:1").Repository}
	for want, cause := range map[string]error{
		"export IMAGEGATE_INSECURE_REGISTRY=10.0.0.9":  &url.Error{Op: "Get", URL: "http://10.0.0.9/v2/", Err: &registry.PlainHTTPError{Host: "10.0.0.9"}},
		"export IMAGEGATE_INSECURE_REGISTRY=r.example": &url.Error{Op: "Get", URL: "https://r.example/v2/", Err: http.ErrSchemeMismatch},
		"export SSL_CERT_FILE=ca.pem":                  &url.Error{Op: "Get", URL: "https://r.example/v2/", Err: x509.UnknownAuthorityError{}},
		"export NO_PROXY=r.example":                    &url.Error{Op: "Get", URL: "https://r.example/v2/", Err: &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}},
		"curl -v https://r.example/v2/":                errors.New("another reason"),
	} {
		if got := a.refused("log in", cause); got.Status != Fail || got.Mend != want {
			t.Errorf("%v: %+v", cause, got)
		}
	}
}

// TestFolderThatOthersChangeHasACommand checks that doctor suggests chmod only for a folder that
// this user owns.
func TestFolderThatOthersChangeHasACommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's mine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for want, e := range map[string]disk.UntrustedError{
		`chmod go-w '` + strings.ReplaceAll(dir, "'", `'\''`) + `'`: {At: dir, Problem: disk.WritableByOthers},
		"other":   {At: dir, Problem: disk.OwnedByOther},
		"missing": {At: dir + "/none", Problem: disk.WritableByOthers},
	} {
		fallback := "other"
		if strings.HasSuffix(e.At, "none") {
			fallback = "missing"
		}
		if got := mendFolder(&e, fallback); got != want {
			t.Errorf("%+v: %s", e, got)
		}
	}
}

// TestFormats checks the text and JSON output, and that Failure wraps the error of the first failed
// check.
func TestFormats(t *testing.T) {
	cause := errors.New("no")
	results := []Result{{Name: "cache", Status: OK, Message: "0 entries, all intact"},
		{Name: "clock", Status: Warn, Message: "not compared", Mend: "date -u"},
		{Name: "key", Status: Fail, Message: "a message of several words that is too long for the line", Mend: "a command of several words that stays on its line", Err: cause},
		{Name: "temp", Status: Fail, Message: "x", Mend: "y"}}
	var text, document bytes.Buffer
	if err := errors.Join(WriteText(&text, 40, results), WriteJSON(&document, results)); err != nil {
		t.Fatal(err)
	}
	want := `ok    cache  0 entries, all intact
warn  clock  not compared
             run: date -u
fail  key    a message of several words
             that is too long for the
             line
             run: a command of several words that stays on its line
fail  temp   x
             run: y
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	var read struct {
		SchemaVersion int
		Checks        []map[string]string
	}
	if err := json.Unmarshal(document.Bytes(), &read); err != nil || read.SchemaVersion != 1 || len(read.Checks) != len(results) ||
		cmp.Diff(map[string]string{"name": "cache", "status": "ok", "message": "0 entries, all intact", "mend": ""}, read.Checks[0]) != "" {
		t.Errorf("%v: %+v", err, read)
	}
	err := Failure(results)
	var failed *FailedError
	if !errors.As(err, &failed) || !errors.Is(err, cause) || err.Error() != "2 of 4 checks failed: key, temp" || !strings.Contains(failed.Hint(), results[2].Mend) {
		t.Errorf("%v", err)
	}
	if err := Failure(results[:2]); err != nil {
		t.Errorf("a warning is a failure: %v", err)
	}
}
