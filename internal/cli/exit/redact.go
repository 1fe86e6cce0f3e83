package exit

import (
	"os"

	"github.com/imagegate/imagegate/internal/redact"
)

// secretVariables are environment variables that may hold secrets in CI. imagegate must not print
// their values, because an error of another program or library may quote them.
var secretVariables = []string{"COSIGN_PASSWORD", "VAULT_TOKEN", "SIGSTORE_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
	"ACTIONS_RUNTIME_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_JOB_JWT", "CI_REGISTRY_PASSWORD",
	"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "DOCKER_AUTH_CONFIG"}

// Redact removes secrets that must not reach a log or a report: user names, passwords and queries
// in URLs, and the values of secretVariables.
func Redact(text string) string {
	values := make([]string, len(secretVariables))
	for i, name := range secretVariables {
		values[i] = os.Getenv(name)
	}
	return redact.Text(text, values...)
}
