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
	"github.com/sigstore/sigstore/pkg/cryptoutils/goodkey"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// Key makes signatures that cosign verifies: ECDSA or RSA (PKCS #1 v1.5) over
// the SHA-256 of the message, or Ed25519 over the message.
type Key interface {
	// Sign returns the raw signature over the message.
	Sign(ctx context.Context, message []byte) ([]byte, error)
	// PublicKey verifies what Sign returns.
	PublicKey() crypto.PublicKey
}

// hash is what cosign verifies with, whatever the size of the key. Its own
// cosign.LoadPrivateKey picks a hash by the key instead, and so makes signatures
// with P-384, P-521 and Ed25519 keys that "cosign verify --key" refuses.
const hash = crypto.SHA256

// LoadKey reads a private key from PEM: cosign's encrypted form, under its old
// and its new name, or PKCS #8, PKCS #1 or SEC 1, encrypted or not. RSA from 2048
// to 4096 bits, ECDSA on P-256, P-384 or P-521 and Ed25519 are taken.
//
// The password is asked for only if the key is encrypted, and is in no error; an
// error of asking for it is returned wrapped.
func LoadKey(data []byte, password func() ([]byte, error)) (Key, error) {
	block, err := privateBlock(data)
	if err != nil {
		return nil, err
	}
	var asked bool
	var askErr error
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(pem.EncodeToMemory(block), func(bool) ([]byte, error) {
		asked = true
		var secret []byte
		secret, askErr = password()
		// No password is the empty one: nil would mean not to decrypt at all.
		return append([]byte{}, secret...), askErr
	})
	switch {
	case askErr != nil:
		return nil, fmt.Errorf("asking for the password of the key: %w", askErr)
	case err != nil && asked:
		return nil, fmt.Errorf("decrypting the key: the password is wrong or the key damaged: %w", err)
	case err != nil:
		return nil, fmt.Errorf("reading a %q: %w", block.Type, err)
	}
	return asKey(private)
}

// privateBlock returns the only block of the file; the curve's parameters, which
// openssl writes ahead of an EC key that names its curve too, do not count.
func privateBlock(data []byte) (*pem.Block, error) {
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("it holds no private key in PEM")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("it holds more than one %q", block.Type)
	}
	return block, nil
}

func asKey(private crypto.PrivateKey) (Key, error) {
	sv, err := signature.LoadSignerVerifier(private, hash)
	if err != nil {
		return nil, fmt.Errorf("using the key: %w", err)
	}
	public, err := sv.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("deriving the public key: %w", err)
	}
	if err := goodkey.ValidatePubKey(public); err != nil {
		return nil, fmt.Errorf("using the key: %w", err)
	}
	return &fileKey{sv, public}, nil
}

type fileKey struct {
	sv     signature.SignerVerifier
	public crypto.PublicKey
}

func (k *fileKey) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return k.sv.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
}

func (k *fileKey) PublicKey() crypto.PublicKey { return k.public }

// GenerateKey makes an ECDSA P-256 key pair in cosign's format, PEM; the private
// key is encrypted with the password, also with an empty one.
func GenerateKey(password []byte) (private, public []byte, err error) {
	keys, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key pair: %w", err)
	}
	return keys.PrivateBytes, keys.PublicBytes, nil
}

// LoadPublicKeys reads one or more public keys from PEM, so that an old and a
// new key can be trusted side by side. One that cannot be used is an error, and
// so is anything beside the keys.
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
		if err := goodkey.ValidatePubKey(key); err != nil {
			return nil, fmt.Errorf("using key %s: %w", Fingerprint(key), err)
		}
		keys, data = append(keys, key), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no public key")
	}
	return keys, nil
}

// EncodePublicKey writes a public key in PEM, as LoadPublicKeys reads it.
func EncodePublicKey(key crypto.PublicKey) ([]byte, error) {
	return cryptoutils.MarshalPublicKeyToPEM(key)
}

const fingerprintPrefix = "sha256:"

// Fingerprint names a public key: "sha256:<hex>" of its DER form
// (SubjectPublicKeyInfo), or "unknown key" for what is none.
func Fingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "unknown key"
	}
	sum := sha256.Sum256(der)
	return fingerprintPrefix + hex.EncodeToString(sum[:])
}
