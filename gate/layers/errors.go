package layers

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// CorruptError says that content is not what its digest, size or diffID says.
type CorruptError struct {
	Digest v1.Hash // of the blob or manifest
	Reason string
}

// Error names the digest and what is wrong.
func (e *CorruptError) Error() string { return fmt.Sprintf("%s is corrupt: %s", e.Digest, e.Reason) }

// RefusedError says that an image is made in a way that is not supported or not
// safe to promote.
type RefusedError struct{ Reason string }

// Error gives the reason.
func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }
