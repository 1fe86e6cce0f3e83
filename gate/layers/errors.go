package layers

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// CorruptError means that content is invalid or does not match its digest, size or diffID.
type CorruptError struct {
	Digest v1.Hash // digest of the blob or manifest
	Reason string
}

// Error returns the digest and the reason.
func (e *CorruptError) Error() string { return fmt.Sprintf("%s is corrupt: %s", e.Digest, e.Reason) }

// RefusedError means that an image is built in a way that imagegate does not support or that is not
// safe to promote.
type RefusedError struct{ Reason string }

// Error returns the reason.
func (e *RefusedError) Error() string { return e.Reason }

// NotRegistry marks the error as one that was not caused by a registry.
func (e *RefusedError) NotRegistry() {}

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }
