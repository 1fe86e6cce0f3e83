package lab

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"

	// The drivers, the cache and the access controller register themselves.
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// Options say what kind of registry to start. The zero value is an anonymous,
// writable registry in memory with the defaults of a production one: manifests
// whose blobs, or indexes whose children, are missing are refused, so are layers
// that point to URLs, and nothing can be deleted.
type Options struct {
	// Dir keeps the content in this folder, where another registry can find it
	// again; empty keeps it in memory.
	Dir string
	// User and Password ask for basic authentication, checked against an
	// htpasswd file; with an empty User anybody may read and write.
	User, Password string
	// ReadOnly is the registry's maintenance mode: every write is answered
	// with 405. Such a registry has content only through Dir.
	ReadOnly bool
	// Delete lets manifests, tags and blobs be deleted.
	Delete bool
	// ForeignURLs accepts manifests whose layers point to URLs.
	ForeignURLs bool
	// Hook sees each request before the registry does; nil is none.
	Hook Hook
}

// Registry is a running registry. Its methods may be used concurrently.
type Registry struct {
	host           string
	user, password string
	journal        journal
	hook           atomic.Pointer[Hook]
	app            *handlers.App
	server         *http.Server
	scratch        string
	close          func() error

	mu      sync.Mutex
	closing bool           // under mu: no further request is taken on
	serving sync.WaitGroup // grows only under mu
}

// enter takes a request on unless the registry is closing.
func (r *Registry) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.serving.Add(1)
	return true
}

// quiet silences the registry's log. It always goes to the standard logger of
// logrus, which belongs to the process: there is no other way to reach it.
var quiet = sync.OnceFunc(func() { logrus.SetLevel(logrus.PanicLevel) })

// StartRegistry serves a new registry over plain HTTP on a free port of
// 127.0.0.1. Any number may run in one process; they share nothing but a
// silenced log. The caller closes it.
func StartRegistry(opts Options) (_ *Registry, err error) {
	quiet()
	r := &Registry{user: opts.User, password: opts.Password}
	r.SetHook(opts.Hook)
	r.close = sync.OnceValue(r.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting a registry: %w", err), r.Close())
		}
	}()
	if r.scratch, err = os.MkdirTemp("", "registry-"); err != nil {
		return nil, err
	}
	config, err := configure(opts, r.scratch)
	if err != nil {
		return nil, err
	}
	if r.app, err = newApp(config); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.host = listener.Addr().String()
	r.server = &http.Server{Handler: http.HandlerFunc(r.serve), ErrorLog: log.New(io.Discard, "", 0)}
	r.serving.Add(1)
	go func() {
		defer r.serving.Done()
		_ = r.server.Serve(listener) // always ends with ErrServerClosed
	}()
	return r, nil
}

// configure translates Options into the registry's own configuration file.
func configure(opts Options, scratch string) (*configuration.Configuration, error) {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"inmemory": {},
			"cache":    {"blobdescriptor": "inmemory"},
			"delete":   {"enabled": opts.Delete},
			"redirect": {"disable": true},
			"maintenance": {
				// The purger would outlive the test and has nothing to find.
				"uploadpurging": map[any]any{"enabled": false},
				"readonly":      map[any]any{"enabled": opts.ReadOnly},
			},
		},
		Catalog: configuration.Catalog{MaxEntries: 1000},
		Tags:    configuration.Tags{MaxTags: 1000},
	}
	if opts.Dir != "" {
		delete(config.Storage, "inmemory")
		config.Storage["filesystem"] = configuration.Parameters{"rootdirectory": opts.Dir}
	}
	if opts.ForeignURLs {
		config.Validation.Manifests.URLs.Allow = []string{"^https?://"}
	}
	if opts.User == "" {
		if opts.Password != "" {
			return nil, errors.New("a password without a user")
		}
		return config, nil
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(opts.Password), bcrypt.MinCost)
	if err != nil {
		return nil, fmt.Errorf("hashing the password: %w", err)
	}
	path := filepath.Join(scratch, "htpasswd")
	if err := os.WriteFile(path, fmt.Appendf(nil, "%s:%s\n", opts.User, hash), 0o600); err != nil {
		return nil, err
	}
	config.Auth = configuration.Auth{"htpasswd": {"realm": "lab", "path": path}}
	return config, nil
}

// newApp turns the panics, with which the registry reports a configuration that
// it cannot use, into errors.
func newApp(config *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("configuring: %v", p)
		}
	}()
	// The registry lives until Close, not as long as a call.
	return handlers.NewApp(context.Background(), config), nil
}

// serve writes the request down, lets the hook have it and then the registry.
func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	if !r.enter() {
		panic(http.ErrAbortHandler)
	}
	defer r.serving.Done()
	out := r.journal.begin(w, req)
	if hook := r.hook.Load(); hook != nil && (*hook)(out, req) {
		out.finish()
		return
	}
	r.app.ServeHTTP(out, req)
	out.finish()
}

// Host is the registry's address, "127.0.0.1:<port>". Clients know from it
// that they are to speak plain HTTP.
func (r *Registry) Host() string { return r.host }

// Ref completes "repository", "repository:tag" or "repository@digest" to a
// reference in this registry.
func (r *Registry) Ref(path string) string { return r.host + "/" + strings.TrimPrefix(path, "/") }

// SetHook replaces the hook for the requests to come; nil removes it.
func (r *Registry) SetHook(hook Hook) {
	if hook == nil {
		r.hook.Store(nil)
		return
	}
	r.hook.Store(&hook)
}

// Close cuts all connections, waits for the handlers to return and stops the
// registry. What is in memory is gone. Closing again does nothing.
func (r *Registry) Close() error { return r.close() }

func (r *Registry) shutdown() error {
	var errs []error
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	if r.server != nil {
		errs = append(errs, r.server.Close())
	}
	r.serving.Wait()
	if r.app != nil {
		errs = append(errs, r.app.Shutdown())
	}
	if r.scratch != "" {
		errs = append(errs, os.RemoveAll(r.scratch))
	}
	return errors.Join(errs...)
}

// Authenticator is what a client shows to this registry.
func (r *Registry) Authenticator() authn.Authenticator {
	if r.user == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: r.user, Password: r.password}
}

// DockerConfig is a Docker configuration file ("config.json") with the
// credentials for this registry, for clients that are programs of their own.
func (r *Registry) DockerConfig() ([]byte, error) {
	type entry struct {
		Auth string `json:"auth"`
	}
	auths := map[string]entry{}
	if r.user != "" {
		auths[r.host] = entry{base64.StdEncoding.EncodeToString([]byte(r.user + ":" + r.password))}
	}
	return json.Marshal(map[string]any{"auths": auths})
}

// Push writes an image, index or manifest to "repository:tag" or
// "repository@digest" in this registry, with its credentials, and returns what
// it was stored as. Its requests are on the record like any other.
func (r *Registry) Push(ctx context.Context, path string, what remote.Taggable) (name.Digest, error) {
	return Push(ctx, r.Ref(path), what, remote.WithAuth(r.Authenticator()))
}
