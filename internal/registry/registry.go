// Package registry makes the answers of container registries safe to rely on.
//
// Registries differ from the distribution specification, and the client library
// takes some differences for answers. [Transport] corrects what it can prove and
// turns the rest into errors: it follows every page of a list of referrers, reads
// media types with parameters, and never takes one answer for another.
// [IsAbsent] tells a missing manifest from one that may not be read.
//
// What it does not do: it verifies no digest; the library and the callers do.
package registry

import (
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Options describe how registries are reached. The zero value is anonymous access
// with the library's transport.
type Options struct {
	// Keychain holds the credentials. Nil means none.
	Keychain authn.Keychain
	// Transport carries the requests. Nil means remote.DefaultTransport.
	Transport http.RoundTripper
	// UserAgent is sent with each request. Empty means the library's.
	UserAgent string
	// Jobs bounds the blobs that are transferred at once. 0 means the library's
	// default.
	Jobs int
}

// Remote returns the options for the client library, with [Transport] below it.
func (o Options) Remote() []remote.Option {
	next := o.Transport
	if next == nil {
		next = remote.DefaultTransport
	}
	out := []remote.Option{remote.WithTransport(Transport(next))}
	if o.Keychain != nil {
		out = append(out, remote.WithAuthFromKeychain(o.Keychain))
	}
	if o.UserAgent != "" {
		out = append(out, remote.WithUserAgent(o.UserAgent))
	}
	if o.Jobs > 0 {
		out = append(out, remote.WithJobs(o.Jobs))
	}
	return out
}
