package promote

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// VerifierOptions configure a Verifier. Only Now is required.
type VerifierOptions struct {
	// Now returns the current time.
	Now func() time.Time
	// Format selects how signatures and statements are stored. Default: trust.Legacy. A Verifier
	// uses it only with OnlyFormat.
	Format trust.Format
	// OnlyFormat makes reads use only the format in Format. Default: read both formats, and fail if
	// one of them is unreadable, because it may have a newer decision.
	OnlyFormat bool
	// MoveTag allows moving an approved tag that points to another digest. Default: return a
	// *TagConflictError.
	MoveTag bool
	// Keychain and Transport are used for the approved registries. Default: no credentials, and
	// http.DefaultTransport.
	Keychain  authn.Keychain
	Transport http.RoundTripper
	// UserAgent is sent to the registries. Default: the user agent of go-containerregistry.
	UserAgent string
	// Parallel is the maximum number of blobs that are transferred at once. Default: 4.
	Parallel int
}

// Verifier reads approved registries and accepts only content that a trusted signer signed. It has
// no signing key and does not write.
type Verifier struct {
	opts   VerifierOptions
	remote []remote.Option
}

// NewVerifier returns a Verifier, or an error if a required option is missing.
func NewVerifier(opts VerifierOptions) (*Verifier, error) {
	if opts.Now == nil {
		return nil, errors.New("no clock given")
	}
	if opts.Parallel == 0 {
		opts.Parallel = 4
	}
	return &Verifier{opts: opts, remote: registry.Options{Keychain: opts.Keychain, Transport: opts.Transport,
		UserAgent: opts.UserAgent, Jobs: opts.Parallel}.Remote()}, nil
}

// with returns the options for requests in the context ctx.
func (v *Verifier) with(ctx context.Context) []remote.Option { return registry.With(ctx, v.remote) }

// forms returns the signature formats that the Verifier reads.
func (v *Verifier) forms() trust.Format {
	if v.opts.OnlyFormat {
		return v.opts.Format
	}
	return trust.Both
}

// Verify proves from the approved registry alone that the image passed. The image must be signed
// for its digest and for its repository, or for the repository that t names. Every required
// statement must be attached, signed, about the image and listed in the decision. The decision must
// be a pass or, if t allows it, a denial with an override.
//
// A *VerifyError means that the image does not prove this. After any other error, the result is
// unknown.
func (v *Verifier) Verify(ctx context.Context, ref name.Reference, t Trust) (*Record, error) {
	tag, ok := ref.(name.Tag)
	if ok && !t.AnyTag {
		t.Tag = tag.TagStr()
	}
	record, err := v.snapshot(nil).verify(ctx, ref, t, v.forms())
	if err != nil {
		return nil, err
	}
	if ok {
		record.Tag = tag.TagStr()
	}
	record.SignedFor = t.otherName(ref.Context())
	return record, nil
}
