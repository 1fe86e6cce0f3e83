package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/registry"
)

// withInsecure returns a command line with these --insecure-registry flags.
func withInsecure(t *testing.T, hosts ...string) *cli.Context {
	t.Helper()
	set := flag.NewFlagSet("", flag.ContinueOnError)
	f := &cli.StringSliceFlag{Name: "insecure-registry"}
	if err := f.Apply(set); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if err := set.Set("insecure-registry", h); err != nil {
			t.Fatal(err)
		}
	}
	app := cli.NewApp()
	app.Metadata = map[string]any{loginsKey: &exit.Logins{}}
	return cli.NewContext(app, set, nil)
}

// recorded is a transport that records the URLs of requests and sends nothing.
type recorded struct{ urls []string }

func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	r.urls = append(r.urls, req.URL.String())
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: req}, nil
}

// TestPlainHTTPGoesToNoOtherHost checks that requests go over plain HTTP only to the listed hosts
// and to loopback addresses.
func TestPlainHTTPGoesToNoOtherHost(t *testing.T) {
	reach, err := registryAccess(withInsecure(t, "Registry.lan:5000", "plain.lan", "10.0.0.9:05000"))
	if err != nil {
		t.Fatal(err)
	}
	plain := reach.transport.(registry.PlainHTTP)
	for sent, want := range map[string]string{
		"https://registry.lan:5000/v2/":  "http://registry.lan:5000/v2/",
		"http://registry.lan:5000/v2/":   "http://registry.lan:5000/v2/",
		"https://plain.lan/v2/":          "http://plain.lan/v2/",
		"http://plain.lan:80/v2/":        "http://plain.lan:80/v2/",
		"https://10.0.0.9:5000/v2/":      "http://10.0.0.9:5000/v2/",
		"https://plain.lan:443/v2/":      "https://plain.lan:443/v2/",
		"https://registry.lan/v2/":       "https://registry.lan/v2/",
		"https://registry.lan:5001/v2/":  "https://registry.lan:5001/v2/",
		"https://x.registry.lan:5000/":   "https://x.registry.lan:5000/",
		"https://10.0.0.8:5000/v2/":      "https://10.0.0.8:5000/v2/",
		"http://127.0.0.1:5000/v2/":      "http://127.0.0.1:5000/v2/",
		"http://localhost:5000/v2/":      "http://localhost:5000/v2/",
		"http://[::1]:5000/v2/":          "http://[::1]:5000/v2/",
		"http://registry.lan:5001/v2/":   "",
		"http://registry.lan/v2/":        "",
		"http://10.0.0.8:5000/v2/":       "",
		"http://192.168.1.1:5000/v2/":    "",
		"http://172.16.0.1/v2/":          "",
		"http://plain.lan.attacker.test": "",
		"http://localhost.attacker.test": "",
		"http://169.254.169.254/latest":  "",
	} {
		next := &recorded{}
		req, err := http.NewRequest(http.MethodGet, sent, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := registry.PlainHTTP{Hosts: plain.Hosts, Next: next}.RoundTrip(req)
		var refused *registry.PlainHTTPError
		switch {
		case want == "":
			if !errors.As(err, &refused) || len(next.urls) > 0 {
				t.Errorf("%s: %v, sent as %q", sent, err, next.urls)
			}
		case err != nil || len(next.urls) != 1 || next.urls[0] != want || resp.Request.URL.String() != want:
			t.Errorf("%s: %v, sent as %q, want %s", sent, err, next.urls, want)
		case req.URL.String() != sent:
			t.Errorf("%s: the caller's request was changed to %s", sent, req.URL)
		}
		if resp != nil {
			resp.Body.Close()
		}
	}
}

func TestInsecureRegistryIsOneHost(t *testing.T) {
	for _, s := range []string{"http://registry.lan:5000", "registry.lan/team", "*.lan", "registry.lan:443", "registry.lan:*", "10.0.0.0/8", "registry", "registry.lan:"} {
		if _, err := registryAccess(withInsecure(t, s)); exit.Classify(t.Context(), err).Code != exit.UsageCode {
			t.Errorf("--insecure-registry %q: %v", s, err)
		}
	}
}

// TestFaultsOfOurConfigurationAreNotTheRegistrys checks that a broken Docker configuration is a
// usage error instead of a registry error, and that the hint names the configuration file.
func TestFaultsOfOurConfigurationAreNotTheRegistrys(t *testing.T) {
	config := &credentials.ConfigError{Registry: "r.example", File: "/home/u/.docker/config.json", Err: errors.New("not valid JSON")}
	err := registry.NewError(registry.Staging, "resolving r.example/a:1", fmt.Errorf("getting: %w", config))
	if code := exit.Classify(context.Background(), err); code.Code != exit.UsageCode {
		t.Errorf("exit code %d", code.Code)
	}
	if h := hintOf(err); !strings.Contains(h, config.File) {
		t.Errorf("hint %q", h)
	}
	config.Helper = "docker-credential-missing"
	if h := hintOf(err); !strings.Contains(h, "install or fix docker-credential-missing") || !strings.Contains(h, config.File) {
		t.Errorf("hint %q", h)
	}
}

func TestHintsOnTheWayToARegistry(t *testing.T) {
	at := func(status int, path string) error {
		u := &url.URL{Scheme: "https", Host: "r.example", Path: path}
		return &transport.Error{StatusCode: status, Request: &http.Request{Method: "GET", URL: u}}
	}
	for want, cause := range map[string]error{
		"--insecure-registry r.lan:5000": &url.Error{Op: "Get", URL: "https://r.lan:5000/v2/", Err: http.ErrSchemeMismatch},
		"--insecure-registry vm:5000":    &url.Error{Op: "Get", URL: "https://vm:5000/v2/", Err: tls.RecordHeaderError{Msg: "first record"}},
		"--insecure-registry 10.0.0.9":   &url.Error{Op: "Get", URL: "http://10.0.0.9/v2/", Err: &registry.PlainHTTPError{Host: "10.0.0.9"}},
		"SSL_CERT_FILE":                  &url.Error{Op: "Get", URL: "https://r.lan/v2/", Err: x509.UnknownAuthorityError{}},
		"HTTPS_PROXY":                    &url.Error{Op: "Get", URL: "https://r.lan/v2/", Err: &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}},
		"not a container registry":       at(http.StatusNotFound, "/v2/"),
		"check the repository":           at(http.StatusNotFound, "/v2/team/app/manifests/1"),
		"docker login":                   at(http.StatusUnauthorized, "/v2/"),
	} {
		if h := hintOf(registry.NewError(registry.Staging, "resolving", cause)); !strings.Contains(h, want) {
			t.Errorf("%v: hint %q, want %q", cause, h, want)
		}
	}
	t.Setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
	if h := hintOf(registry.NewError(registry.Staging, "resolving", x509.UnknownAuthorityError{})); !strings.Contains(h, "/nonexistent/ca.pem") {
		t.Errorf("hint %q", h)
	}
}

