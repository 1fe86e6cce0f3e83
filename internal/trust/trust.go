// Package trust signs and verifies: keys, signatures over a digest, statements
// about it, and where both are stored in a registry.
//
// The path through it: [LoadSigner] reads a key, or [OpenKMS] opens one,
// [SignImage] and [Attest] make a
// signature and an envelope without any network, [Attach] stores them beside a
// digest and [Read] finds them again, and a [Trust] says which of them count.
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
	"github.com/sigstore/sigstore/pkg/signature"
)

// Trust says whose signatures count. The zero value accepts nobody.
type Trust struct {
	// Keys of which any one may have signed. A key that cannot verify fails
	// every verification that comes to it, instead of being passed over.
	Keys []crypto.PublicKey
	// AnyRepository accepts a signature that names no repository at all, which
	// are all that cosign stores as bundles: it could have been copied from
	// another repository. One that names another is refused in any case.
	AnyRepository bool
}

// errNobody is the answer of a Trust without keys.
var errNobody = errors.New("nobody is trusted: there is no key")

// VerifyEnvelope proves that a trusted key signed a statement about this
// digest, and returns the statement and the fingerprint of the key.
func (t Trust) VerifyEnvelope(e Envelope, digest v1.Hash) (Statement, string, error) {
	st, by, err := t.verifyStatement(e)
	if err != nil {
		return Statement{}, "", err
	}
	if !st.about(digest) {
		return Statement{}, "", fmt.Errorf("a statement of type %q is not about %s", st.PredicateType, digest)
	}
	return st, by, nil
}

// verifyStatement proves who signed the statement, whatever it is about.
func (t Trust) verifyStatement(e Envelope) (Statement, string, error) {
	wire, err := parseEnvelope(e)
	if err != nil {
		return Statement{}, "", err
	}
	body, signatures, err := wire.decode()
	if err != nil {
		return Statement{}, "", err
	}
	by, err := t.verifyAny(signatures, pae(body))
	if err != nil {
		return Statement{}, "", err
	}
	st, err := parseStatement(body)
	if err != nil {
		return Statement{}, "", err
	}
	return st, by, nil
}

func (t Trust) verifyAny(signatures [][]byte, message []byte) (string, error) {
	err := errors.New("an envelope without signature")
	for _, sig := range signatures {
		var by string
		if by, err = t.verify(sig, message); err == nil {
			return by, nil
		}
	}
	return "", err
}

// verify returns the fingerprint of the trusted key that made the signature.
func (t Trust) verify(sig, message []byte) (string, error) {
	if len(t.Keys) == 0 {
		return "", errNobody
	}
	for _, key := range t.Keys {
		v, err := signature.LoadVerifier(key, hash)
		if err != nil {
			return "", fmt.Errorf("using key %s: %w", Fingerprint(key), err)
		}
		if v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil {
			return Fingerprint(key), nil
		}
	}
	return "", errors.New("a signature is by no trusted key")
}
