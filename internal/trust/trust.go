// Package trust signs and verifies: keys, signatures over a digest, statements
// about it, and where both are stored in a registry.
//
// The path through it: [LoadSigner] reads a key, [SignImage] and [Attest] make a
// signature and an envelope without any network, [Attach] stores them beside a
// digest and [Read] finds them again, and a [Trust] says which of them count.
//
// It knows what cosign knows and nothing of policies: what a statement says is
// its caller's business. Stored is cosign's layout of tags, sha256-<hex>.sig and
// sha256-<hex>.att, which works in every registry; bundles stored as referrers
// are neither written nor read.
package trust

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// Trust says whose signatures count. The zero value accepts nobody.
type Trust struct {
	// Keys of which any one may have signed. A key that cannot verify fails
	// every verification that comes to it, instead of being passed over.
	Keys []crypto.PublicKey
}

// errNobody is the answer of a Trust without keys.
var errNobody = errors.New("nobody is trusted: there is no key")

// VerifySignature proves that a trusted key signed this digest for this
// repository, and returns the fingerprint of the key. cosign does not compare
// the repository; without that, a signature could be moved to another one.
func (t Trust) VerifySignature(s Signature, repo name.Repository, digest v1.Hash) (string, error) {
	by, err := t.verifyDocument(s)
	if err != nil {
		return "", err
	}
	var doc payload.SimpleContainerImage
	if err := json.Unmarshal(s.Payload, &doc); err != nil {
		return "", fmt.Errorf("reading a signed document: %w", err)
	}
	switch {
	case doc.Critical.Type != payload.CosignSignatureType:
		return "", fmt.Errorf("the signed document is a %q", doc.Critical.Type)
	case doc.Critical.Image.DockerManifestDigest != digest.String():
		return "", fmt.Errorf("the signature is for %q, not for %s", doc.Critical.Image.DockerManifestDigest, digest)
	case doc.Critical.Identity.DockerReference != repo.Name():
		return "", fmt.Errorf("the signature is for %q, not for %s", doc.Critical.Identity.DockerReference, repo.Name())
	}
	return by, nil
}

// verifyDocument proves who signed the document, whatever it says.
func (t Trust) verifyDocument(s Signature) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil {
		return "", fmt.Errorf("reading a signature: %w", err)
	}
	return t.verify(raw, s.Payload)
}

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
	body, signatures, err := decodeEnvelope(e)
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
