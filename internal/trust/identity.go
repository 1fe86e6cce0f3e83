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

// Identity is whom a certificate of Fulcio states. Of each pair exactly one is
// to be set. A pattern is a regular expression that must match the whole value.
type Identity struct {
	// Issuer is the URL of the OpenID Connect issuer.
	Issuer, IssuerPattern string
	// Subject is the subject alternative name: an email address, or the URL of
	// a workflow.
	Subject, SubjectPattern string
}

func (i Identity) matcher() (verify.CertificateIdentity, error) {
	if (i.Issuer == "") == (i.IssuerPattern == "") {
		return verify.CertificateIdentity{}, errors.New("an identity has either an issuer or a pattern for it")
	}
	if (i.Subject == "") == (i.SubjectPattern == "") {
		return verify.CertificateIdentity{}, errors.New("an identity has either a subject or a pattern for it")
	}
	issuer, err := anchored(i.IssuerPattern)
	if err != nil {
		return verify.CertificateIdentity{}, fmt.Errorf("the pattern for an issuer: %w", err)
	}
	subject, err := anchored(i.SubjectPattern)
	if err != nil {
		return verify.CertificateIdentity{}, fmt.Errorf("the pattern for a subject: %w", err)
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

// Check tells whether the identity can be looked for.
func (i Identity) Check() error {
	_, err := i.matcher()
	return err
}

// anchored compiles the pattern by itself first: one that closes the group and
// opens another would be anchored at one end only.
func anchored(pattern string) (string, error) {
	if pattern == "" {
		return "", nil
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return "", err
	}
	return `\A(?:` + pattern + `)\z`, nil
}

// Root is what the services of a Sigstore are trusted by: the certificates of
// authorities, the keys of logs.
type Root struct{ material root.TrustedMaterial }

// LoadRoot reads a trusted root in JSON:
// https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
func LoadRoot(data []byte) (*Root, error) {
	material, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("reading a trusted root: %w", err)
	}
	return &Root{material}, nil
}

// Signatory is who made a signature.
type Signatory struct {
	// Key is the Fingerprint of a key; empty for an identity.
	Key string
	// Issuer and Subject are those of a certificate.
	Issuer, Subject string
	// At is the earliest time that a log or a timestamp authority proves; zero
	// for a key, of which neither is asked.
	At time.Time
}

// String is the key's fingerprint, or the subject and its issuer.
func (s Signatory) String() string {
	if s.Key != "" {
		return s.Key
	}
	return fmt.Sprintf("%s (%s)", s.Subject, s.Issuer)
}

// errNoIdentity is the answer of a Trust that has keys alone to a certificate.
var errNoIdentity = errors.New("a signature is by an identity, and none is trusted")

// verifyCertified proves that a trusted identity signed: the certificate is by
// an authority of the root and was valid when the signature was witnessed. For a
// message signature the message is needed.
func (t Trust) verifyCertified(b *bundle.Bundle, message []byte) (Signatory, error) {
	if len(t.Identities) == 0 {
		if len(t.Keys) == 0 {
			return Signatory{}, errNobody
		}
		return Signatory{}, errNoIdentity
	}
	if t.Root == nil {
		return Signatory{}, errors.New("an identity is trusted, and there is no trusted root to know it by")
	}
	var whose []verify.PolicyOption
	for _, i := range t.Identities {
		m, err := i.matcher()
		if err != nil {
			return Signatory{}, err
		}
		whose = append(whose, verify.WithCertificateIdentity(m))
	}
	// Who calls holds the statement's subjects against the digest.
	about := verify.WithoutArtifactUnsafe()
	if b.GetMessageSignature() != nil {
		about = verify.WithArtifact(bytes.NewReader(message))
	}
	result, err := t.verifyWitnessed(b, verify.NewPolicy(about, whose...))
	if err != nil {
		return Signatory{}, err
	}
	by := Signatory{Issuer: result.Signature.Certificate.Issuer, Subject: result.Signature.Certificate.SubjectAlternativeName}
	for _, at := range result.VerifiedTimestamps {
		if by.At.IsZero() || at.Timestamp.Before(by.At) {
			by.At = at.Timestamp
		}
	}
	return by, nil
}

// verifyWitnessed demands a log and, if that is allowed to be missing, at least
// an authority. The library asks a log for the time only if an entry is demanded
// as well, so there are two attempts.
func (t Trust) verifyWitnessed(b *bundle.Bundle, policy verify.PolicyBuilder) (*verify.VerificationResult, error) {
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

// verify holds what has just been made against the root: an answer of a service
// that cannot be verified is worth nothing to anybody.
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

// keyMaterial is a root, and one key beside it.
type keyMaterial struct {
	root.TrustedMaterial
	key signature.Verifier
}

func (k keyMaterial) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return root.NewExpiringKey(k.key, time.Time{}, time.Time{}), nil
}
