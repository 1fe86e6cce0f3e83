package gate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

// TestSecretIsNotInTheEvidence checks that the evidence does not contain the value of a secret.
// Reports and signed statements are made from the evidence.
func TestSecretIsNotInTheEvidence(t *testing.T) {
	h := newTester(t)
	spec := clean
	const secret = "ghp_016c7e1d3b7d4f3e9c1a" + "5b2d8f0e4c6a9b7d"
	spec.Env = []string{"PATH=/bin", "TOKEN=" + secret}
	spec.Labels = map[string]string{"deploy.token": secret}
	spec.User = "app"
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	got := r.Input.Platforms[0].Config
	if !slices.Equal(got.Secrets, []evidence.Secret{{Where: "environment variable TOKEN", Kind: "github-pat"}, {Where: "label deploy.token", Kind: "github-pat"}}) {
		t.Errorf("%+v", got.Secrets)
	}
	if got.User != "app" || !slices.Equal(got.Env, []string{"PATH", "TOKEN"}) {
		t.Errorf("%+v", got)
	}
	encoded, err := json.Marshal(r.Input)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(encoded), secret) {
		t.Error("the secret is in the evidence")
	}
}
