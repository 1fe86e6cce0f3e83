package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/trust"
)

// TestPublicKeyOfAManagedKeyIsPrinted checks that "imagegate key public" prints the public key of a
// managed key as the key service returns it, and only with a valid token.
func TestPublicKeyOfAManagedKeyIsPrinted(t *testing.T) {
	_, public, err := trust.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/transit/keys/release" || r.Header.Get("X-Vault-Token") != "token" {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"latest_version": 1, "type": "ecdsa-p256",
			"keys": map[string]any{"1": map[string]any{"name": "ecdsa-p256", "public_key": string(public)}}}}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(vault.Close)
	t.Setenv("VAULT_ADDR", vault.URL)
	for token, want := range map[string]struct {
		code int
		out  string
	}{"token": {exit.OK, string(public)}, "another": {exit.TrustCode, ""}} {
		t.Setenv("VAULT_TOKEN", token)
		var out, errs bytes.Buffer
		code := Run(t.Context(), []string{"imagegate", "key", "public", "hashivault://release"}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
		if code != want.code || out.String() != want.out {
			t.Errorf("token %s: exit code %d\n%s%s", token, code, &out, &errs)
		}
	}
}
