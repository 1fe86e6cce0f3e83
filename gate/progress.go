package gate

import v1 "github.com/google/go-containerregistry/pkg/v1"

// Stage is one part of a run that takes time.
type Stage string

// The stages, in order.
const (
	Pull    Stage = "pull"
	Catalog Stage = "catalog"
	Scan    Stage = "scan"
	Push    Stage = "push"
)

// Progress receives progress events. Several goroutines may call its methods at once.
type Progress interface {
	// Start reports that a stage begins for a platform or a destination. done is called once, at
	// the end of the stage.
	Start(stage Stage, what string) (done func(error))
	// Bytes reports how many bytes of a blob were transferred. what is the digest of the blob, or
	// the digest and the destination.
	Bytes(stage Stage, what string, done, total int64)
}

type silent struct{}

func (silent) Start(Stage, string) func(error)   { return func(error) {} }
func (silent) Bytes(Stage, string, int64, int64) {}

// pulls reports the store's progress as the stage Pull.
type pulls struct{ Progress }

// Layer reports the bytes of one layer.
func (p pulls) Layer(digest v1.Hash, done, total int64) {
	p.Bytes(Pull, digest.String(), done, total)
}
