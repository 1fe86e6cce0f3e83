package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/trust"
)

// defaultKey is the file name of the private key that "imagegate key generate" writes.
const defaultKey = "cosign.key"

// key checks that the key of the user can sign.
func (o Options) key(ctx context.Context) Result {
	fingerprint, err := o.Sign(ctx)
	if err != nil {
		return failed(err, mendKey(o.Key, err))
	}
	return ok("%s can sign, key %s", o.Key, fingerprint)
}

// Mender is an error with the command that fixes its cause.
type Mender interface {
	error
	Mend() string
}

// mendKey returns the command for a key that cannot sign. A nil err means that a key service did
// not respond.
func mendKey(key string, err error) string {
	var (
		own      Mender
		password *trust.PasswordError
		unknown  *trust.SchemeError
	)
	switch {
	case errors.As(err, &own) && own.Mend() != "":
		return own.Mend()
	case errors.As(err, &password):
		return unlockCommand
	case errors.As(err, &unknown):
		return "export IMAGEGATE_KEY=awskms:///alias/NAME"
	case trust.IsKMS(key):
		return mendKMS(key)
	}
	if _, err := os.Stat(defaultKey); key != defaultKey && !errors.Is(err, fs.ErrNotExist) {
		return "export IMAGEGATE_KEY=" + defaultKey
	}
	return "imagegate key generate"
}

// mendKMS returns the command that logs in to a key management service.
func mendKMS(key string) string {
	scheme, _, _ := strings.Cut(key, "://")
	switch scheme {
	case "awskms":
		return "aws sso login"
	case "gcpkms":
		return "gcloud auth application-default login"
	case "azurekms":
		return "az login"
	}
	return `vault login && export VAULT_TOKEN="$(vault print token)"`
}

// identity checks the identity token of a keyless signer.
func (o Options) identity(ctx context.Context) Result {
	token, err := o.Identity(ctx)
	if err != nil {
		return failed(err, identityCommand)
	}
	if token == "" {
		return ok("promote asks for a login in the browser")
	}
	end, dated := tokenExpiry(token)
	switch {
	case !dated:
		return warned(identityCommand, "the identity token does not state when it expires")
	case !o.Now().Before(end):
		return failed(&ExpiredError{End: end, Now: o.Now()}, identityCommand)
	}
	return ok("the identity token is valid until %s", end.UTC().Format(time.RFC3339))
}

// ExpiredError means that the identity token has expired.
type ExpiredError struct{ End, Now time.Time }

// Error says when the token expired.
func (e *ExpiredError) Error() string {
	return fmt.Sprintf("the identity token expired at %s, %s ago", e.End.UTC().Format(time.RFC3339), e.Now.Sub(e.End).Round(time.Second))
}

// sigstore checks that the Sigstore services and the trusted root can be fetched.
func (o Options) sigstore(context.Context) Result {
	if err := o.Sigstore(); err != nil {
		return failed(err, rootCommand)
	}
	return ok("the trusted root and the services are available")
}

// feed checks which database the feed offers. If the default feed cannot be reached, the result is
// only a warning: only "db update" uses the feed, and the user may import databases instead.
func (o Options) feed(ctx context.Context, clocks *clocks) Result {
	offered, err := o.Feed(ctx, clocks.watch)
	switch {
	case err == nil:
		return ok("%s offers a database that was built %s", offered.URL, offered.Built.UTC().Format(time.RFC3339))
	case o.FeedURL == "":
		return warned(o.importCommand(), "%v", err)
	}
	return failed(err, o.importCommand())
}
