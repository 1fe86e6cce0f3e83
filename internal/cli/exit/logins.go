package exit

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/registry"
)

// Logins records the credentials that a command used, so that the error about a refused login can
// name the user and the source.
type Logins struct {
	mu  sync.Mutex
	all []credentials.Login
}

// Add records that the command used the login one.
func (l *Logins) Add(one credentials.Login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, one)
}

// find returns the last login for a host. A refusal may come from another host, such as a token
// server: if the command used only one registry, find returns the login for that registry.
func (l *Logins) find(host string) (credentials.Login, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	registries := map[string]credentials.Login{}
	for _, one := range l.all {
		registries[one.Registry] = one
	}
	if found, ok := registries[host]; ok {
		return found, true
	}
	for _, only := range registries {
		return only, len(registries) == 1
	}
	return credentials.Login{}, false
}

// Describe describes the login that was last used for a registry, such as "the login of user "ci"
// from ~/.docker/config.json". It returns "" if there was none.
func (l *Logins) Describe(host string) string {
	login, ok := l.find(host)
	if !ok || login.Source == "" {
		return ""
	}
	return fmt.Sprintf("the login%s from %s", (&refusedError{login: login}).user(), withTilde(login.Source))
}

// refusedError is a registry's refusal together with the login that it refused.
type refusedError struct {
	error
	login credentials.Login
}

func (e *refusedError) Unwrap() error { return e.error }

// Explain adds the refused login to a registry error with status 401 or 403. It returns other
// errors unchanged.
func (l *Logins) Explain(err error) error {
	var failure *registry.Error
	var failed *transport.Error
	if !errors.As(err, &failure) || !isStatus(err, http.StatusUnauthorized, http.StatusForbidden) || !errors.As(err, &failed) || failed.Request == nil ||
		strings.Contains(failed.Request.URL.Path, "/referrers/") { // a registry may refuse only its list of referrers
		return err
	}
	if login, ok := l.find(failed.Request.URL.Host); ok {
		return &refusedError{err, login}
	}
	return err
}

// Hint names the refused credentials and how to log in again.
func (e *refusedError) Hint() string {
	again := fmt.Sprintf("log in with \"docker login %s\"", e.login.Registry)
	switch {
	case e.login.Source == "":
		return fmt.Sprintf("no credentials for %s were found: %s or set up a credential helper", e.login.Registry, again)
	case isStatus(e.error, http.StatusForbidden):
		return fmt.Sprintf("%s accepts the login%s from %s, but not for this repository or operation", e.login.Registry, e.user(), withTilde(e.login.Source))
	}
	return fmt.Sprintf("%s refused the login%s from %s: %s again", e.login.Registry, e.user(), withTilde(e.login.Source), again)
}

func (e *refusedError) user() string {
	if e.login.User == "" || strings.HasPrefix(e.login.User, "<") { // a token has no user
		return ""
	}
	return fmt.Sprintf(" of user %q", e.login.User)
}

// withTilde replaces the home folder at the start of a path with "~".
func withTilde(path string) string {
	home, err := os.UserHomeDir()
	if err != nil || home == "" {
		return path
	}
	return strings.ReplaceAll(path, home+string(filepath.Separator), "~"+string(filepath.Separator))
}
