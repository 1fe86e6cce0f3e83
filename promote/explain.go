package promote

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// Attached is a signature or statement that is attached to an image or to one of its platforms. It
// may be trusted or not.
type Attached struct {
	// Subject is the digest that the item is attached to. Platform is the name of the platform with
	// this digest. It is empty for the image itself.
	Subject  string
	Platform string
	// Form is the signature format.
	Form trust.Format
	// Signature is true if the item is stored as a signature, not as a statement.
	Signature bool
	// PredicateType is the predicate type of a statement. It is trust.SignatureType for a
	// signature, and empty if the item cannot be parsed.
	PredicateType string
	// Digest is the SHA-256 of the signed content, "sha256:<hex>".
	Digest string
	// Signer is the signer of the item. If Trusted is false, it is only a claim. Signer.At is the
	// time that a log or a timestamp authority confirmed. It is proven for a trusted identity, and
	// only a claim otherwise.
	Signer trust.SignerIdentity
	// Result and Decided are the result and the time of a trusted decision.
	Result  string
	Decided time.Time
	// Trusted is true if a trusted signer signed the item and the item is about this image.
	// Otherwise Reason states why the item is not trusted.
	Trusted bool
	Reason  string
}

// Explanation lists everything that is attached to an image.
type Explanation struct {
	Digest   string // the digest of the image
	Attached []Attached
}

// Explain lists everything that is attached to an image and, for an index, to each of its
// platforms. For each item it states whether t trusts the item. Explain does not prove that the
// image passed: the list may even be empty.
func (v *Verifier) Explain(ctx context.Context, ref name.Reference, t Trust) (*Explanation, error) {
	root, err := v.snapshot(nil).manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	out := &Explanation{Digest: root.Digest.String()}
	if out.Attached, err = v.attachedTo(ctx, ref.Context(), root.Digest, "", t); err != nil {
		return nil, err
	}
	platforms, err := namedPlatforms(root)
	if err != nil {
		return nil, &VerifyError{Ref: ref.String(), Reason: err.Error()}
	}
	for _, d := range platforms {
		some, err := v.attachedTo(ctx, ref.Context(), d.Hash, d.platform, t)
		if err != nil {
			return nil, err
		}
		out.Attached = append(out.Attached, some...)
	}
	return out, nil
}

// namedPlatform is the digest of one image of an index, with the name of its platform.
type namedPlatform struct {
	v1.Hash
	platform string
}

func namedPlatforms(root *remote.Descriptor) ([]namedPlatform, error) {
	if !root.MediaType.IsIndex() {
		return nil, nil
	}
	index, err := registry.ParseIndex(root.Manifest)
	if err != nil {
		return nil, fmt.Errorf("parsing the index: %w", err)
	}
	var out []namedPlatform
	for _, child := range index.Platforms {
		name := "unknown"
		if child.Platform != nil {
			name = child.Platform.String()
		}
		out = append(out, namedPlatform{child.Digest, name})
	}
	return out, nil
}

func (v *Verifier) attachedTo(ctx context.Context, repo name.Repository, digest v1.Hash, platform string, t Trust) ([]Attached, error) {
	ref := repo.Digest(digest.String())
	stored, err := attach.List(ctx, v.forms(), ref, v.with(ctx)...)
	if err != nil {
		return nil, registry.NewError(registry.Approved, "reading the signatures of "+ref.String(), err)
	}
	var out []Attached
	for _, s := range stored {
		a := Attached{Subject: digest.String(), Platform: platform, Form: s.Form, Signature: s.Signature != nil}
		a.evaluate(s, repo, digest, t)
		out = append(out, a)
	}
	return out, nil
}

// evaluate fills in a from the stored item s. It decides by the same rules as collect whether the
// item is trusted.
func (a *Attached) evaluate(s attach.Stored, repo name.Repository, digest v1.Hash, t Trust) {
	claimed := s.Unverified()
	a.PredicateType, a.Digest, a.Signer = claimed.PredicateType, claimed.Digest, claimed.Signer
	by, err := a.verify(s, repo, digest, t)
	if err != nil {
		a.Reason = err.Error()
		return
	}
	a.Trusted = true
	if by.At.IsZero() {
		by.At = claimed.Signer.At
	}
	a.Signer = by
}

func (a *Attached) verify(s attach.Stored, repo name.Repository, digest v1.Hash, t Trust) (trust.SignerIdentity, error) {
	repo = t.signedFor(repo)
	if s.Signature != nil {
		return t.VerifySignature(*s.Signature, repo, digest)
	}
	st, by, err := t.VerifyEnvelope(s.Envelope, digest)
	if err != nil || st.PredicateType != DecisionType {
		return by, err
	}
	d, err := decisionFor(repo, st)
	a.Result, a.Decided = d.Result, d.TimeVerified
	return by, err
}

// decisionFor parses a decision and requires it to be for repo. A decision about the same image in
// another repository does not count here, even if it is signed with the same key.
func decisionFor(repo name.Repository, st trust.Statement) (decisionPredicate, error) {
	if err := checkBasis(st.Predicate, resourceURI(repo)); err != nil {
		return decisionPredicate{}, fmt.Errorf("reading the decision sha256:%s: %w", payloadDigest(st.Payload), err)
	}
	d, err := parseDecision(st.Predicate)
	if err != nil {
		return decisionPredicate{}, err
	}
	if d.ResourceURI != resourceURI(repo) {
		return decisionPredicate{}, fmt.Errorf("the decision is for %s, not for %s", d.ResourceURI, resourceURI(repo))
	}
	return d, nil
}
