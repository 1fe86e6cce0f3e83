// Package credentials finds the credentials for a registry: in the configuration
// files of Docker and podman, in their helper programs, and for the registries of
// clouds in the environment.
//
// [New] returns a keychain for the registry client. A configuration that cannot be
// used is a [ConfigError], never an anonymous request; so is a file that everyone can write
// to. A fault in an entry for another registry is harmless.
//
// The package stores nothing, and no error contains a password or token.
package credentials

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/imagegate/imagegate/internal/names"
)

// Options are where credentials are looked for.
type Options struct {
	// Getenv reads an environment variable. Mandatory.
	Getenv func(string) string
	// Home is the user's home folder. Empty means none.
	Home string
	// RunDir is podman's folder for auth.json if XDG_RUNTIME_DIR is not set:
	// /run/containers/UID. Empty means none.
	RunDir string
	// PlainHTTP reports whether a registry is reached without TLS. Tokens of clouds
	// are never sent to one. Nil means that none is.
	PlainHTTP func(host string) bool
}

// ConfigError is a credential configuration that cannot be used. The fault is on this
// side, not in the registry.
type ConfigError struct {
	Registry string
	// File is the configuration file, or the variable that holds the configuration.
	File string
	// Helper is the program that failed, such as "docker-credential-pass"; empty if
	// the fault is in File itself.
	Helper string
	Err    error
}

// Error names the registry, the file and the helper.
func (e *ConfigError) Error() string {
	if e.Helper != "" {
		return fmt.Sprintf("reading the credentials for %s: %s, which %s names: %v", e.Registry, e.Helper, e.File, e.Err)
	}
	return fmt.Sprintf("reading the credentials for %s: %s: %v", e.Registry, e.File, e.Err)
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// New returns a keychain that asks configuration files and helpers first, then the
// clouds. It is also an authn.ContextKeychain.
func New(o Options) authn.Keychain { return &keychain{Options: o, clouds: clouds()} }

type keychain struct {
	Options
	clouds []cloud
}

// Resolve is ResolveContext without a context.
func (k *keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), r) //nolint:forbidigo // the interface has no context
}

// ResolveContext returns the credentials for a repository or registry, or
// authn.Anonymous if there are none.
func (k *keychain) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	t := newTarget(r)
	for _, file := range k.files() {
		found, err := file.lookup(ctx, t)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return authn.FromConfig(*found), nil
		}
	}
	return k.cloud(ctx, t)
}

func (k *keychain) cloud(ctx context.Context, t target) (authn.Authenticator, error) {
	host, ok := cloudHost(t.registry)
	if !ok || k.PlainHTTP != nil && k.PlainHTTP(t.registry) {
		return authn.Anonymous, nil
	}
	for _, c := range k.clouds {
		if !c.serves(host) {
			continue
		}
		auth, err := authn.Resolve(ctx, c.keychain, resource{host: host, full: host + strings.TrimPrefix(t.full, t.registry)})
		if err != nil || auth != authn.Anonymous {
			return auth, err
		}
	}
	return authn.Anonymous, nil
}

// resource is what a cloud's keychain is asked for.
type resource struct{ host, full string }

func (r resource) String() string      { return r.full }
func (r resource) RegistryStr() string { return r.host }

// target is a registry or repository for which credentials are wanted.
type target struct {
	registry string // as the client spells it
	full     string // with the repository
	keys     []string
}

// newTarget lists the keys under which the credentials may be, the most specific
// first: containers-auth.json(5).
func newTarget(r authn.Resource) target {
	t := target{registry: r.RegistryStr(), full: r.String()}
	host := hostKey(t.registry)
	path, _ := strings.CutPrefix(t.full, t.registry)
	for path = strings.Trim(path, "/"); path != ""; {
		t.keys = append(t.keys, host+"/"+path)
		i := strings.LastIndexByte(path, '/')
		path = path[:max(i, 0)]
	}
	t.keys = append(t.keys, host)
	return t
}

// hostKey is the canonical host. Loopback addresses stay apart: other users may listen
// on some of them.
func hostKey(host string) string {
	if names.IsLoopback(host) {
		return strings.ToLower(host)
	}
	return names.Host(host)
}

// keyOf returns the canonical form of a key in a configuration file: a host, a host
// with a namespace, or a URL of a registry.
func keyOf(key string) string {
	rest, isURL := strings.CutPrefix(key, "https://")
	if !isURL {
		rest, isURL = strings.CutPrefix(key, "http://")
	}
	rest = strings.TrimRight(rest, "/")
	for _, version := range []string{"/v1", "/v2"} {
		rest = strings.TrimSuffix(rest, version)
	}
	host, namespace, _ := strings.Cut(rest, "/")
	if isURL || namespace == "" {
		return hostKey(host)
	}
	return hostKey(host) + "/" + namespace
}
