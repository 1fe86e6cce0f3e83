package gate

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Stage is one stage of a run on an image, such as pull or scan.
type Stage string

// The stages of a run, in order.
const (
	Pull    Stage = "pull"
	Catalog Stage = "catalog"
	Scan    Stage = "scan"
	Push    Stage = "push"
)

// Step is one stage of a run on one image.
type Step struct {
	// Image is the reference of the image as the user gave it, not its digest.
	Image string
	Stage Stage
	// Subject is what the step works on: a digest, a platform or a destination.
	Subject string
}

// Progress receives progress events. Several goroutines may call its methods at once, and the
// events of several images may be mixed.
type Progress interface {
	// Start reports that a step begins. The step runs with the returned context, so that a trace of
	// it can be nested in the trace of ctx. done is called once, at the end of the step.
	Start(ctx context.Context, s Step) (_ context.Context, done func(error))
	// Bytes reports how many bytes of a blob a step has transferred. blob is the digest of the
	// blob, or the digest and the destination of a push. Bytes may be called before Start, and the
	// Subject of s may be empty.
	Bytes(s Step, blob string, done, total int64)
}

// NoProgress discards all events.
type NoProgress struct{}

// Start returns the context unchanged.
func (NoProgress) Start(ctx context.Context, _ Step) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// Bytes does nothing.
func (NoProgress) Bytes(Step, string, int64, int64) {}

// pulls reports the progress of a layer store as the progress of a step.
type pulls struct {
	Progress
	step Step
}

// Layer reports the bytes of one layer.
func (p pulls) Layer(digest v1.Hash, done, total int64) {
	p.Bytes(p.step, digest.String(), done, total)
}
