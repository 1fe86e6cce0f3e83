package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/imagegate/imagegate/gate/layers"
)

// Side is one of the two registries of a promotion.
type Side string

// The sides.
const (
	Staging  Side = "staging"
	Approved Side = "approved"
)

// RegistryError means that a registry failed, refused the request, or sent an invalid answer.
// Retrying may help.
type RegistryError struct {
	Side  Side
	Doing string // "resolving registry.example/app:1"
	Err   error
}

// Error names the side, the operation and the cause, without credentials in URLs.
func (e *RegistryError) Error() string {
	return fmt.Sprintf("%s registry: %s: %s", e.Side, e.Doing, withoutSecrets(e.Err))
}

// InputError means that the user named something that does not exist: a platform that the image
// does not have, a local path, or a container engine that is not running.
type InputError struct{ Err error }

// Error is the cause's text.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// inputError wraps err in an *InputError if missing is true.
func inputError(missing bool, err error) error {
	if err == nil || !missing {
		return err
	}
	return &InputError{err}
}

// withoutSecrets returns the text of an error without the query of the URL in it. The queries of
// upload URLs and of redirects to storage contain credentials.
func withoutSecrets(err error) string {
	text := err.Error()
	var failed *url.Error
	if !errors.As(err, &failed) {
		return text
	}
	if _, query, ok := strings.Cut(failed.URL, "?"); ok && query != "" {
		text = strings.ReplaceAll(text, query, "...")
	}
	return text
}

// Unwrap returns the cause.
func (e *RegistryError) Unwrap() error { return e.Err }

// NewRegistryError wraps an error of a registry or of the connection to it. An error that is known
// to have another cause keeps its type: a refused image, or a file that cannot be written.
// Cancellation is returned unchanged.
func NewRegistryError(side Side, doing string, err error) error {
	var already *RegistryError
	if err == nil || errors.As(err, &already) || errors.Is(err, context.Canceled) {
		return err
	}
	if ownFault(err) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &RegistryError{Side: side, Doing: doing, Err: err}
}

func ownFault(err error) bool {
	var (
		refused *layers.RefusedError
		input   *InputError
		file    *fs.PathError
		link    *os.LinkError
	)
	return errors.As(err, &refused) || errors.As(err, &input) || errors.As(err, &file) || errors.As(err, &link) || errors.Is(err, layers.ErrTooLarge)
}

// refuse returns the error for an image that imagegate does not promote because of how it is built.
func refuse(format string, args ...any) error {
	return &layers.RefusedError{Reason: fmt.Sprintf(format, args...)}
}
