package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/names"
	"github.com/imagegate/imagegate/internal/registry"
)

var insecureFlag = &cli.StringSliceFlag{Name: "insecure-registry", EnvVars: []string{"IMAGEGATE_INSECURE_REGISTRY"},
	Usage: "use plain HTTP for the registry `HOST[:PORT]`. Repeatable. Loopback addresses need no flag"}

// access holds the credentials and the transport for registries.
type access struct {
	keychain  authn.Keychain
	transport http.RoundTripper
}

// registryAccess reads the flags about registries.
func registryAccess(c *cli.Context) (access, error) {
	plain := registry.PlainHTTP{Hosts: map[string]bool{}, Next: registry.NewTransport(registry.IdleTimeout)}
	for _, s := range strings.FieldsFunc(strings.Join(c.StringSlice("insecure-registry"), ","), isComma) {
		host, err := names.NormalizeHost(s)
		switch {
		case err != nil:
			return access{}, usagef("invalid --insecure-registry %q: must be HOST or HOST:PORT: %v", s, err)
		case strings.HasSuffix(s, ":443") || strings.HasSuffix(host, ":443"):
			return access{}, usagef("invalid --insecure-registry %q: port 443 is for TLS. Give HOST:PORT with the plain HTTP port of the registry", s)
		}
		plain.Hosts[registry.PlainHost(host)] = true
	}
	home, _ := os.UserHomeDir() // after an error, home is "", which means none
	return access{transport: plain,
		keychain: credentials.New(credentials.Options{Getenv: os.Getenv, Home: home, RunDir: podmanRunDir(), PlainHTTP: plain.Allows})}, nil
}

// isComma reports whether r is a comma, which separates two registries in one value. A host name
// cannot contain a comma.
func isComma(r rune) bool { return r == ',' }

// podmanRunDir returns the folder that "podman login" uses if XDG_RUNTIME_DIR is not set. It
// returns "" on systems other than Linux.
func podmanRunDir() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return filepath.Join("/run/containers", strconv.Itoa(os.Getuid()))
}

// options returns the options for the registry client.
func (a access) options() []remote.Option {
	return registry.Options{Keychain: a.keychain, Transport: a.transport, UserAgent: userAgent()}.Remote()
}

// parseApproved parses a reference in an approved registry, with or without "docker://".
func parseApproved[T name.Reference](s string, parse func(string, ...name.Option) (T, error)) (T, error) {
	normal, err := names.Normalize(strings.TrimPrefix(s, string(gate.Registry)+"://"))
	if err != nil {
		var none T
		return none, err
	}
	return parse(normal, name.StrictValidation)
}

// parseRepository parses a repository name in an approved registry, with or without "docker://".
// The result is spelled as in signatures.
func parseRepository(s string) (name.Repository, error) {
	normal, err := names.Normalize(strings.TrimPrefix(s, string(gate.Registry)+"://"))
	if err != nil {
		return name.Repository{}, err
	}
	return name.NewRepository(normal, name.StrictValidation)
}

// isConfiguration reports whether err is about the credential configuration on this machine.
func isConfiguration(err error) bool {
	var config *credentials.ConfigError
	return errors.As(err, &config)
}

// accessHint returns the hint for an error while accessing a registry, or "" if imagegate has no
// advice.
func accessHint(err error) string {
	var (
		config    *credentials.ConfigError
		untrusted *disk.UntrustedError
		failure   *registry.Error
		refused   *registry.PlainHTTPError
		failed    *transport.Error
		request   *url.Error
		noTLS     tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &config) && errors.As(err, &untrusted):
		return untrustedContentHint(untrusted)
	case errors.As(err, &config) && config.Helper != "":
		return fmt.Sprintf("install or fix %s, or remove it from %s", config.Helper, config.File)
	case errors.As(err, &config):
		return fmt.Sprintf("fix or remove %s; \"docker login\" writes a new entry", config.File)
	case !errors.As(err, &failure):
		return ""
	case errors.As(err, &failed) && failed.Request != nil && strings.HasSuffix(failed.Request.URL.Path, "/v2/") &&
		slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, failed.StatusCode):
		return "the server is not a container registry: check the host and the port"
	case errors.As(err, &refused):
		return fmt.Sprintf("if the registry has no TLS, use --insecure-registry %s", refused.Host)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS), strings.Contains(err.Error(), http.ErrSchemeMismatch.Error()):
		host := "HOST[:PORT]"
		if errors.As(err, &request) {
			if u, err := url.Parse(request.URL); err == nil {
				host = u.Host
			}
		}
		return fmt.Sprintf("the registry has no TLS: to allow plain HTTP, use --insecure-registry %s", host)
	}
	return connectionHint(err)
}

// untrustedContentHint returns the hint for a configuration file that another user may have
// written.
func untrustedContentHint(e *disk.UntrustedError) string {
	if e.Problem == disk.WritableByOthers {
		return fmt.Sprintf("check the content of %s, then run \"chmod o-w\" on it", e.Path)
	}
	return fmt.Sprintf("check the content of %s, then copy it into a folder of your own", e.Path)
}

// connectionHint returns the hint for an error of TLS or a proxy.
func connectionHint(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  *tls.CertificateVerificationError
		network  *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		if file := os.Getenv("SSL_CERT_FILE"); file != "" {
			if _, err := os.Stat(file); err != nil {
				return fmt.Sprintf("set SSL_CERT_FILE to a readable file: imagegate cannot read %s", file)
			}
		}
		return "set SSL_CERT_FILE to a PEM file with the CA certificate of the registry"
	case errors.As(err, &hostname):
		return "use a host name that is in the certificate of the registry"
	case errors.As(err, &invalid):
		return "the certificate of the registry is invalid: check its dates and chain, and the clock of this machine"
	case errors.As(err, &network) && network.Op == "proxyconnect":
		return "check the proxy in HTTPS_PROXY and HTTP_PROXY, or list the registry in NO_PROXY"
	}
	return ""
}
