package trust

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Identity matches the issuer and subject of a Fulcio certificate. Set exactly one field of each
// pair. A pattern is a regular expression that must match the whole value.
type Identity struct {
	// Issuer is the URL of the OpenID Connect issuer.
	Issuer, IssuerPattern string
	// Subject is the subject alternative name: an email address, or the URL of a workflow.
	Subject, SubjectPattern string
}

func (i Identity) matcher() (verify.CertificateIdentity, error) {
	if (i.Issuer == "") == (i.IssuerPattern == "") {
		return verify.CertificateIdentity{}, errors.New("an identity must have either an issuer or a pattern for the issuer")
	}
	if (i.Subject == "") == (i.SubjectPattern == "") {
		return verify.CertificateIdentity{}, errors.New("an identity must have either a subject or a pattern for the subject")
	}
	issuer, err := anchored(i.IssuerPattern)
	if err != nil {
		return verify.CertificateIdentity{}, fmt.Errorf("parsing the pattern for the issuer: %w", err)
	}
	subject, err := anchored(i.SubjectPattern)
	if err != nil {
		return verify.CertificateIdentity{}, fmt.Errorf("parsing the pattern for the subject: %w", err)
	}
	issuers, err := verify.NewIssuerMatcher(i.Issuer, issuer)
	if err != nil {
		return verify.CertificateIdentity{}, err
	}
	subjects, err := verify.NewSANMatcher(i.Subject, subject)
	if err != nil {
		return verify.CertificateIdentity{}, err
	}
	return verify.CertificateIdentity{SubjectAlternativeName: subjects, Issuer: issuers}, nil
}

// Check returns an error unless exactly one field of each pair is set and all patterns are valid.
func (i Identity) Check() error {
	_, err := i.matcher()
	return err
}

// anchored returns the pattern in a group with anchors at both ends. It first compiles the pattern
// alone, because a pattern such as "a)|(b" would close the group and escape the anchors.
func anchored(pattern string) (string, error) {
	if pattern == "" {
		return "", nil
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return "", err
	}
	return `\A(?:` + pattern + `)\z`, nil
}

// Root is a Sigstore trusted root: the certificates of the authorities and the keys of the logs.
type Root struct{ material root.TrustedMaterial }

// LoadRoot parses a trusted root in JSON:
// https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
func LoadRoot(data []byte) (*Root, error) {
	material, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("reading a trusted root: %w", err)
	}
	return &Root{material}, nil
}

// SignerIdentity identifies the signer of a signature: a key or an identity.
type SignerIdentity struct {
	// Key is the Fingerprint of the key. It is empty for an identity.
	Key string
	// Issuer and Subject are the values in the certificate. They are empty for a key.
	Issuer, Subject string
	// At is the earliest time of the signature that a log or a timestamp authority proves. It is
	// zero for a key, because signatures by keys need neither.
	At time.Time
}

// String returns the fingerprint of the key, or the subject and its issuer.
func (s SignerIdentity) String() string {
	if s.Key != "" {
		return s.Key
	}
	return fmt.Sprintf("%s (%s)", s.Subject, s.Issuer)
}

// errNoIdentity is the error for a signature by an identity if only keys are trusted.
var errNoIdentity = errors.New("the signer is an identity, and no identity is trusted")

