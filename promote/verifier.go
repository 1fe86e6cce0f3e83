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
	// Format selects how signatures and statements are stored. The zero value is trust.Legacy. A
	// Verifier uses it only with OnlyFormat.
	Format trust.Format
	// OnlyFormat reads statements in that form alone. The default is to fail if statements in the
	// other form are unreadable, because a newer decision may be among them.
	OnlyFormat bool
	// MoveTag allows moving an approved tag that names another digest. The default is to refuse.
	MoveTag bool
	// Keychain and Transport are used for the approved registries. Nil means no credentials and
	// http.DefaultTransport.
	Keychain  authn.Keychain
	Transport http.RoundTripper
	// UserAgent is sent to the registries. Empty means the default of the registry library.
	UserAgent string
	// Parallel limits how many blobs are transferred at once. 0 means 4.
	Parallel int
}

// Verifier reads approved registries and accepts only signed content. It has no key and writes
// nothing.
type Verifier struct {
	opts   VerifierOptions
	remote []remote.Option
}

// NewVerifier returns a Verifier, or an error if a required option is missing.
func NewVerifier(opts VerifierOptions) (*Verifier, error) {
	if opts.Now == nil {
		return nil, errors.New("no clock")
	}
	if opts.Parallel == 0 {
		opts.Parallel = 4
	}
	return &Verifier{opts: opts, remote: registry.Options{Keychain: opts.Keychain, Transport: opts.Transport,
		UserAgent: opts.UserAgent, Jobs: opts.Parallel}.Remote()}, nil
}

// with adds the context of one call.
func (v *Verifier) with(ctx context.Context) []remote.Option { return registry.With(ctx, v.remote) }

// forms returns the forms of storage that are searched for statements.
func (v *Verifier) forms() trust.Format {
	if v.opts.OnlyFormat {
		return v.opts.Format
	}
	return trust.Both
}

// Verify proves from the approved registry alone that the image passed. The image must be signed
// for its digest and for this very repository, or for the repository that t names. Every statement
// must be there, signed, about the image and listed in the decision. The decision must be a pass
// or, if t allows it, a denial with an override.
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
