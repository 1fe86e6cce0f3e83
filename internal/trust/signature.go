package trust

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// SignatureType is the predicate type of a statement that is only a signature, as cosign writes it.
const SignatureType = "https://sigstore.dev/cosign/sign/v1"

// Signature is a signature over the digest of an image. In the legacy format, it is a document with
// a separate signature:
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
// In a bundle, it is a signed statement, and only the field Statement is set.
type Signature struct {
	// Payload holds exactly the bytes of the document that were signed.
	Payload []byte
	// Base64 is the signature over Payload.
	Base64 string
	// Bundle is a Sigstore bundle of the same signature, in JSON. It is nil if the signature is
	// verified with a key alone.
	Bundle []byte
	// Statement is the signed statement with the predicate type SignatureType, for a bundle.
	Statement Envelope
}

// SignImage signs a digest in a repository, once for each signature format that f selects. The same
// digest and repository always give the same signed content. SignImage sends requests to the signer
// and its services, but not to a registry.
//
// The repository is part of the signed content: the docker-reference of the document, and the name
// of the statement's subject. cosign leaves the name of the subject empty, but accepts statements
// that have one.
func SignImage(ctx context.Context, s *Signer, f Format, repo name.Repository, digest v1.Hash) ([]Signature, error) {
	ref := repo.Digest(digest.String())
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("signing %s: %w", ref, err)
	}
	var out []Signature
	if f.HasLegacy() {
		sig, err := signDocument(ctx, s, ref)
		if err != nil {
			return nil, fmt.Errorf("signing %s: %w", ref, err)
		}
		out = append(out, sig)
	}
	if f.HasBundle() {
		env, err := Attest(ctx, s, Bundle, Statement{PredicateType: SignatureType, Predicate: json.RawMessage("{}"),
			Subjects: []Subject{{Name: repo.Name(), Digest: digest}}})
		if err != nil {
			return nil, fmt.Errorf("signing %s: %w", ref, err)
		}
		out = append(out, Signature{Statement: env})
	}
	return out, nil
}

func signDocument(ctx context.Context, s *Signer, ref name.Digest) (Signature, error) {
	doc, err := payload.Cosign{Image: ref}.MarshalJSON()
	if err != nil {
		return Signature{}, err
	}
	if s.isPlain() {
		sig, err := s.key.Sign(ctx, doc)
		if err != nil {
			return Signature{}, err
		}
		return Signature{Payload: doc, Base64: base64.StdEncoding.EncodeToString(sig)}, nil
	}
	b, err := s.signBundle(ctx, &sign.PlainData{Data: doc})
	if err != nil {
		return Signature{}, err
	}
	raw, err := encodeBundle(b)
	if err != nil {
		return Signature{}, err
	}
	return Signature{Payload: doc, Base64: base64.StdEncoding.EncodeToString(b.GetMessageSignature().GetSignature()), Bundle: raw}, nil
}

// OtherRepositoryError reports that a trusted signer signed the digest for another repository.
type OtherRepositoryError struct{ Signed, Want string }

// Error names both repositories.
func (e *OtherRepositoryError) Error() string {
	return fmt.Sprintf("the signature is for the repository %q, not for %s", e.Signed, e.Want)
}

// VerifySignature verifies that a trusted signer signed this digest for this repository, and
// returns the signer. Unlike cosign, it compares the repository, so that a signature cannot be
// copied to another repository.
func (t Trust) VerifySignature(s Signature, repo name.Repository, digest v1.Hash) (SignerIdentity, error) {
	if s.Statement != nil {
		return t.verifySignatureStatement(s.Statement, repo, digest)
	}
	by, err := t.VerifyAnyDocument(s)
	if err != nil {
		return SignerIdentity{}, err
	}
	var doc payload.SimpleContainerImage
	if err := json.Unmarshal(s.Payload, &doc); err != nil {
		return SignerIdentity{}, fmt.Errorf("reading a signed document: %w", err)
	}
	switch {
	case doc.Critical.Type != payload.CosignSignatureType:
		return SignerIdentity{}, fmt.Errorf("the type %q of the signed document is not a cosign signature", doc.Critical.Type)
	case doc.Critical.Image.DockerManifestDigest != digest.String():
		return SignerIdentity{}, fmt.Errorf("the signature is for the digest %q, not for %s", doc.Critical.Image.DockerManifestDigest, digest)
	case doc.Critical.Identity.DockerReference != repo.Name():
		return SignerIdentity{}, &OtherRepositoryError{Signed: doc.Critical.Identity.DockerReference, Want: repo.Name()}
	}
	return by, nil
}

func (t Trust) verifySignatureStatement(e Envelope, repo name.Repository, digest v1.Hash) (SignerIdentity, error) {
	st, by, err := t.VerifyEnvelope(e, digest)
	if err != nil {
		return SignerIdentity{}, err
	}
	if st.PredicateType != SignatureType {
		return SignerIdentity{}, fmt.Errorf("the type %q of the statement is not a cosign signature", st.PredicateType)
	}
	err = errors.New("the signature has no subject")
	for _, s := range st.Subjects {
		switch {
		case s.Digest != digest:
		case s.Name == repo.Name(), s.Name == "" && t.AnyRepository:
			return by, nil
		case s.Name == "":
			err = errors.New("the signature does not name a repository")
		default:
			err = &OtherRepositoryError{Signed: s.Name, Want: repo.Name()}
		}
	}
	return SignerIdentity{}, err
}

// VerifyAnyDocument verifies the signature over the document and returns the signer. It does not
// check the digest and the repository in the document. Use it to decide whether a stored signature
// may be replaced: only the signer matters for that.
func (t Trust) VerifyAnyDocument(s Signature) (SignerIdentity, error) {
	if s.Bundle != nil {
		var b bundle.Bundle
		if err := b.UnmarshalJSON(s.Bundle); err != nil {
			return SignerIdentity{}, fmt.Errorf("reading a bundle: %w", err)
		}
		if b.GetVerificationMaterial().GetCertificate() != nil {
			return t.verifyCertified(&b, s.Payload)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil {
		return SignerIdentity{}, fmt.Errorf("reading a signature: %w", err)
	}
	return t.verify(raw, s.Payload)
}
