// Package credentials finds the credentials for a registry in the configuration files of Docker and
// podman, in credential helpers and, for cloud registries, in the environment.
//
// [New] returns a keychain for the registry client. An unusable configuration file is a
// [ConfigError], and never leads to an anonymous request. A file that all users can write to is
// unusable, too. A faulty entry for another registry is ignored.
//
// The package stores nothing. Its errors contain neither passwords nor tokens.
package credentials

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/imagegate/imagegate/internal/names"
)

// Options configure where New looks for credentials.
type Options struct {
	// Getenv returns an environment variable. Required.
	Getenv func(string) string
	// Home is the user's home folder. Empty means none.
	Home string
	// RunDir is podman's folder for auth.json if XDG_RUNTIME_DIR is not set:
	// /run/containers/UID. Empty means none.
	RunDir string
	// PlainHTTP reports whether requests to a registry use plain HTTP instead of TLS. Cloud tokens
	// are never sent to such a registry. Nil means that all registries use TLS.
	PlainHTTP func(host string) bool
	// Chosen is called with each login that the keychain returns. Calls may be concurrent. Nil
	// means no calls.
	Chosen func(Login)
}

// Login describes the credentials for a registry. It contains no secret.
type Login struct {
	// Registry is the registry name as the client spells it.
	Registry string
	// User is the user name. It is empty for a token and for anonymous requests.
	User string
	// Source is where the credentials come from: a file, an environment variable, a credential
	// helper that a file names, or a cloud. It is empty for anonymous requests.
	Source string
}

// PodmanRunDir returns the folder that "podman login" uses if XDG_RUNTIME_DIR is not set. It
// returns "" on systems other than Linux.
func PodmanRunDir() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return filepath.Join("/run/containers", strconv.Itoa(os.Getuid()))
}

// ConfigError reports that a credential configuration is unusable. The fault is on this machine,
// not in the registry.
type ConfigError struct {
	Registry string
	// File is the configuration file, or the environment variable that contains the configuration.
	File string
	// Helper is the credential helper that failed, such as "docker-credential-pass". It is empty if
	// the fault is in File itself.
	Helper string
	Err    error
}

// Error names the registry, the file and the helper, and the cause.
func (e *ConfigError) Error() string {
	if e.Helper != "" {
		return fmt.Sprintf("reading the credentials for %s: %s, named in %s: %v", e.Registry, e.Helper, e.File, e.Err)
	}
	return fmt.Sprintf("reading the credentials for %s: %s: %v", e.Registry, e.File, e.Err)
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// New returns a keychain that uses configuration files and helpers first, then the clouds. It is
// also an authn.ContextKeychain.
func New(o Options) authn.Keychain { return &keychain{Options: o, clouds: clouds()} }

type keychain struct {
	Options
	clouds []cloud
}

// Resolve is ResolveContext without a context. It implements authn.Keychain.
func (k *keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), r) //nolint:forbidigo // the interface has no context
}

// ResolveContext returns the credentials for a repository or registry, or
// authn.Anonymous if there are none.
func (k *keychain) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	t := newTarget(r)
	for _, file := range k.files() {
		found, source, err := file.lookup(ctx, t)
		if err != nil {
			return nil, err
		}
		if found != nil {
			k.chosen(Login{Registry: t.registry, User: found.Username, Source: source})
			return authn.FromConfig(*found), nil
		}
	}
	auth, err := k.cloud(ctx, t)
	switch {
	case err == nil && auth == authn.Anonymous:
		k.chosen(Login{Registry: t.registry})
	case err == nil:
		k.chosen(Login{Registry: t.registry, Source: "the environment of the cloud"})
	}
	return auth, err
}

func (k *keychain) chosen(l Login) {
	if k.Chosen != nil {
		k.Chosen(l)
	}
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

// resource is the repository that is passed to the keychain of a cloud. It implements
// authn.Resource.
type resource struct{ host, full string }

func (r resource) String() string      { return r.full }
func (r resource) RegistryStr() string { return r.host }

// target is the registry or repository that needs credentials.
type target struct {
	registry string   // registry host, spelled as in the image reference
	full     string   // registry and repository
	keys     []string // keys of a configuration that match the target, the most specific one first
}

// newTarget returns the target for a registry or repository. Its keys are sorted, the most specific
// key first, as in containers-auth.json(5).
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

// hostKey returns the canonical form of a host. Different loopback addresses stay different,
// because another user may listen on one of them.
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
