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

// Signer signs with a key, or with the identity that a certificate states, and
// has the services that it was given witness each signature. It may be used
// concurrently.
type Signer struct {
	services Services
	key      Key         // nil for an identity
	token    TokenSource // nil for a key
	trust    Trust

	mu      sync.Mutex
	session session // under mu
}

// session is a key with what says whose it is.
type session struct {
	key  Key
	cert *x509.Certificate // nil for a key that is known by itself
}

// NewSigner signs with a key. With the zero Services nothing else is asked.
func NewSigner(key Key, services Services) (*Signer, error) {
	if err := services.check(); err != nil {
		return nil, err
	}
	if len(services.Logs) > 0 && !isLoggable(key.PublicKey()) {
		return nil, errors.New("a transparency log takes signatures with SHA-256 by ECDSA P-256 and RSA keys alone")
	}
	return &Signer{services: services, key: key, trust: Trust{Keys: []crypto.PublicKey{key.PublicKey()}}}, nil
}

// isLoggable tells whether a log expects the hash that is used here.
func isLoggable(public crypto.PublicKey) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	case *rsa.PublicKey:
		return true
	}
	return false
}

// NewKeyless signs with the identity that a token states: each time that a
// certificate is about to expire, a new key is made and Fulcio certifies it. The
// first certificate is fetched at once, so that what is wrong shows before
// anything is signed.
func NewKeyless(ctx context.Context, token TokenSource, services Services) (*Signer, error) {
	if err := services.check(); err != nil {
		return nil, err
	}
	switch {
	case services.Fulcio == "":
		return nil, errors.New("no certificate authority")
	case len(services.Logs) == 0 && len(services.TimestampAuthorities) == 0:
		return nil, errors.New("neither a log nor a timestamp authority: a certificate would be worth nothing once it expires")
	case services.Now == nil:
		return nil, errors.New("no clock")
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

// PublicKey is the key's; nil for an identity, which changes it.
func (s *Signer) PublicKey() crypto.PublicKey {
	if s.key == nil {
		return nil
	}
	return s.key.PublicKey()
}

// Trust accepts what this signer makes, and nothing else.
func (s *Signer) Trust() Trust { return s.trust }

// isPlain tells whether a signature is all that there is.
func (s *Signer) isPlain() bool {
	return s.key != nil && len(s.services.Logs) == 0 && len(s.services.TimestampAuthorities) == 0
}

// Certificates are asked for again when so much of the old one is left: a
// signature must be witnessed while it is valid.
const sessionReserve = 2 * time.Minute

// current returns what to sign with.
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
		return session{}, fmt.Errorf("asking %s for a certificate: %w", s.services.Fulcio, err)
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
		return session{}, errors.New("the certificate is for another key")
	}
	return session{key, cert}, nil
}

// material is what a bundle says of the key.
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

// pem is the certificate, or the public key.
func (s session) pem() ([]byte, error) {
	if s.cert != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}), nil
	}
	return cryptoutils.MarshalPublicKeyToPEM(s.key.PublicKey())
}

// keypair is a Key as sigstore-go's client for Fulcio sees it, which is shown
// none but those that certify makes.
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
