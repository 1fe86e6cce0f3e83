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

// Progress is told what a run is doing. Its methods may be called by several
// goroutines at once.
type Progress interface {
	// Start says that a stage begins on something, a platform or a
	// destination. The function it returns is called once, at the end.
	Start(stage Stage, what string) (done func(error))
	// Bytes says that so many of a blob's bytes have passed; what is its
	// digest, or its digest and destination.
	Bytes(stage Stage, what string, done, total int64)
}

type silent struct{}

func (silent) Start(Stage, string) func(error)   { return func(error) {} }
func (silent) Bytes(Stage, string, int64, int64) {}

// pulls tells the layers' progress as that of a stage.
type pulls struct{ Progress }

// Layer is told by the store.
func (p pulls) Layer(digest v1.Hash, done, total int64) {
	p.Bytes(Pull, digest.String(), done, total)
}