// verifyCertified verifies that a trusted identity made the signature in a bundle. An authority in
// the root must have issued the certificate, and the certificate must have been valid at the time
// that a log or a timestamp authority confirmed. message is required for a message signature.
func (t Trust) verifyCertified(b *bundle.Bundle, message []byte) (SignerIdentity, error) {
	if len(t.Identities) == 0 {
		if len(t.Keys) == 0 {
			return SignerIdentity{}, errNoTrust
		}
		return SignerIdentity{}, errNoIdentity
	}
	if t.Root == nil {
		return SignerIdentity{}, errors.New("an identity is trusted, but no trusted root is given to verify it")
	}
	var whose []verify.PolicyOption
	for _, i := range t.Identities {
		m, err := i.matcher()
		if err != nil {
			return SignerIdentity{}, err
		}
		whose = append(whose, verify.WithCertificateIdentity(m))
	}
	// Verifying without an artifact is safe here, because the caller checks that the digest is a
	// subject of the statement.
	about := verify.WithoutArtifactUnsafe()
	if b.GetMessageSignature() != nil {
		about = verify.WithArtifact(bytes.NewReader(message))
	}
	result, err := t.verifyLogged(b, verify.NewPolicy(about, whose...))
	if err != nil {
		return SignerIdentity{}, err
	}
	by := SignerIdentity{Issuer: result.Signature.Certificate.Issuer, Subject: result.Signature.Certificate.SubjectAlternativeName}
	for _, at := range result.VerifiedTimestamps {
		if by.At.IsZero() || at.Timestamp.Before(by.At) {
			by.At = at.Timestamp
		}
	}
	return by, nil
}

// VerifyMessage verifies that a trusted identity signed the message. signature is a Sigstore bundle
// with a message signature, as "cosign sign-blob --bundle" writes it.
func (t Trust) VerifyMessage(signature, message []byte) (SignerIdentity, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(signature); err != nil {
		return SignerIdentity{}, fmt.Errorf("reading a bundle: %w", err)
	}
	if b.GetMessageSignature() == nil {
		return SignerIdentity{}, errors.New("reading a bundle: it has no signature of a message")
	}
	return t.verifyCertified(&b, message)
}

// verifyLogged requires a log entry or, if AllowUnlogged is set, at least a timestamp. It verifies
// in two attempts, because sigstore-go uses the time of a log entry only if a log entry is
// required.
func (t Trust) verifyLogged(b *bundle.Bundle, policy verify.PolicyBuilder) (*verify.VerificationResult, error) {
	demands := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(t.Root.material.CTLogs()) > 0 {
		demands = append(demands, verify.WithSignedCertificateTimestamps(1))
	}
	logged, err := verify.NewVerifier(t.Root.material, append(slices.Clone(demands), verify.WithTransparencyLog(1))...)
	if err != nil {
		return nil, err
	}
	result, err := logged.Verify(b, policy)
	if err == nil || !t.AllowUnlogged {
		return result, err
	}
	unlogged, err := verify.NewVerifier(t.Root.material, demands...)
	if err != nil {
		return nil, err
	}
	return unlogged.Verify(b, policy)
}

// verify verifies a new signature and the responses of the services against the trusted root. If
// verify fails, verifiers would also refuse the signature.
func (s *Signer) verify(b *protobundle.Bundle, who session, message []byte) error {
	made, err := bundle.NewBundle(b)
	if err != nil {
		return err
	}
	if who.cert != nil {
		t := s.trust
		t.AllowUnlogged = len(b.GetVerificationMaterial().GetTlogEntries()) == 0 && t.AllowUnlogged
		_, err := t.verifyCertified(made, message)
		return err
	}
	var demands []verify.VerifierOption
	if n := len(b.GetVerificationMaterial().GetTlogEntries()); n > 0 {
		demands = append(demands, verify.WithTransparencyLog(n))
	}
	if n := len(s.services.TimestampAuthorities); n > 0 {
		demands = append(demands, verify.WithSignedTimestamps(n))
	} else {
		demands = append(demands, verify.WithNoObserverTimestamps())
	}
	key, err := signature.LoadVerifier(who.key.PublicKey(), hash)
	if err != nil {
		return err
	}
	verifier, err := verify.NewVerifier(keyMaterial{s.services.Root.material, key}, demands...)
	if err != nil {
		return err
	}
	about := verify.WithoutArtifactUnsafe()
	if b.GetMessageSignature() != nil {
		about = verify.WithArtifact(bytes.NewReader(message))
	}
	_, err = verifier.Verify(made, verify.NewPolicy(about, verify.WithKey()))
	return err
}

// keyMaterial is a trusted root that also trusts one public key, at any time.
type keyMaterial struct {
	root.TrustedMaterial
	key signature.Verifier
}

func (k keyMaterial) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return root.NewExpiringKey(k.key, time.Time{}, time.Time{}), nil
}
