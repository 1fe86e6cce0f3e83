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

// Key makes signatures that cosign verifies: ECDSA or RSA (PKCS #1 v1.5) over the SHA-256 of the
// message, or Ed25519 over the message.
type Key interface {
	// Sign returns the raw signature over the message.
	Sign(ctx context.Context, message []byte) ([]byte, error)
	// PublicKey returns the key that verifies the signatures.
	PublicKey() crypto.PublicKey
}

// hash is the hash that "cosign verify --key" uses, for every key size. LoadKey does not use
// cosign.LoadPrivateKey, because that selects the hash by the key: "cosign verify --key" refuses
// its signatures with P-384, P-521 and Ed25519 keys.
const hash = crypto.SHA256

// LoadKey parses a private key in PEM: cosign's encrypted format, under its old and its new name,
// or PKCS #8, PKCS #1 or SEC 1, encrypted or not. It accepts RSA keys of 2048 to 4096 bits, ECDSA
// keys on P-256, P-384 and P-521, and Ed25519 keys.
//
// It calls password only if the key is encrypted. A password that is missing or wrong is a
// [*PasswordError], which wraps the error that password returns. No error contains the password.
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
		// A missing password means the empty password. If this function returned nil, the key would
		// not be decrypted.
		return append([]byte{}, secret...), askErr
	})
	switch {
	case askErr != nil:
		return nil, &PasswordError{"asking for the password of the key", askErr}
	case err != nil && asked:
		return nil, &PasswordError{"decrypting the key: the password is wrong or the key is damaged", err}
	case err != nil:
		return nil, fmt.Errorf("reading the %q block: %w", block.Type, err)
	}
	return asKey(private)
}

// PasswordError means that the password of an encrypted key is missing or wrong.
type PasswordError struct {
	doing string
	Err   error
}

// Error says whether the password is missing or wrong, and why.
func (e *PasswordError) Error() string { return e.doing + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *PasswordError) Unwrap() error { return e.Err }

// privateBlock returns the only PEM block in data. It skips the curve parameters that openssl
// writes before an EC key, because the key itself also names its curve.
func privateBlock(data []byte) (*pem.Block, error) {
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("no private key in PEM format found")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("found more than one %q block", block.Type)
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

// GenerateKey makes an ECDSA P-256 key pair in cosign's format, in PEM. The private key is always
// encrypted with the password, even if the password is empty.
func GenerateKey(password []byte) (private, public []byte, err error) {
	keys, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key pair: %w", err)
	}
	return keys.PrivateBytes, keys.PublicBytes, nil
}

// LoadPublicKeys parses one or more public keys in PEM. With several keys, an old and a new key can
// be trusted at the same time. An unusable key or any other content is an error.
func LoadPublicKeys(data []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("found data that is not a PEM block")
		}
		key, err := cryptoutils.UnmarshalPEMToPublicKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, fmt.Errorf("the PEM block %q is not a public key", block.Type)
		}
		if err := goodkey.ValidatePubKey(key); err != nil {
			return nil, fmt.Errorf("using key %s: %w", Fingerprint(key), err)
		}
		keys, data = append(keys, key), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key found")
	}
	return keys, nil
}

// EncodePublicKey encodes a public key in PEM, in the form that LoadPublicKeys parses.
func EncodePublicKey(key crypto.PublicKey) ([]byte, error) {
	return cryptoutils.MarshalPublicKeyToPEM(key)
}

const fingerprintPrefix = "sha256:"

// Fingerprint identifies a public key: "sha256:<hex>" of its DER form (SubjectPublicKeyInfo), or
// "unknown key" if key is not a public key.
func Fingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "unknown key"
	}
	sum := sha256.Sum256(der)
	return fingerprintPrefix + hex.EncodeToString(sum[:])
}
