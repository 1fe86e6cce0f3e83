// Package trust signs and verifies: keys, signatures over a digest, statements about it, and their
// storage in a registry.
//
// Start with a [Signer]: [NewSigner] takes a key from [LoadKey] or [OpenKMS], and [NewKeyless]
// signs with an identity. [SignImage] and [Attest] make signatures and envelopes without a
// registry. [Attach] stores them with a digest, [Read] reads them, and a [Trust] verifies them.
//
// There are two forms of storage, see [Format]: cosign's layout of tags, and Sigstore bundles as
// referrers.
//
// Like cosign, the package knows nothing about policies: callers interpret the content of
// statements.
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

// Trust states which signers are trusted. The zero value trusts none.
type Trust struct {
	// Keys are the trusted keys; a signature by any of them counts. If a key cannot verify at all,
	// every verification that tries it fails; it is not skipped. Log entries and timestamps of such
	// a signature are not checked.
	Keys []crypto.PublicKey
	// Identities are the trusted identities; a signature by any of them counts. Root must verify
	// its certificate. The signature must be in a log of the root, and the log or a timestamp
	// authority must prove that the certificate was valid then. If the root has a certificate
	// transparency log, the certificate must be in it.
	Identities []Identity
	// Root is required for identities.
	Root *Root
	// AllowUnlogged accepts a signature by an identity without a log entry, if it has a timestamp.
	AllowUnlogged bool
	// AnyRepository accepts a signature that names no repository: it may be a copy from another
	// repository. cosign's bundles never name one. A signature that names another repository is
	// always refused.
	AnyRepository bool

	// keepAll keeps all attachments: none replaces another, see Copy.
	keepAll bool
	// places relates our own statements to each other, see Place.
	places Places
}

// errNobody is the error of a Trust without keys and identities.
var errNobody = errors.New("nobody is trusted: there is no key and no identity")

// VerifyEnvelope verifies that a trusted signer signed a statement about this digest, and returns
// the statement and the signer.
func (t Trust) VerifyEnvelope(e Envelope, digest v1.Hash) (Statement, SignerIdentity, error) {
	return t.VerifyOpened(Open(e), digest)
}

// Opened is a parsed envelope, before its signatures are verified. The statement in it is not
// parsed yet.
type Opened struct {
	envelope   Envelope
	certified  bool
	body       []byte
	signatures [][]byte
	err        error // the parse error, if any
}

// Open parses an envelope. Verification returns the error, if there is any.
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
	st, by, err := t.verifyStatement(o)
	if err != nil {
		return Statement{}, SignerIdentity{}, err
	}
	if !st.about(digest) {
		return Statement{}, SignerIdentity{}, fmt.Errorf("a statement of type %q is not about %s", st.PredicateType, digest)
	}
	return st, by, nil
}

// verifyStatement verifies the signature of a statement and returns the signer. It does not check
// the subject.
func (t Trust) verifyStatement(o Opened) (Statement, SignerIdentity, error) {
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

// verifyBundle verifies a bundle by an identity. It returns the payload as parsed by the library
// that verifies it.
func (t Trust) verifyBundle(e Envelope) ([]byte, SignerIdentity, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(e); err != nil {
		return nil, SignerIdentity{}, fmt.Errorf("reading a bundle: %w", err)
	}
	envelope := b.GetDsseEnvelope()
	if envelope.GetPayloadType() != payloadType {
		return nil, SignerIdentity{}, fmt.Errorf("reading a bundle: its payload is a %q", envelope.GetPayloadType())
	}
	if b.GetMediaType() == legacyBundleType && t.Root != nil {
		stored, err := e.DSSE()
		if err != nil {
			return nil, SignerIdentity{}, err
		}
		t.Root = &Root{overEnvelope{t.Root.material, stored}}
	}
	by, err := t.verifyCertified(&b, nil)
	return envelope.GetPayload(), by, err
}

func (t Trust) verifyAny(signatures [][]byte, message []byte) (SignerIdentity, error) {
	err := errors.New("an envelope without signature")
	for _, sig := range signatures {
		var by SignerIdentity
		if by, err = t.verify(sig, message); err == nil {
			return by, nil
		}
	}
	return SignerIdentity{}, err
}

// verify returns the trusted key that made the signature.
func (t Trust) verify(sig, message []byte) (SignerIdentity, error) {
	if len(t.Keys) == 0 {
		if len(t.Identities) == 0 {
			return SignerIdentity{}, errNobody
		}
		return SignerIdentity{}, errors.New("a signature is by a key, and none is trusted")
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
	return SignerIdentity{}, errors.New("a signature is by no trusted key")
}
