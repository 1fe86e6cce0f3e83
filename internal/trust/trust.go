// Package trust signs and verifies: keys, signatures over a digest, statements
// about it, and where both are stored in a registry.
//
// The path through it: [LoadKey] reads a key, or [OpenKMS] opens one, for
// [NewSigner]; [NewKeyless] signs with an identity instead. [SignImage] and
// [Attest] make signatures and envelopes without any registry, [Attach] stores
// them beside a digest and [Read] finds them again, and a [Trust] says which of
// them count.
//
// They are stored in two forms, see [Format]: cosign's layout of tags, and
// sigstore bundles as referrers.
//
// It knows what cosign knows and nothing of policies: what a statement says is
// its caller's business.
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

// Trust says whose signatures count. The zero value accepts nobody.
type Trust struct {
	// Keys of which any one may have signed. A key that cannot verify fails
	// every verification that comes to it, instead of being passed over. What a
	// log or a timestamp authority says of such a signature is not asked.
	Keys []crypto.PublicKey
	// Identities of which any one may have signed, with a certificate that Root
	// verifies. The signature must be in a log of the root, and a timestamp by
	// the log or an authority must prove that the certificate was valid then.
	// The certificate must be in a certificate transparency log where the root
	// has one.
	Identities []Identity
	// Root is needed for identities.
	Root *Root
	// AllowUnlogged accepts from an identity a signature that is in no log, as
	// long as it has a timestamp.
	AllowUnlogged bool
	// AnyRepository accepts a signature that names no repository at all, which
	// are all that cosign stores as bundles: it could have been copied from
	// another repository. One that names another is refused in any case.
	AnyRepository bool

	// apart: nothing is newer than anything else, see Along.
	apart bool
	// places relates our own statements to each other, see Place.
	places Places
}

// errNobody is the answer of a Trust without keys and identities.
var errNobody = errors.New("nobody is trusted: there is no key and no identity")

// VerifyEnvelope proves that somebody trusted signed a statement about this
// digest, and returns the statement and who signed it.
func (t Trust) VerifyEnvelope(e Envelope, digest v1.Hash) (Statement, Signatory, error) {
	return t.VerifyOpened(Open(e), digest)
}

// Opened is an envelope that was read as far as that can be done before anybody knows
// whose signature counts: the statement in it is not looked at.
type Opened struct {
	envelope   Envelope
	certified  bool
	body       []byte
	signatures [][]byte
	err        error // why it could not be read
}

// Open reads an envelope. What is wrong with it, verifying it will tell.
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

// VerifyOpened is VerifyEnvelope for one that was opened before.
func (t Trust) VerifyOpened(o Opened, digest v1.Hash) (Statement, Signatory, error) {
	st, by, err := t.verifyStatement(o)
	if err != nil {
		return Statement{}, Signatory{}, err
	}
	if !st.about(digest) {
		return Statement{}, Signatory{}, fmt.Errorf("a statement of type %q is not about %s", st.PredicateType, digest)
	}
	return st, by, nil
}

// verifyStatement proves who signed the statement, whatever it is about.
func (t Trust) verifyStatement(o Opened) (Statement, Signatory, error) {
	if o.err != nil {
		return Statement{}, Signatory{}, o.err
	}
	var by Signatory
	body, err := o.body, error(nil)
	if o.certified {
		body, by, err = t.verifyBundle(o.envelope)
	} else {
		by, err = t.verifyAny(o.signatures, pae(body))
	}
	if err != nil {
		return Statement{}, Signatory{}, err
	}
	st, err := parseStatement(body)
	if err != nil {
		return Statement{}, Signatory{}, err
	}
	return st, by, nil
}

// verifyBundle returns what an identity signed, as the library reads it that
// verifies it.
func (t Trust) verifyBundle(e Envelope) ([]byte, Signatory, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(e); err != nil {
		return nil, Signatory{}, fmt.Errorf("reading a bundle: %w", err)
	}
	envelope := b.GetDsseEnvelope()
	if envelope.GetPayloadType() != payloadType {
		return nil, Signatory{}, fmt.Errorf("reading a bundle: its payload is a %q", envelope.GetPayloadType())
	}
	if b.GetMediaType() == legacyBundleType && t.Root != nil {
		stored, err := e.DSSE()
		if err != nil {
			return nil, Signatory{}, err
		}
		t.Root = &Root{overEnvelope{t.Root.material, stored}}
	}
	by, err := t.verifyCertified(&b, nil)
	return envelope.GetPayload(), by, err
}

func (t Trust) verifyAny(signatures [][]byte, message []byte) (Signatory, error) {
	err := errors.New("an envelope without signature")
	for _, sig := range signatures {
		var by Signatory
		if by, err = t.verify(sig, message); err == nil {
			return by, nil
		}
	}
	return Signatory{}, err
}

// verify finds the trusted key that made the signature.
func (t Trust) verify(sig, message []byte) (Signatory, error) {
	if len(t.Keys) == 0 {
		if len(t.Identities) == 0 {
			return Signatory{}, errNobody
		}
		return Signatory{}, errors.New("a signature is by a key, and none is trusted")
	}
	for _, key := range t.Keys {
		v, err := signature.LoadVerifier(key, hash)
		if err != nil {
			return Signatory{}, fmt.Errorf("using key %s: %w", Fingerprint(key), err)
		}
		if v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil {
			return Signatory{Key: Fingerprint(key)}, nil
		}
	}
	return Signatory{}, errors.New("a signature is by no trusted key")
}
