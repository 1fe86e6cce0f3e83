package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// audience is the audience that Fulcio requires in tokens.
const audience = "sigstore"

// maxToken is the maximum size of an identity token in bytes.
const maxToken = 64 << 10

// TokenSource returns an OpenID Connect identity token for Fulcio. It is called for each new
// certificate.
type TokenSource func(context.Context) (string, error)

// ErrNoToken reports that the environment has no identity token.
var ErrNoToken = errors.New("no identity token: this is not a GitHub Actions job with the permission id-token: write, and neither SIGSTORE_ID_TOKEN nor SIGSTORE_ID_TOKEN_FILE is set")

// AmbientToken returns a source for the identity token of a job. It looks in this order:
//
//   - SIGSTORE_ID_TOKEN, set by GitLab if the job has this entry in id_tokens
//   - SIGSTORE_ID_TOKEN_FILE, a file that is read each time
//   - ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN, the token service for
//     jobs of GitHub Actions
//
// AmbientToken never prompts the user. It returns ErrNoToken if none of these variables is set. A
// nil transport means http.DefaultTransport.
func AmbientToken(env func(string) string, transport http.RoundTripper) (TokenSource, error) {
	if token := env("SIGSTORE_ID_TOKEN"); token != "" {
		return func(context.Context) (string, error) { return token, nil }, nil
	}
	if path := env("SIGSTORE_ID_TOKEN_FILE"); path != "" {
		return FileToken(path), nil
	}
	address, bearer := env("ACTIONS_ID_TOKEN_REQUEST_URL"), env("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if address == "" || bearer == "" {
		return nil, ErrNoToken
	}
	return githubToken(address, bearer, &http.Client{Transport: transport}), nil
}

// FileToken returns a source that reads the token from a file for each certificate, because another
// program may renew the token.
func FileToken(path string) TokenSource {
	return func(context.Context) (string, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading the identity token: %w", err)
		}
		data = bytes.TrimSpace(data)
		if len(data) == 0 || len(data) > maxToken {
			return "", fmt.Errorf("reading the identity token: the file %q has %d bytes, expected 1 to 65536", path, len(data))
		}
		return string(data), nil
	}
}

// githubToken returns a source that requests tokens from GitHub Actions, as documented at
// https://docs.github.com/actions/security-for-github-actions/security-hardening-your-deployments/about-security-hardening-with-openid-connect
// Errors contain neither the URL of the token service nor the bearer token.
func githubToken(address, bearer string, client *http.Client) TokenSource {
	return func(ctx context.Context) (string, error) {
		token, err := askGitHub(ctx, address, bearer, client)
		if err != nil {
			var failed *url.Error
			if errors.As(err, &failed) {
				err = failed.Err
			}
			return "", fmt.Errorf("requesting an identity token from GitHub Actions: %w", err)
		}
		return token, nil
	}
}

func askGitHub(ctx context.Context, address, bearer string, client *http.Client) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("the URL of the token service is invalid")
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("unexpected response %s", resp.Status)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil {
		return "", errors.New("the response is not JSON")
	}
	if strings.Count(answer.Value, ".") != 2 {
		return "", errors.New("the response has no identity token")
	}
	return answer.Value, nil
}
