package cli

import (
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/names"
	"github.com/imagegate/imagegate/internal/registry"
)

var insecureFlag = &cli.StringSliceFlag{Name: "insecure-registry", EnvVars: []string{"IMAGEGATE_INSECURE_REGISTRY"},
	Usage: "use plain HTTP for the registry `HOST[:PORT]`. Loopback addresses do not need the flag. Repeatable"}

// access holds the credentials and the transport for registries.
type access struct {
	keychain  authn.Keychain
	transport http.RoundTripper
}

// registryAccess builds the credentials and the transport from the registry flags.
func registryAccess(c *cli.Context) (access, error) {
	plain := registry.PlainHTTP{Hosts: map[string]bool{}, Next: registry.NewTransport(registry.IdleTimeout)}
	for _, s := range strings.FieldsFunc(strings.Join(c.StringSlice("insecure-registry"), ","), isComma) {
		host, err := names.NormalizeHost(s)
		switch {
		case err != nil:
			return access{}, exit.Usagef("invalid --insecure-registry %q: must be HOST or HOST:PORT: %v", s, err)
		case strings.HasSuffix(s, ":443") || strings.HasSuffix(host, ":443"):
			return access{}, exit.Usagef("invalid --insecure-registry %q: port 443 is for TLS. Give HOST:PORT with the plain HTTP port of the registry", s)
		}
		plain.Hosts[registry.PlainHost(host)] = true
	}
	home, _ := os.UserHomeDir() // after an error, home is "", which means none
	return access{transport: plain,
		keychain: credentials.New(credentials.Options{Getenv: os.Getenv, Home: home, RunDir: credentials.PodmanRunDir(), PlainHTTP: plain.Allows, Chosen: loginsOf(c.App).Add})}, nil
}

// isComma reports whether r is a comma. Commas separate registries in one flag value, because a
// host name cannot contain a comma.
func isComma(r rune) bool { return r == ',' }

// options returns the options for the registry client.
func (a access) options() []remote.Option {
	return registry.Options{Keychain: a.keychain, Transport: a.transport, UserAgent: userAgent()}.Remote()
}

// loginsKey is the key of the logins in the metadata of the app.
const loginsKey = "logins"

// loginsOf returns the logins that the command used so far.
func loginsOf(app *cli.App) *exit.Logins { return app.Metadata[loginsKey].(*exit.Logins) }
