// Package trust signs and verifies signatures of images and statements about them. It holds the
// keys, the identities and the clients of the Sigstore services.
//
// Start with a [Signer]: [NewSigner] takes a key from [LoadKey] or [OpenKMS], and [NewKeyless]
// signs with an identity. [SignImage] and [Attest] make signatures and envelopes. A [Trust]
// verifies them; its zero value trusts no signer.
//
// There are two signature formats, see [Format]: cosign's tags, and Sigstore bundles as referrers.
// This package converts to and from both, see [Layer] and [Envelope.AsBundle]. It sends no requests
// to registries: package attach stores and reads signatures and statements.
//
// Like cosign, the package does not interpret the predicates of statements or evaluate a policy.
package trust

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Trust states which signers are trusted. The zero value trusts no signer.
type Trust struct {
	// Keys are the trusted keys; a signature by any of them counts. An unusable key is not skipped:
	// a verification that tries this key fails. For signatures by keys, log entries and timestamps
	// are not checked.
	Keys []crypto.PublicKey
	// Identities are the trusted identities; a signature by any of them counts. Root must verify
	// the certificate. The signature must be in a log of the root. The log or a timestamp authority
	// must prove that the certificate was valid when the signature was made. If the root has a
	// certificate transparency log, the certificate must be in that log.
	Identities []Identity
	// Root is required for identities.
	Root *Root
	// AllowUnlogged accepts a signature by an identity without a log entry, if it has a timestamp.
	AllowUnlogged bool
	// AnyRepository accepts a signature that does not name a repository, such as a bundle by
	// cosign. Such a signature may be a copy from another repository. A signature that names
	// another repository is always refused.
	AnyRepository bool
}

// errNoTrust is the error of a Trust without keys and identities.
var errNoTrust = errors.New("no signer is trusted: neither a key nor an identity is given")

// VerifyEnvelope verifies that a trusted signer signed a statement about this digest, and returns
// the statement and the signer.
func (t Trust) VerifyEnvelope(e Envelope, digest v1.Hash) (Statement, SignerIdentity, error) {
	return t.VerifyOpened(Open(e), digest)
}

// VerifyAnySubject is like VerifyEnvelope, but accepts a statement about any digest. Use it to
// decide whether a stored statement may be replaced: only the signer matters for that.
func (t Trust) VerifyAnySubject(e Envelope) (Statement, SignerIdentity, error) {
	return t.verifyAnySubject(Open(e))
}

// Opened is a parsed envelope, before its signatures are verified. The statement in it is not
// parsed yet.
type Opened struct {
	envelope   Envelope
	certified  bool
	body       []byte
	signatures [][]byte
	err        error // the error of parsing the envelope, if any
}

// Open parses an envelope. It does not return a parse error: verifying the result returns the
// error.
func Open(e Envelope) Opened {
	o := Opened{envelope: e}
	wire, err := parseEnvelope(e)
	if err != nil {
		o.err = err
		return o
	}
	o.certified = wire.isCertified()
	o.body, o.signatures, o.err = wire.decode()
	return o
}

// VerifyOpened is like VerifyEnvelope, for an envelope from Open.
func (t Trust) VerifyOpened(o Opened, digest v1.Hash) (Statement, SignerIdentity, error) {
	st, by, err := t.verifyAnySubject(o)
	if err != nil {
		return Statement{}, SignerIdentity{}, err
	}
	if !st.about(digest) {
		return Statement{}, SignerIdentity{}, fmt.Errorf("the statement of type %q is not about %s", st.PredicateType, digest)
	}
	return st, by, nil
}

// verifyAnySubject verifies the signature of a statement, and returns the statement and the signer.
// It does not check the subject.
func (t Trust) verifyAnySubject(o Opened) (Statement, SignerIdentity, error) {
	if o.err != nil {
		return Statement{}, SignerIdentity{}, o.err
	}
	var by SignerIdentity
	body, err := o.body, error(nil)
	if o.certified {
		body, by, err = t.verifyBundle(o.envelope)
	} else {
		by, err = t.verifyAny(o.signatures, pae(body))
	}
	if err != nil {
		return Statement{}, SignerIdentity{}, err
	}
	st, err := parseStatement(body)
	if err != nil {
		return Statement{}, SignerIdentity{}, err
	}
	return st, by, nil
}

// verifyBundle verifies a bundle by an identity. It returns the payload from sigstore-go, which
// also verifies the bundle. So the verified and the returned payload cannot differ.
func (t Trust) verifyBundle(e Envelope) ([]byte, SignerIdentity, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(e); err != nil {
		return nil, SignerIdentity{}, fmt.Errorf("reading a bundle: %w", err)
	}
	envelope := b.GetDsseEnvelope()
	if envelope.GetPayloadType() != payloadType {
		return nil, SignerIdentity{}, fmt.Errorf("reading a bundle: unexpected payload type %q", envelope.GetPayloadType())
	}
	if b.GetMediaType() == legacyBundleType && t.Root != nil {
		stored, err := e.DSSE()
		if err != nil {
			return nil, SignerIdentity{}, err
		}
		t.Root = &Root{legacyRoot{t.Root.material, stored}}
	}
	by, err := t.verifyCertified(&b, nil)
	return envelope.GetPayload(), by, err
}

func (t Trust) verifyAny(signatures [][]byte, message []byte) (SignerIdentity, error) {
	err := errors.New("the envelope has no signature")
	for _, sig := range signatures {
		var by SignerIdentity
		if by, err = t.verify(sig, message); err == nil {
			return by, nil
		}
	}
	return SignerIdentity{}, err
}

// verify verifies a signature over message. It returns the trusted key that made the signature.
func (t Trust) verify(sig, message []byte) (SignerIdentity, error) {
	if len(t.Keys) == 0 {
		if len(t.Identities) == 0 {
			return SignerIdentity{}, errNoTrust
		}
		return SignerIdentity{}, errors.New("the signer is a key, and no key is trusted")
	}
	for _, key := range t.Keys {
		v, err := signature.LoadVerifier(key, hash)
		if err != nil {
			return SignerIdentity{}, fmt.Errorf("using key %s: %w", Fingerprint(key), err)
		}
		if v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil {
			return SignerIdentity{Key: Fingerprint(key)}, nil
		}
	}
	return SignerIdentity{}, errors.New("the signer is not a trusted key")
}