// TestCertificateOfAnUnknownCAIsNotAccepted checks that imagegate rejects a registry whose
// certificate comes from an unknown CA, and that the hint says what to do.
func TestCertificateOfAnUnknownCAIsNotAccepted(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	reach, err := registryAccess(withInsecure(t))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: reach.transport}
	resp, err := client.Get(server.URL)
	if err == nil {
		resp.Body.Close()
		t.Fatal("accepted")
	}
	if h := hintOf(registry.NewError(registry.Approved, "reading", err)); !strings.Contains(h, "SSL_CERT_FILE") {
		t.Errorf("%v: hint %q", err, h)
	}
}

// TestPasswordsGoOverPlainHTTPOnlyToTheNamedHost checks that a registry given with
// --insecure-registry may use a token server over plain HTTP only on its own host.
func TestPasswordsGoOverPlainHTTPOnlyToTheNamedHost(t *testing.T) {
	for realm, works := range map[string]bool{"http://registry.lan:5000/token": true, "http://auth.lan/token": false} {
		var hosts []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, basic := r.BasicAuth()
			if basic {
				hosts = append(hosts, r.Host)
			}
			switch {
			case r.URL.Path == "/token" && user == "me" && password == "pw":
				fmt.Fprint(w, `{"token":"t"}`)
			case r.Header.Get("Authorization") != "Bearer t":
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="s"`, realm))
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				fmt.Fprint(w, `{"schemaVersion":2}`)
			}
		}))
		defer server.Close()
		to := server.Listener.Addr().String()
		dialer := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, to)
		}}
		tag, err := name.NewTag("registry.lan:5000/team/app:1")
		if err != nil {
			t.Fatal(err)
		}
		_, err = remote.Get(tag, remote.WithTransport(registry.PlainHTTP{Hosts: map[string]bool{"registry.lan:5000": true}, Next: dialer}),
			remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: "me", Password: "pw"})))
		var refused *registry.PlainHTTPError
		switch {
		case works && (err != nil || len(hosts) == 0 || hosts[0] != "registry.lan:5000"):
			t.Errorf("realm %s: %v, the password went to %q", realm, err, hosts)
		case !works && (!errors.As(err, &refused) || refused.Host != "auth.lan" || len(hosts) > 0):
			t.Errorf("realm %s: %v, the password went to %q", realm, err, hosts)
		}
	}
}

// hintOf returns the hint that a user sees for an error.
func hintOf(err error) string {
	var out bytes.Buffer
	exit.Finish(context.Background(), &out, err)
	_, after, _ := strings.Cut(out.String(), "hint: ")
	hint, _, _ := strings.Cut(after, "\n")
	return hint
}
