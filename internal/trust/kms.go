package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/sigstore/sigstore/pkg/cryptoutils/goodkey"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/aws"
	"github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	"github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/api/option"
)

// These are the URI schemes of the supported key management services. OpenKMS does not use
// sigstore's registry of services, because that runs a program named after an unknown scheme.
const (
	schemeAWS   = "awskms"
	schemeGCP   = "gcpkms"
	schemeAzure = "azurekms"
	schemeVault = "hashivault"
)

// KMSOptions configure access to key management services. The cloud clients read their credentials
// from the usual environment variables, files and metadata services. They run no programs.
type KMSOptions struct {
	// VaultAddress and VaultToken are required for hashivault, and are its only source of
	// credentials.
	VaultAddress, VaultToken string
	// VaultPath is the mount path of the transit engine. Empty means "transit".
	VaultPath string

	// These fields are for tests with their own servers. In production, the clients of the services
	// handle proxies and certificate authorities themselves.
	client *http.Client // HTTP client for AWS and Azure
	azure  *azureOptions
	google []option.ClientOption
}

// IsKMS reports whether a reference to a key is a URI and not a file name. It does not check that
// OpenKMS supports the scheme.
func IsKMS(ref string) bool { return strings.Contains(ref, "://") }

// SchemeError reports that the scheme of a key reference is unknown.
type SchemeError struct{ Ref string }

// Error lists the supported schemes.
func (e *SchemeError) Error() string {
	return fmt.Sprintf("unknown scheme of key %q: expected %s, %s, %s or %s", e.Ref, schemeAWS, schemeGCP, schemeAzure, schemeVault)
}

// OpenKMS opens a key in a key management service. ref has one of these forms:
//
//	awskms://[ENDPOINT]/KEY-ID, /alias/NAME or /ARN
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/V]
//	azurekms://HOST/KEY[/VERSION]
//	hashivault://KEY
//
// OpenKMS fetches the public key; the private key never leaves the service. Every signature is
// verified before it is returned, because a service may sign with another hash or padding than
// verifiers expect.
func OpenKMS(ctx context.Context, ref string, o KMSOptions) (Key, error) {
	scheme, _, ok := strings.Cut(ref, "://")
	if !ok {
		return nil, fmt.Errorf("key %q is not a URI", ref)
	}
	var key rawKey
	var err error
	switch scheme {
	case schemeAWS:
		key, err = openAWS(ctx, ref, o)
	case schemeGCP:
		key, err = gcp.LoadSignerVerifier(ctx, ref, o.google...)
	case schemeAzure:
		key, err = openAzure(ctx, ref, o)
	case schemeVault:
		key, err = openVault(ref, o)
	default:
		return nil, &SchemeError{ref}
	}
	if err != nil {
		return nil, fmt.Errorf("opening key %q: %w", ref, err)
	}
	public, err := key.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("reading the public key of %q: %w", ref, err)
	}
	if err := goodkey.ValidatePubKey(public); err != nil {
		return nil, fmt.Errorf("using key %q: %w", ref, err)
	}
	verifier, err := signature.LoadVerifier(public, hash)
	if err != nil {
		return nil, fmt.Errorf("using key %q: %w", ref, err)
	}
	return &kmsKey{key, public, verifier}, nil
}

// rawKey is the interface that the clients of all services implement.
type rawKey interface {
	SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error)
	PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error)
}

type kmsKey struct {
	key      rawKey
	public   crypto.PublicKey
	verifier signature.Verifier
}

func (k *kmsKey) Sign(ctx context.Context, message []byte) ([]byte, error) {
	sig, err := k.key.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if err := k.verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)); err != nil {
		return nil, fmt.Errorf("cannot verify the signature by the key management service (expected ECDSA or RSA PKCS #1 v1.5 with SHA-256, or Ed25519): %w", err)
	}
	return sig, nil
}

func (k *kmsKey) PublicKey() crypto.PublicKey { return k.public }

func openAWS(ctx context.Context, ref string, o KMSOptions) (rawKey, error) {
	var opts []func(*awsconfig.LoadOptions) error
	if o.client != nil {
		opts = append(opts, awsconfig.WithHTTPClient(o.client))
	}
	return aws.LoadSignerVerifier(ctx, ref, opts...)
}

// openVault opens a key in Vault. It requires an address and a token. Without them, Vault's client
// would read configuration files and run a program that is named there.
func openVault(ref string, o KMSOptions) (rawKey, error) {
	if o.VaultAddress == "" || o.VaultToken == "" {
		return nil, errors.New("the address of the Vault server or its token is missing")
	}
	auth := options.WithRPCAuthOpts(options.RPCAuth{Address: o.VaultAddress, Token: o.VaultToken, Path: o.VaultPath})
	key, err := hashivault.LoadSignerVerifier(ref, hash, auth)
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, err
	}
	if _, ok := public.(ed25519.PublicKey); ok {
		// Given a hash function, Vault's client sends the hash of the message. Ed25519 requires the
		// message itself.
		return hashivault.LoadSignerVerifier(ref, crypto.Hash(0), auth)
	}
	return key, nil
}
