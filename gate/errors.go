package gate

import (
	"fmt"

	"github.com/imagegate/imagegate/gate/layers"
)

// InputError means that something that the user named does not exist: a platform that the image
// does not have, a local path, or a container engine that is not running.
type InputError struct{ Err error }

// Error returns the message of the cause.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// NotRegistry marks the error as one that was not caused by a registry.
func (e *InputError) NotRegistry() {}

// inputError returns err as an *InputError if missing is true, and unchanged otherwise.
func inputError(missing bool, err error) error {
	if err == nil || !missing {
		return err
	}
	return &InputError{err}
}

// refuse returns the error for an image that imagegate does not promote because of the way it is
// built.
func refuse(format string, args ...any) error {
	return &layers.RefusedError{Reason: fmt.Sprintf(format, args...)}
}
