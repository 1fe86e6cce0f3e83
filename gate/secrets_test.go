package gate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy"
)

func TestSecretsInVariables(t *testing.T) {
	s, err := loadSecrets()
	if err != nil {
		t.Fatal(err)
	}
	for assignment, want := range map[string]string{
		"AWS_ACCESS_KEY_ID=AKIAQYLPMN5H" + "HHFPZAM2":                                    "aws-access-token",
		"GITHUB_TOKEN=ghp_016c7e1d3b7d4f3e9c1a" + "5b2d8f0e4c6a9b7d":                     "github-pat",
		"X=ghp_016c7e1d3b7d4f3e9c1a" + "5b2d8f0e4c6a9b7d # gitleaks:allow":               "github-pat",
		"POSTGRES_PASSWORD=hunter2hunter2":                                               "confidential-variable",
		"DB_PASSWD=x1":                                                                   "confidential-variable",
		"API_TOKEN=abc":                                                                  "confidential-variable",
		"POSTGRES_PASSWORD_FILE=/run/secrets/password":                                   "",
		"POSTGRES_PASSWORD=":                                                             "",
		"POSTGRES_PASSWORD=${OTHER}":                                                     "",
		"SSL_PRIVATE_KEY=/etc/ssl/private/key.pem":                                       "",
		"PATH=/usr/local/bin:/usr/bin":                                                   "",
		"GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568":                               "",
		"PYTHON_SHA256=ae665bc678abd9ab6a6e1573d2481625a53719bc517e9a634ed2b9fefae3817f": "",
		"NGINX_GPGKEYS=573BFD6B3D8FBC641079A6ABABF5BD827BD9BF62 8540A6F18833A80E9C1653A42FD21310B": "",
	} {
		if got := strings.Join(s.variable(assignment), ","); got != want {
			t.Errorf("%s: %q, not %q", assignment, got, want)
		}
	}
}

// TestSecretIsNotInTheEvidence, in which it would reach reports and signed
// statements.
func TestSecretIsNotInTheEvidence(t *testing.T) {
	h := newTester(t)
	spec := clean
	const secret = "ghp_016c7e1d3b7d4f3e9c1a" + "5b2d8f0e4c6a9b7d"
	spec.Env = []string{"PATH=/bin", "TOKEN=" + secret}
	spec.User = "app"
	r := h.check(h.gate(blockCritical), h.push("app:1", h.image(spec)))
	got := r.Input.Platforms[0].Config
	if !slices.Equal(got.Secrets, []policy.Secret{{Where: "environment variable TOKEN", Kind: "github-pat"}}) {
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
