// Package registry makes the responses of container registries safe to rely on.
//
// Registries deviate from the distribution specification, and the client library,
// go-containerregistry, misinterprets some of the deviations. [Transport] corrects a response if
// that is safe, and otherwise returns an error. It reads every page of a referrers list, accepts
// media types with parameters, and rejects unexpected content. [IsAbsent] distinguishes a missing
// tag from a tag that the user may not read.
//
// The package does not verify digests; go-containerregistry and the callers verify them.
package registry

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Options configure access to registries. The zero value means anonymous access with the default
// transport of go-containerregistry.
type Options struct {
	// Keychain holds the credentials. Nil means none.
	Keychain authn.Keychain
	// Transport carries the requests. Nil means remote.DefaultTransport.
	Transport http.RoundTripper
	// UserAgent is sent with each request. Empty means the default of go-containerregistry.
	UserAgent string
	// Jobs limits how many blobs are transferred at once. 0 means the default of
	// go-containerregistry.
	Jobs int
}

// Remote returns the options for the client library, including [Transport].
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

// With returns opts and an option that cancels the requests when ctx ends.
func With(ctx context.Context, opts []remote.Option) []remote.Option {
	return append(slices.Clone(opts), remote.WithContext(ctx))
}
