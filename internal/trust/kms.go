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

// The key management services that are known. sigstore's own table of them is
// not used: for a scheme that is not in it, it runs a program of that name.
const (
	schemeAWS   = "awskms"
	schemeGCP   = "gcpkms"
	schemeAzure = "azurekms"
	schemeVault = "hashivault"
)

// KMSOptions say how key management services are reached. The clouds' clients
// find their credentials where those clouds keep them: their environment
// variables, files and metadata services. No program is run for that.
type KMSOptions struct {
	// VaultAddress and VaultToken are needed for hashivault alone, and asked
	// for nowhere else.
	VaultAddress, VaultToken string
	// VaultPath is where the transit engine is mounted; empty means "transit".
	VaultPath string

	// What a test needs to reach servers of its own; the services' libraries
	// know about proxies and authorities of certificates by themselves.
	client *http.Client // of AWS and Azure
	azure  *azureOptions
	google []option.ClientOption
}

// IsKMS tells whether a reference to a key has the form of a URI; anything else
// is the name of a file. Whether OpenKMS knows the scheme is another question.
func IsKMS(ref string) bool { return strings.Contains(ref, "://") }

// SchemeError says that a reference to a key is for a service that is not known.
type SchemeError struct{ Ref string }

// Error lists the schemes that are known.
func (e *SchemeError) Error() string {
	return fmt.Sprintf("unknown scheme of key %q: want %s, %s, %s or %s", e.Ref, schemeAWS, schemeGCP, schemeAzure, schemeVault)
}

// OpenKMS returns a key that is kept by a key management service:
//
//	awskms://[ENDPOINT]/KEY-ID, /alias/NAME or /ARN
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/V]
//	azurekms://HOST/KEY[/VERSION]
//	hashivault://KEY
//
// It asks for the public key; the private one never leaves the service. Every
// signature is verified before it is returned: a service whose key signs in a
// way of its own, with another hash or padding, is of no use to a verifier.
func OpenKMS(ctx context.Context, ref string, o KMSOptions) (Key, error) {
	scheme, _, ok := strings.Cut(ref, "://")
	if !ok {
		return nil, fmt.Errorf("key %q is no URI", ref)
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

// rawKey is what each service's client is.
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
		return nil, fmt.Errorf("the service signs in a way that is not verified (wanted: ECDSA or RSA PKCS #1 v1.5 with SHA-256, or Ed25519): %w", err)
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

// openVault gives the library an address and a token: for want of one it would
// look into files, and run a program that is named there.
func openVault(ref string, o KMSOptions) (rawKey, error) {
	if o.VaultAddress == "" || o.VaultToken == "" {
		return nil, errors.New("there is no address of a Vault server, or no token for it")
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
		// Else the hash would be signed in place of the message.
		return hashivault.LoadSignerVerifier(ref, crypto.Hash(0), auth)
	}
	return key, nil
}
