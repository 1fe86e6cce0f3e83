// Package trust signs and verifies: keys, signatures over a digest, statements
// about it, and where both are stored in a registry.
//
// The path through it: [LoadSigner] reads a key, [SignImage] and [Attest] make a
// signature and an envelope without any network, [Attach] stores them beside a
// digest and [Read] finds them again, and a [Trust] says which of them count.
//
// It knows what cosign knows and nothing of policies: what a statement says is
// its caller's business. Stored is cosign's layout of tags, sha256-<hex>.sig and
// sha256-<hex>.att, which works in every registry.
package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// Signer makes signatures that cosign verifies: ECDSA or RSA over the SHA-256
// of the message, or Ed25519 over the message.
type Signer interface {
	Sign(ctx context.Context, message []byte) ([]byte, error)
	PublicKey() crypto.PublicKey
}

// The PEM types of cosign's encrypted keys.
const (
	encryptedSigstore = "ENCRYPTED SIGSTORE PRIVATE KEY"
	encryptedCosign   = "ENCRYPTED COSIGN PRIVATE KEY"
)

// LoadSigner reads a private key from PEM: cosign's encrypted form, or plain
// PKCS #8, PKCS #1 or SEC 1. The password is asked for only where it is needed,
// and is in no error.
func LoadSigner(data []byte, password func() ([]byte, error)) (Signer, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it holds no PEM block")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it holds more than one key")
	}
	if block.Type == encryptedSigstore || block.Type == encryptedCosign {
		secret, err := password()
		if err != nil {
			return nil, err
		}
		sv, err := cosign.LoadPrivateKey(data, secret, nil)
		if err != nil {
			return nil, fmt.Errorf("decrypting the key: %w", err)
		}
		return newSigner(sv)
	}
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(data, nil)
	if err != nil {
		return nil, fmt.Errorf("reading a %q: %w", block.Type, err)
	}
	sv, err := signature.LoadSignerVerifier(private, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("using the key: %w", err)
	}
	return newSigner(sv)
}

func newSigner(sv signature.SignerVerifier) (Signer, error) {
	public, err := sv.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("deriving the public key: %w", err)
	}
	return &keySigner{sv, public}, nil
}

type keySigner struct {
	sv     signature.SignerVerifier
	public crypto.PublicKey
}

func (k *keySigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return k.sv.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
}

func (k *keySigner) PublicKey() crypto.PublicKey { return k.public }

// GenerateKey makes a key pair in cosign's format, PEM; the private key is
// encrypted with the password, also with an empty one.
func GenerateKey(password []byte) (private, public []byte, err error) {
	keys, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return nil, nil, err
	}
	return keys.PrivateBytes, keys.PublicBytes, nil
}

// LoadPublicKeys reads one or more public keys from PEM, so that an old and a
// new key can be trusted side by side.
func LoadPublicKeys(data []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("it holds no PEM block, or something beside one")
		}
		key, err := cryptoutils.UnmarshalPEMToPublicKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, fmt.Errorf("a %q is no public key", block.Type)
		}
		keys, data = append(keys, key), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no public key")
	}
	return keys, nil
}

// Fingerprint names a public key: "sha256:<hex>" of its DER form.
func Fingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "unknown key"
	}
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}
