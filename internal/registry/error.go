package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
)

// Side is one of the two registries of a promotion.
type Side string

// The two sides of a promotion.
const (
	Staging  Side = "staging"
	Approved Side = "approved"
)

// Error means that a registry failed, refused the request, or sent an invalid response. Retrying
// may help.
type Error struct {
	Side  Side
	Doing string // what was attempted, such as "resolving registry.example/app:1"
	Err   error
}

// Error names the side, the operation and the cause, without credentials in URLs.
func (e *Error) Error() string {
	return fmt.Sprintf("%s registry: %s: %s", e.Side, e.Doing, withoutSecrets(e.Err))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// NotRegistry is implemented by errors that can occur during a registry request but are caused by
// the image or by the user. NewError does not blame the registry for them.
type NotRegistry interface {
	error
	NotRegistry()
}

// NewError wraps an error of a registry or of the connection to it in an *Error. It does not wrap
// an error that has another cause: a [NotRegistry] error, or a local file that cannot be read or
// written. Cancellation and an existing *Error are returned unchanged.
func NewError(side Side, doing string, err error) error {
	var (
		already *Error
		other   NotRegistry
		file    *fs.PathError
		link    *os.LinkError
	)
	switch {
	case err == nil, errors.As(err, &already), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &other), errors.As(err, &file), errors.As(err, &link):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &Error{Side: side, Doing: doing, Err: err}
}

// withoutSecrets returns the text of an error, with the query of a URL in the text replaced by
// "...". The queries of upload URLs and of redirects to storage contain credentials.
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
