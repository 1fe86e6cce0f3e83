package registry

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/imagegate/imagegate/internal/names"
)

// PlainHTTP is a transport that allows HTTP without TLS only for the listed hosts and for loopback
// addresses. Without it, the registry client would also fall back to HTTP for private addresses.
type PlainHTTP struct {
	// Hosts are the listed hosts, in the form that PlainHost returns.
	Hosts map[string]bool
	Next  http.RoundTripper
}

// Allows reports whether a host may be reached over HTTP without TLS.
func (p PlainHTTP) Allows(host string) bool { return p.Hosts[PlainHost(host)] }

// PlainHost returns a host in the canonical form for HTTP: lower case, without port 80.
func PlainHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":80") }

// RoundTrip sends a request. If the host is listed, it uses HTTP without TLS. It refuses plain HTTP
// to other hosts, except loopback addresses.
func (p PlainHTTP) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case p.Allows(req.URL.Host):
		if req.URL.Scheme == "https" {
			req = req.Clone(req.Context())
			req.URL.Scheme = "http"
		}
	case req.URL.Scheme == "http" && !names.IsLoopback(req.URL.Host):
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &PlainHTTPError{req.URL.Host}
	}
	return p.Next.RoundTrip(req)
}

// PlainHTTPError reports a request that was not sent, because it would have used plain HTTP to a
// host that is not listed.
type PlainHTTPError struct{ Host string }

// Error names the host.
func (e *PlainHTTPError) Error() string {
	return fmt.Sprintf("plain HTTP to %s is not allowed", e.Host)
}
