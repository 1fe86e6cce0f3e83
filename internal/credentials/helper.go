package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	helperPrefix = "docker-credential-"
	// helperTimeout is the time after which a credential helper is stopped, because it may be
	// waiting for user input.
	helperTimeout = 60 * time.Second
	// maxHelperBytes is the maximum size of a credential helper's output.
	maxHelperBytes = 1 << 20
	// tokenUser is the user name that a credential helper returns if the secret is an identity
	// token.
	tokenUser = "<token>"
)

// notFound lists the messages that credential helpers print if they have no credentials for the
// registry: https://github.com/docker/docker-credential-helpers/blob/v0.9.5/credentials/error.go
var notFound = []string{"credentials not found in native keychain", "credentials not found in keychain"}

// askHelper asks a credential helper for the credentials of each server name in turn, and returns
// the first that it finds. It returns nil without an error if the helper has none.
func askHelper(ctx context.Context, name string, servers []string) (*authn.AuthConfig, error) {
	if strings.ContainsAny(name, `/\`) {
		return nil, errors.New("the name of a credential helper must not contain a slash")
	}
	for _, server := range servers {
		found, err := runHelper(ctx, helperPrefix+name, server)
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

func runHelper(ctx context.Context, program, server string) (*authn.AuthConfig, error) {
	limited, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(limited, program, "get") //nolint:gosec // the user's configuration names the program
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(server)
	stdout, stderr := &bounded{}, &bounded{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, fmt.Errorf("the credential helper did not finish within %s", helperTimeout)
	case err != nil && errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("the credential helper is not in PATH")
	case err != nil:
		return nil, helperFailed(err, string(stdout.kept), string(stderr.kept))
	}
	return parseAnswer(stdout.kept)
}

// helperFailed returns the error of a failed credential helper. It returns nil if the helper only
// reports that it has no credentials.
func helperFailed(err error, stdout, stderr string) error {
	for _, answer := range notFound {
		if strings.Contains(strings.ToLower(stdout), answer) {
			return nil
		}
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	for _, output := range []string{stderr, stdout} {
		if line := lastLine(output); line != "" {
			return fmt.Errorf("%w: %s", err, line)
		}
	}
	return err
}

// lastLine returns the last line of a credential helper's output, shortened to 200 characters. It
// returns "" if the output looks like JSON, which may contain the secret.
func lastLine(output string) string {
	output = strings.TrimSpace(output)
	if strings.ContainsAny(output, "{}") {
		return ""
	}
	line := output[strings.LastIndexByte(output, '\n')+1:]
	return fmt.Sprintf("%.200s", line)
}

func parseAnswer(stdout []byte) (*authn.AuthConfig, error) {
	var answer struct{ Username, Secret string }
	if len(stdout) > maxHelperBytes || json.Unmarshal(stdout, &answer) != nil { // the error is not returned, because its text may quote the secret
		return nil, errors.New("the output of the credential helper is not a JSON object with Username and Secret")
	}
	switch {
	case answer.Username == "" && answer.Secret == "":
		return nil, nil
	case answer.Username == tokenUser:
		return checked(authn.AuthConfig{IdentityToken: strings.TrimRight(answer.Secret, "\r\n")})
	}
	return checked(authn.AuthConfig{Username: answer.Username, Password: strings.TrimRight(answer.Secret, "\r\n")})
}

// bounded is a writer that keeps only the first maxHelperBytes+1 bytes. They are enough to detect
// that the output is too long.
type bounded struct{ kept []byte }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxHelperBytes + 1 - len(b.kept); room > 0 {
		b.kept = append(b.kept, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
