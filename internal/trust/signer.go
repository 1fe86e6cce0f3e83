package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// Signer signs with a key or with an identity. For each signature, it gets the log entries and
// timestamps of the configured services. A Signer is safe for concurrent use.
type Signer struct {
	services Services
	key      Key         // the key; nil for an identity
	token    TokenSource // the source of identity tokens; nil for a key
	trust    Trust

	mu      sync.Mutex
	session session // the current session, protected by mu
}

// session is a signing key and, for an identity, the certificate for that key.
type session struct {
	key  Key
	cert *x509.Certificate // the certificate; nil for a key without a certificate
}

// NewSigner returns a Signer for a key. With the zero Services, signatures get no log entries and
// no timestamps.
func NewSigner(key Key, services Services) (*Signer, error) {
	if err := services.check(); err != nil {
		return nil, err
	}
	if len(services.Logs) > 0 && !isLoggable(key.PublicKey()) {
		return nil, errors.New("unsupported key: a transparency log accepts only ECDSA P-256 and RSA keys")
	}
	return &Signer{services: services, key: key, trust: Trust{Keys: []crypto.PublicKey{key.PublicKey()}}}, nil
}

// isLoggable reports whether a transparency log accepts signatures by the key. The log must expect
// the hash that this package uses.
func isLoggable(public crypto.PublicKey) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	case *rsa.PublicKey:
		return true
	}
	return false
}

// NewKeyless returns a Signer for the identity in a token. Whenever its certificate is about to
// expire, the Signer makes a new key and requests a certificate from Fulcio. NewKeyless requests
// the first certificate immediately, so that errors appear before anything is signed.
func NewKeyless(ctx context.Context, token TokenSource, services Services) (*Signer, error) {
	if err := services.check(); err != nil {
		return nil, err
	}
	switch {
	case services.Fulcio == "":
		return nil, errors.New("no certificate authority (Fulcio) is configured")
	case len(services.Logs) == 0 && len(services.TimestampAuthorities) == 0:
		return nil, errors.New("neither a transparency log nor a timestamp authority is configured: a signature could not be verified after its certificate expires")
	case services.Now == nil:
		return nil, errors.New("no clock is configured")
	}
	s := &Signer{services: services, token: token}
	first, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	summary, err := certificate.SummarizeCertificate(first.cert)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	s.trust = Trust{Root: services.Root, AllowUnlogged: len(services.Logs) == 0 || len(services.TimestampAuthorities) > 0,
		Identities: []Identity{{Issuer: summary.Issuer, Subject: summary.SubjectAlternativeName}}}
	return s, nil
}

// PublicKey returns the public key of a key signer. For an identity it returns nil, because the key
// changes.
func (s *Signer) PublicKey() crypto.PublicKey {
	if s.key == nil {
		return nil
	}
	return s.key.PublicKey()
}

// Trust returns a Trust that accepts only signatures by this signer.
func (s *Signer) Trust() Trust { return s.trust }

// isPlain reports whether the Signer makes plain signatures, without a certificate, log entry or
// timestamp.
func (s *Signer) isPlain() bool {
	return s.key != nil && len(s.services.Logs) == 0 && len(s.services.TimestampAuthorities) == 0
}

// sessionReserve is the minimum remaining validity of a certificate. Below it, the certificate is
// renewed, because a signature must be logged or timestamped while its certificate is valid.
const sessionReserve = 2 * time.Minute

// current returns the session for the next signature. It renews a certificate that is about to
// expire.
func (s *Signer) current(ctx context.Context) (session, error) {
	if s.key != nil {
		return session{key: s.key}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session.cert != nil && s.services.Now().Add(sessionReserve).Before(s.session.cert.NotAfter) {
		return s.session, nil
	}
	fresh, err := s.certify(ctx)
	if err != nil {
		return session{}, fmt.Errorf("requesting a certificate from %s: %w", s.services.Fulcio, err)
	}
	s.session = fresh
	return fresh, nil
}

func (s *Signer) certify(ctx context.Context) (session, error) {
	token, err := s.token(ctx)
	if err != nil {
		return session{}, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return session{}, err
	}
	key, err := asKey(private)
	if err != nil {
		return session{}, err
	}
	fulcio := sign.NewFulcio(&sign.FulcioOptions{BaseURL: s.services.Fulcio, Transport: s.services.transport(ctx), Retries: 2})
	der, err := fulcio.GetCertificate(ctx, keypair{key}, &sign.CertificateProviderOptions{IDToken: token})
	if err != nil {
		return session{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return session{}, err
	}
	if Fingerprint(cert.PublicKey) != Fingerprint(key.PublicKey()) {
		return session{}, errors.New("Fulcio issued the certificate for a different key")
	}
	return session{key, cert}, nil
}

// material returns the verification material of a bundle: the certificate, or a hint to the key.
func (s session) material() (*protobundle.VerificationMaterial, error) {
	if s.cert != nil {
		return &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_Certificate{
			Certificate: &protocommon.X509Certificate{RawBytes: s.cert.Raw}}}, nil
	}
	hint, err := keypair{s.key}.hint()
	if err != nil {
		return nil, err
	}
	return &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{
		PublicKey: &protocommon.PublicKeyIdentifier{Hint: hint}}}, nil
}

// pem returns the certificate or the public key in PEM.
func (s session) pem() ([]byte, error) {
	if s.cert != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}), nil
	}
	return cryptoutils.MarshalPublicKeyToPEM(s.key.PublicKey())
}

// keypair adapts a Key to sigstore-go's Fulcio client. It is used only with the ECDSA P-256 keys
// that certify makes.
type keypair struct{ Key }

var _ sign.Keypair = keypair{}

func (k keypair) hint() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.PublicKey())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

func (k keypair) GetHint() []byte {
	hint, _ := k.hint()
	return []byte(hint)
}

func (k keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	return protocommon.HashAlgorithm_SHA2_256
}

func (k keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
}

func (k keypair) GetKeyAlgorithm() string        { return "ECDSA" }
func (k keypair) GetPublicKey() crypto.PublicKey { return k.PublicKey() }

func (k keypair) GetPublicKeyPem() (string, error) {
	text, err := cryptoutils.MarshalPublicKeyToPEM(k.PublicKey())
	return string(text), err
}

func (k keypair) SignData(ctx context.Context, data []byte) (sig, digest []byte, err error) {
	sum := sha256.Sum256(data)
	sig, err = k.Sign(ctx, data)
	return sig, sum[:], err
}
