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

	// These blank imports register the storage drivers, the cache and the access controller of the
	// distribution registry.
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// Options describe the registry to start. The zero value is a registry in memory that anyone can
// read and write, with the defaults of a production registry. It refuses manifests with missing
// blobs, indexes with missing children, layers with URLs, and deletions.
type Options struct {
	// Dir is the folder for the registry's content. Another registry can use the folder later.
	// Empty keeps the content in memory.
	Dir string
	// User and Password enable basic authentication against an htpasswd file. With an empty User,
	// anyone can read and write.
	User, Password string
	// ReadOnly sets the registry's maintenance mode: it responds to every write with status 405. To
	// give such a registry content, use the Dir of an earlier registry.
	ReadOnly bool
	// Delete allows deleting manifests, tags and blobs.
	Delete bool
	// ForeignURLs accepts manifests with layers that point to URLs.
	ForeignURLs bool
	// Hook is called with each request before the registry handles it. Default: no hook.
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
	closing bool           // new requests are refused; protected by mu
	serving sync.WaitGroup // the requests in progress; grows only while mu is held
}

// enter counts a request as being in progress. It returns false if the registry is closing.
func (r *Registry) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.serving.Add(1)
	return true
}

// quiet turns off the registry's log. The registry always logs to the standard logger of logrus,
// which is shared by the whole process.
var quiet = sync.OnceFunc(func() { logrus.SetLevel(logrus.PanicLevel) })

// StartRegistry serves a new registry over plain HTTP on a free port of 127.0.0.1. Several
// registries in one process share nothing except the silenced log. The caller must close the
// registry.
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
		_ = r.server.Serve(listener) // Serve always returns ErrServerClosed
	}()
	return r, nil
}

// configure translates Options into the configuration of the distribution registry.
func configure(opts Options, scratch string) (*configuration.Configuration, error) {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"inmemory": {},
			"cache":    {"blobdescriptor": "inmemory"},
			"delete":   {"enabled": opts.Delete},
			"redirect": {"disable": true},
			"maintenance": {
				// Disable the purging of old uploads, because its goroutine would keep running
				// after the test.
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
			return nil, errors.New("Options has a Password and no User")
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

// newApp makes the distribution registry. The registry panics on an invalid configuration; newApp
// returns an error instead.
func newApp(config *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("configuring the registry: %v", p)
		}
	}()
	// The registry runs until Close, so its context must not end with a call.
	return handlers.NewApp(context.Background(), config), nil
}

// serve handles a request: it records the request, calls the hook, and passes the request to the
// registry unless the hook responded.
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

// Host is the registry's address, "127.0.0.1:<port>". Clients use plain HTTP for such an address.
func (r *Registry) Host() string { return r.host }

// Ref returns the reference in this registry for "repository", "repository:tag" or
// "repository@digest".
func (r *Registry) Ref(path string) string { return r.host + "/" + strings.TrimPrefix(path, "/") }

// SetHook replaces the hook for future requests. Nil removes the hook.
func (r *Registry) SetHook(hook Hook) {
	if hook == nil {
		r.hook.Store(nil)
		return
	}
	r.hook.Store(&hook)
}

// Close cuts all connections, waits for the handlers to return and stops the registry. Content in
// memory is lost. Closing again does nothing.
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

// Authenticator returns the credentials for this registry.
func (r *Registry) Authenticator() authn.Authenticator {
	if r.user == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: r.user, Password: r.password}
}

// DockerConfig returns a Docker configuration file ("config.json") with the credentials for this
// registry, for clients in other programs.
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

// Push writes an image, index or manifest to "repository:tag" or "repository@digest" in this
// registry, with the registry's credentials, and returns the digest reference. The requests of Push
// are recorded, too.
func (r *Registry) Push(ctx context.Context, path string, what remote.Taggable) (name.Digest, error) {
	return Push(ctx, r.Ref(path), what, remote.WithAuth(r.Authenticator()))
}
