package trust

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func environment(pairs map[string]string) func(string) string {
	return func(key string) string { return pairs[key] }
}

func TestAmbientIdentityIsFound(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer job" || r.URL.Query().Get("audience") != "sigstore" || r.URL.Query().Get("api-version") != "2.0" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		reply(w, map[string]any{"value": "git.hub.token"})
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("fi.le.token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	github := map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": server.URL + "/?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job"}
	for want, env := range map[string]map[string]string{
		"git.lab.token": {"SIGSTORE_ID_TOKEN": "git.lab.token"},
		"fi.le.token":   {"SIGSTORE_ID_TOKEN_FILE": file},
		"git.hub.token": github,
	} {
		source, err := AmbientToken(environment(env), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := source(t.Context()); err != nil || got != want {
			t.Errorf("%q, %v: want %q", got, err, want)
		}
	}
	for _, env := range []map[string]string{{}, {"ACTIONS_ID_TOKEN_REQUEST_URL": server.URL}, {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job"}} {
		if _, err := AmbientToken(environment(env), nil); !errors.Is(err, ErrNoToken) {
			t.Errorf("%v: %v", env, err)
		}
	}
}

// TestInvalidTokenIsRefused checks that an invalid response of the token service is an error. The
// error must contain neither the service's URL nor the bearer token: with both, anyone could
// request tokens.
func TestInvalidTokenIsRefused(t *testing.T) {
	for what, answer := range map[string]http.HandlerFunc{
		"denied":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"a page":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"nothing":  func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{}) },
		"no token": func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"value": "token"}) },
		"endless": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"value":"`))
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat("x", 4096))); err != nil {
					return
				}
			}
		},
		"cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := httptest.NewServer(answer)
		source, err := AmbientToken(environment(map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": server.URL + "/secret-path", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret-bearer"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := source(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		server.Close()
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": " \n", "large": strings.Repeat("x", maxToken+1)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := FileToken(path)(t.Context()); err == nil {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}
