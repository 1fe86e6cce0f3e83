package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/sigstore/sigstore/pkg/signature"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// azureKey is a key in Azure Key Vault. It does not use sigstore's client, because that runs the
// Azure command line tools that it finds in the PATH, and makes invalid signatures with RSA keys.
type azureKey struct {
	client        *azkeys.Client
	name, version string
	public        crypto.PublicKey
	algorithm     azkeys.SignatureAlgorithm
}

type azureOptions struct {
	credential azcore.TokenCredential
	client     azkeys.ClientOptions
}

var azureReference = regexp.MustCompile(`^azurekms://([A-Za-z0-9.:-]+)/([A-Za-z0-9-]+)(?:/([a-z0-9]+))?$`)

func openAzure(ctx context.Context, ref string, o KMSOptions) (rawKey, error) {
	parts := azureReference.FindStringSubmatch(ref)
	if parts == nil {
		return nil, errors.New("the key must have the form azurekms://HOST/KEY or azurekms://HOST/KEY/VERSION")
	}
	var opts azureOptions
	if o.azure != nil {
		opts = *o.azure
	}
	if o.client != nil {
		opts.client.Transport = o.client
	}
	if opts.credential == nil {
		var err error
		if opts.credential, err = azureCredential(opts.client.ClientOptions); err != nil {
			return nil, err
		}
	}
	client, err := azkeys.NewClient("https://"+parts[1]+"/", opts.credential, &opts.client)
	if err != nil {
		return nil, err
	}
	k := &azureKey{client: client, name: parts[2], version: parts[3]}
	return k, k.load(ctx)
}

// azureCredential returns the credentials of a workload: a secret or certificate in the
// environment, a federated token, or the identity of the machine.
func azureCredential(o azcore.ClientOptions) (azcore.TokenCredential, error) {
	var sources []azcore.TokenCredential
	var errs []error
	add := func(c azcore.TokenCredential, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		sources = append(sources, c)
	}
	environment, err := azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{ClientOptions: o})
	add(environment, err)
	workload, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: o})
	add(workload, err)
	managed, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o})
	add(managed, err)
	if len(sources) == 0 {
		return nil, errors.Join(errs...)
	}
	return azidentity.NewChainedTokenCredential(sources, nil)
}

// load reads the public key and the version of the key. If the key is rotated later, this version
// still makes all signatures.
func (k *azureKey) load(ctx context.Context) error {
	found, err := k.client.GetKey(ctx, k.name, k.version, nil)
	if err != nil {
		return err
	}
	jwk := found.Key
	if jwk == nil || jwk.Kty == nil || jwk.KID == nil {
		return errors.New("the response of Azure Key Vault has no key")
	}
	k.version = jwk.KID.Version()
	switch *jwk.Kty {
	case azkeys.KeyTypeEC, azkeys.KeyTypeECHSM:
		if jwk.Crv == nil || *jwk.Crv != azkeys.CurveNameP256 {
			return errors.New("unsupported elliptic curve: Azure signs with SHA-256 only on P-256")
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, padded(jwk.X)...), padded(jwk.Y)...))
		if err != nil {
			return err
		}
		k.public, k.algorithm = public, azkeys.SignatureAlgorithmES256
	case azkeys.KeyTypeRSA, azkeys.KeyTypeRSAHSM:
		k.public = &rsa.PublicKey{N: new(big.Int).SetBytes(jwk.N), E: int(new(big.Int).SetBytes(jwk.E).Int64())}
		k.algorithm = azkeys.SignatureAlgorithmRS256
	default:
		return fmt.Errorf("a key of type %q cannot sign", *jwk.Kty)
	}
	return nil
}

// padded returns a coordinate of a P-256 point, padded with leading zeros to its full length.
func padded(b []byte) []byte {
	const size = 32
	if len(b) >= size {
		return b
	}
	return append(make([]byte, size-len(b)), b...)
}

func (k *azureKey) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return k.public, nil
}

func (k *azureKey) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	var ctx context.Context
	for _, o := range opts {
		o.ApplyContext(&ctx)
	}
	h := sha256.New()
	if _, err := io.Copy(h, message); err != nil {
		return nil, err
	}
	out, err := k.client.Sign(ctx, k.name, k.version, azkeys.SignParameters{Algorithm: &k.algorithm, Value: h.Sum(nil)}, nil)
	if err != nil {
		return nil, err
	}
	if k.algorithm == azkeys.SignatureAlgorithmES256 {
		return asn1Signature(out.Result)
	}
	return out.Result, nil
}

// asn1Signature converts an ECDSA signature from the concatenation of r and s to ASN.1.
func asn1Signature(raw []byte) ([]byte, error) {
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("unexpected signature size of %d bytes", len(raw))
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:len(raw)/2]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[len(raw)/2:]))
	})
	return b.Bytes()
}
