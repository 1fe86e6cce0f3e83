package gate

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Stage is one part of a run that takes time.
type Stage string

// The stages, in order.
const (
	Pull    Stage = "pull"
	Catalog Stage = "catalog"
	Scan    Stage = "scan"
	Push    Stage = "push"
)

// Step is one stage of the work on one image.
type Step struct {
	// Image identifies the image among others: the reference that was given, not its digest.
	Image string
	Stage Stage
	// Subject is the digest, the platform or the destination that the step is about.
	Subject string
}

// Progress receives progress events. Several goroutines may call its methods at once, and the
// events of several images may be mixed.
type Progress interface {
	// Start reports that a step begins. The step runs with the returned context, so that a trace of
	// it can be nested in the trace of ctx. done is called once, at the end of the step.
	Start(ctx context.Context, s Step) (_ context.Context, done func(error))
	// Bytes reports how many bytes of a blob were transferred in a step. blob is the digest of the
	// blob, or the digest and the destination. The step may not have started, and its subject may
	// be empty.
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

// pulls reports the progress of a store as the bytes of a step.
type pulls struct {
	Progress
	step Step
}

// Layer reports the bytes of one layer.
func (p pulls) Layer(digest v1.Hash, done, total int64) {
	p.Bytes(p.step, digest.String(), done, total)
}
