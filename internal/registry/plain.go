package registry

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/imagegate/imagegate/internal/names"
)

// PlainHTTP uses HTTP without TLS only for the listed hosts and loopback addresses. The registry
// client alone would also fall back to HTTP for private addresses.
type PlainHTTP struct {
	// Hosts are in the form that PlainHost returns.
	Hosts map[string]bool
	Next  http.RoundTripper
}

// Allows reports whether a host may be reached over HTTP without TLS.
func (p PlainHTTP) Allows(host string) bool { return p.Hosts[PlainHost(host)] }

// PlainHost returns a host in the canonical form for HTTP: lower case, without port 80.
func PlainHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":80") }

// RoundTrip sends the request, over HTTP if its host is listed. It refuses HTTP to any other host
// except loopback addresses.
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

// PlainHTTPError is a request that was not sent because it would have used plain HTTP.
type PlainHTTPError struct{ Host string }

// Error names the host.
func (e *PlainHTTPError) Error() string {
	return fmt.Sprintf("plain HTTP to %s is not allowed", e.Host)
}
