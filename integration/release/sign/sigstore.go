package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"

	"github.com/imagegate/imagegate/internal/lab"
)

// sigstore is a private Sigstore without servers: a certificate authority, a log of certificates and
// a transparency log.
type sigstore struct {
	authority, log, certificateLog *ecdsa.PrivateKey
	root, intermediate             *x509.Certificate
	// entries are the hashes of the log entries.
	entries *testonly.Tree
}

// The names of the files in the folder of a Sigstore.
const (
	stateFile = "state.json"
	// rootFile is the trusted root, which verifiers need.
	rootFile = "trusted_root.json"
	// tufDir is a TUF repository with the trusted root. Any file server can serve the folder.
	tufDir = "tuf"
	// tufRootFile is the initial root metadata of the TUF repository.
	tufRootFile = "tuf_root.json"
)

// state is a Sigstore as a file: keys and certificates in DER, and the hashes of the log entries.
type state struct {
	Authority, Log, CertificateLog []byte
	Root, Intermediate             []byte
	Entries                        [][]byte
}

// lifetime is how long the certificates of the authority and the TUF metadata are valid.
const lifetime = 365 * 24 * time.Hour

// open returns the Sigstore in a folder. If the folder has none, open makes a Sigstore with new
// keys, its trusted root and its TUF repository.
func open(dir string) (*sigstore, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return create(dir)
	}
	if err != nil {
		return nil, err
	}
	return load(data)
}

func load(data []byte) (*sigstore, error) {
	var saved state
	if err := json.Unmarshal(data, &saved); err != nil {
		return nil, err
	}
	s := &sigstore{entries: testonly.New(rfc6962.DefaultHasher)}
	s.entries.Append(saved.Entries...)
	for key, der := range map[**ecdsa.PrivateKey][]byte{&s.authority: saved.Authority, &s.log: saved.Log, &s.certificateLog: saved.CertificateLog} {
		var err error
		if *key, err = x509.ParseECPrivateKey(der); err != nil {
			return nil, err
		}
	}
	var err error
	if s.root, err = x509.ParseCertificate(saved.Root); err != nil {
		return nil, err
	}
	s.intermediate, err = x509.ParseCertificate(saved.Intermediate)
	return s, err
}

func create(dir string) (*sigstore, error) {
	s := &sigstore{entries: testonly.New(rfc6962.DefaultHasher)}
	top, err := newKey()
	if err != nil {
		return nil, err
	}
	for _, key := range []**ecdsa.PrivateKey{&s.authority, &s.log, &s.certificateLog} {
		if *key, err = newKey(); err != nil {
			return nil, err
		}
	}
	if s.root, err = authority("imagegate-test", nil, top.Public(), top); err != nil {
		return nil, err
	}
	if s.intermediate, err = authority("imagegate-test-intermediate", s.root, s.authority.Public(), top); err != nil {
		return nil, err
	}
	trusted, err := s.trustedRoot()
	if err != nil {
		return nil, err
	}
	material, err := trusted.MarshalJSON()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, rootFile), material, 0o644); err != nil {
		return nil, err
	}
	if err := publish(dir, material); err != nil {
		return nil, err
	}
	return s, s.save(dir)
}

// publish writes the TUF repository.
func publish(dir string, material []byte) error {
	repository, err := lab.NewTUF()
	if err != nil {
		return err
	}
	if err := repository.Publish(1, time.Now().Add(lifetime), map[string][]byte{rootFile: material}); err != nil {
		return err
	}
	if err := repository.Save(filepath.Join(dir, tufDir)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, tufRootFile), repository.Root, 0o644)
}

// save writes the keys and the log to the folder. Call it after signing.
func (s *sigstore) save(dir string) error {
	saved := state{Root: s.root.Raw, Intermediate: s.intermediate.Raw}
	for der, key := range map[*[]byte]*ecdsa.PrivateKey{&saved.Authority: s.authority, &saved.Log: s.log, &saved.CertificateLog: s.certificateLog} {
		var err error
		if *der, err = x509.MarshalECPrivateKey(key); err != nil {
			return err
		}
	}
	for i := range s.entries.Size() {
		saved.Entries = append(saved.Entries, s.entries.LeafHash(i))
	}
	data, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, stateFile), data, 0o600)
}

func (s *sigstore) trustedRoot() (*root.TrustedRoot, error) {
	ca := &root.FulcioCertificateAuthority{Root: s.root, Intermediates: []*x509.Certificate{s.intermediate},
		ValidityPeriodStart: s.root.NotBefore, URI: "https://fulcio.example"}
	logs := map[string]*root.TransparencyLog{}
	certificateLogs := map[string]*root.TransparencyLog{}
	for _, l := range []struct {
		key     *ecdsa.PrivateKey
		address string
		into    map[string]*root.TransparencyLog
	}{{s.log, "https://" + logHost, logs}, {s.certificateLog, "https://ctlog.example", certificateLogs}} {
		id, err := keyID(l.key)
		if err != nil {
			return nil, err
		}
		l.into[hex.EncodeToString(id[:])] = &root.TransparencyLog{BaseURL: l.address, ID: id[:], HashFunc: crypto.SHA256,
			SignatureHashFunc: crypto.SHA256, PublicKey: l.key.Public(), ValidityPeriodStart: s.root.NotBefore}
	}
	return root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{ca}, certificateLogs, nil, logs)
}

// keyID returns the ID of a log in a trusted root: the SHA-256 of its public key.
func keyID(key *ecdsa.PrivateKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return sha256.Sum256(der), err
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// authority returns the certificate of an authority for a key. Without a parent, it signs itself.
func authority(name string, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: []string{"imagegate.example"}},
		// Certificates of expired runs must be in the validity period of the authority.
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(lifetime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	if parent == nil {
		parent = template
	} else {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		template.MaxPathLenZero = true
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of %s: %w", name, err)
	}
	return x509.ParseCertificate(der)
}

func newSerial() (*big.Int, error) {
	const bits = 128
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
}
