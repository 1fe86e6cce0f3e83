package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

// authorityOf issues certificates for a workflow run, as Fulcio does.
type authorityOf struct {
	*sigstore
	run workflowRun
}

// validity is how long the certificate of a signing key is valid.
const validity = 10 * time.Minute

// GetCertificate returns a certificate for the key, with a signed certificate timestamp.
func (a authorityOf) GetCertificate(_ context.Context, key sign.Keypair, _ *sign.CertificateProviderOptions) ([]byte, error) {
	subject, err := url.Parse(a.run.subject())
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	start := time.Now().Add(-time.Minute)
	if a.run.Expired {
		start = start.Add(-2 * validity)
	}
	template := &x509.Certificate{
		SerialNumber: serial, URIs: []*url.URL{subject}, NotBefore: start, NotAfter: start.Add(validity),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if template.ExtraExtensions, err = a.run.extensions(); err != nil {
		return nil, err
	}
	// The log of certificates signs the certificate without the extension that has its signature.
	der, err := x509.CreateCertificate(rand.Reader, template, a.intermediate, key.GetPublicKey(), a.authority)
	if err != nil {
		return nil, err
	}
	unlogged, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	timestamp, err := a.timestamp(unlogged)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = append(template.ExtraExtensions, timestamp)
	return x509.CreateCertificate(rand.Reader, template, a.intermediate, key.GetPublicKey(), a.authority)
}

// timestamp returns the extension with the signed certificate timestamp:
// https://www.rfc-editor.org/rfc/rfc6962#section-3.3
func (s *sigstore) timestamp(cert *x509.Certificate) (pkix.Extension, error) {
	id, err := keyID(s.certificateLog)
	if err != nil {
		return pkix.Extension{}, err
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: id}, Timestamp: uint64(time.Now().UnixMilli())}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: ct.MerkleTreeLeaf{
		Version: ct.V1, LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{EntryType: ct.PrecertLogEntryType, Timestamp: sct.Timestamp, PrecertEntry: &ct.PreCert{
			IssuerKeyHash: sha256.Sum256(s.intermediate.RawSubjectPublicKeyInfo), TBSCertificate: cert.RawTBSCertificate}},
	}})
	if err != nil {
		return pkix.Extension{}, err
	}
	by, err := tls.CreateSignature(*s.certificateLog, tls.SHA256, input)
	if err != nil {
		return pkix.Extension{}, err
	}
	sct.Signature = ct.DigitallySigned(by)
	list, err := x509util.MarshalSCTsIntoSCTList([]*ct.SignedCertificateTimestamp{&sct})
	if err != nil {
		return pkix.Extension{}, err
	}
	encoded, err := tls.Marshal(*list)
	if err != nil {
		return pkix.Extension{}, err
	}
	value, err := asn1.Marshal(encoded)
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value}, err
}

// extensions returns the claims of the run that Fulcio copies from GitHub's identity token:
// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
func (r workflowRun) extensions() ([]pkix.Extension, error) {
	// The deprecated extensions have the last numbers 1 to 6, and contain the value itself. The
	// others contain a UTF8String.
	deprecated := []string{r.Issuer, trigger, r.Commit, "release", path(r.source()), r.ref()}
	encoded := []struct {
		id    asn1.ObjectIdentifier
		value string
	}{
		{certificate.OIDIssuerV2, r.Issuer},
		{certificate.OIDBuildSignerURI, r.subject()},
		{certificate.OIDBuildSignerDigest, r.Commit},
		{certificate.OIDRunnerEnvironment, runner},
		{certificate.OIDSourceRepositoryURI, r.source()},
		{certificate.OIDSourceRepositoryDigest, r.Commit},
		{certificate.OIDSourceRepositoryRef, r.ref()},
		{certificate.OIDSourceRepositoryIdentifier, repositoryID},
		{certificate.OIDSourceRepositoryOwnerURI, owner(r.source())},
		{certificate.OIDSourceRepositoryOwnerIdentifier, ownerID},
		{certificate.OIDBuildConfigURI, r.config()},
		{certificate.OIDBuildConfigDigest, r.Commit},
		{certificate.OIDBuildTrigger, trigger},
		{certificate.OIDRunInvocationURI, r.invocation()},
		{certificate.OIDSourceRepositoryVisibilityAtSigning, "public"},
	}
	var out []pkix.Extension
	for i, value := range deprecated {
		out = append(out, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, i + 1}, Value: []byte(value)})
	}
	for _, c := range encoded {
		value, err := asn1.MarshalWithParams(c.value, "utf8")
		if err != nil {
			return nil, err
		}
		out = append(out, pkix.Extension{Id: c.id, Value: value})
	}
	return out, nil
}
