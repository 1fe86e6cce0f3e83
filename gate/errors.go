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

// RegistryError says that a registry failed, refused, or sent what it should
// not have. Trying again may help.
type RegistryError struct {
	Side  Side
	Doing string // "resolving registry.example/app:1"
	Err   error
}

// Error says which side failed, at what and why.
func (e *RegistryError) Error() string {
	return fmt.Sprintf("%s registry: %s: %s", e.Side, e.Doing, withoutSecrets(e.Err))
}

// InputError says that the caller named something that is not there: a platform
// that the image does not have, a local path, a container engine that does not run.
type InputError struct{ Err error }

// Error is the cause's text.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// inputError makes an *InputError if missing is true.
func inputError(missing bool, err error) error {
	if err == nil || !missing {
		return err
	}
	return &InputError{err}
}

// withoutSecrets is an error's text without the queries of the addresses in it:
// those of uploads and of redirects to a storage hold credentials.
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

// NewRegistryError wraps what went wrong with a registry or on the way to it.
// What is known not to be its fault keeps the words and gets no such type: an
// image that is refused, a file that cannot be written. Cancellation is
// returned as it is.
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

// refuse says that an image is made in a way that is not promoted.
func refuse(format string, args ...any) error {
	return &layers.RefusedError{Reason: fmt.Sprintf(format, args...)}
}
