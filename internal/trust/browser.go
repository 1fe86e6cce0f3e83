package trust

import (
	"context"
	"fmt"
	"io"

	"github.com/sigstore/sigstore/pkg/oauthflow"
)

// clientID is how the programs of a Sigstore introduce themselves to its issuer.
const clientID = "sigstore"

// BrowserToken has a person at a terminal log in with a browser, each time that a
// token is asked for. in and out are the terminal: where no browser opens, it is
// told what to visit and asked for the code that is shown there. The issuer is the
// URL of an OpenID Connect provider, see Services.Issuer.
func BrowserToken(issuer string, in io.Reader, out io.Writer) TokenSource {
	return func(ctx context.Context) (string, error) {
		type answer struct {
			token *oauthflow.OIDCIDToken
			err   error
		}
		// The library waits for two minutes and takes no context.
		answers := make(chan answer, 1)
		go func() {
			getter := &oauthflow.InteractiveIDTokenGetter{HTMLPage: oauthflow.DefaultIDTokenGetter.HTMLPage, Input: in, Output: out}
			token, err := oauthflow.OIDConnect(issuer, clientID, "", "", getter)
			answers <- answer{token, err}
		}()
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case a := <-answers:
			if a.err != nil {
				return "", fmt.Errorf("logging in at %s: %w", issuer, a.err)
			}
			return a.token.RawString, nil
		}
	}
}
