package trust

import (
	"context"
	"fmt"
	"io"

	"github.com/sigstore/sigstore/pkg/oauthflow"
)

// clientID is the OAuth client that all Sigstore programs use.
const clientID = "sigstore"

// BrowserToken returns a source that asks the user to log in with a browser for each token. in and
// out are the terminal: if a browser cannot be opened, the source prints a URL there and asks for
// the code that the page shows. issuer is the URL of an OpenID Connect provider, see
// Services.Issuer.
func BrowserToken(issuer string, in io.Reader, out io.Writer) TokenSource {
	return func(ctx context.Context) (string, error) {
		type answer struct {
			token *oauthflow.OIDCIDToken
			err   error
		}
		// oauthflow waits for up to two minutes and cannot be canceled, so it runs in a goroutine
		// of its own.
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
