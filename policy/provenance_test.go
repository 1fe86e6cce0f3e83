package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

// testKey is a public key. testFingerprint is its fingerprint, as openssl computes it for the DER
// form.
const (
	testKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAES1m3/UpMNhlO9PV2hT1JAN07MfEe
TEaEv6hxPhBmw7J+4OpNxrcgLdgRpIO4ETKJshofwxJ/PINyoueDxGjg3A==
-----END PUBLIC KEY-----
`
	testFingerprint = "sha256:0ac773fe8b7ce5aa23aa440b68b1d7c60f0369f668b4f23221d8edfb7ef1b964"
)

func TestFingerprint(t *testing.T) {
	got, err := Fingerprint(testKey)
	if err != nil || got != testFingerprint {
		t.Errorf("%s, %v", got, err)
	}
}

// TestParseSigners checks that a signer must be a key or an identity, and that sections can only
// name signers that the policy defines.
func TestParseSigners(t *testing.T) {
	key := "|\n      " + strings.ReplaceAll(strings.TrimSpace(testKey), "\n", "\n      ") + "\n"
	p := parsed(t, minimal+`signers:
  - name: engineers
    key: `+key+`  - name: ci
    issuer: https://login.example
    subject: https://git.example/*
provenance:
  - name: built
    signers: [ci, engineers]
    source: https://git.example/*
`)
	if want := (SignerRule{Name: "ci", Position: at(11, 5), Issuer: "https://login.example", Subject: "https://git.example/*"}); p.Signers[1] != want {
		t.Errorf("%+v", p.Signers[1])
	}
	if got, err := Fingerprint(p.Signers[0].Key); err != nil || got != testFingerprint {
		t.Errorf("%s, %v", got, err)
	}
	want := []ProvenanceRule{{Name: "built", Position: at(15, 5), Signers: []string{"ci", "engineers"}, Source: "https://git.example/*"}}
	if diff := cmp.Diff(want, p.Provenance); diff != "" {
		t.Error(diff)
	}
	for source, want := range map[string]string{
		"signers: [{name: a}]\n":            `4:11: a signer has 0 of the keys key, issuer: expected exactly one`,
		"signers: [{name: a, issuer: i}]\n": `4:11: a signer with "issuer" has no "subject", which is mandatory`,
		"signers: [{name: a, key: x}]\n":    `4:26: "key": has no PEM block`,
		"signers: [{name: a, issuer: i, subject: s}, {name: a, issuer: i, subject: s}]\n":                                   `4:52: another signer on line 4 is named "a"`,
		"provenance: [{name: p, signers: [nobody]}]\n":                                                                      `4:14: "nobody" is not one of the policy's signers`,
		"provenance: [{name: p}]\n":                                                                                         `4:14: a rule about provenance has no "signers", which is mandatory`,
		"provenance: [{name: p, signers: []}]\n":                                                                            `4:33: "signers" is empty: list at least one signer`,
		"images: [{match: x, provenance: [{name: p, signers: [q]}]}]\n":                                                     `4:34: "q" is not one of the policy's signers`,
		"signers: [{name: a, issuer: i, subject: s}]\nprovenance: [{name: p, signers: [a], type: signature, builder: b}]\n": `5:14: a signature states neither builder nor source: expected type slsa`,
		"signers: [{name: a, issuer: i, subject: s}]\nprovenance: [{name: p, signers: [a], type: x}]\n":                     `5:44: "type": unknown type of provenance "x": expected slsa or signature`,
	} {
		if diff := cmp.Diff([]string{"p.yaml:" + want}, problems(t, minimal+source)); diff != "" {
			t.Errorf("%s: %s", source, diff)
		}
	}
	other := strings.ReplaceAll(testKey, "PUBLIC KEY", "CERTIFICATE")
	if _, err := Fingerprint(other); err == nil {
		t.Error("a certificate is taken for a key")
	}
	if _, err := Fingerprint(testKey + testKey); err == nil {
		t.Error("two keys are taken for one")
	}
}

// TestEachPolicyTrustsItsOwnSigners checks that a policy does not trust a signer that only another
// policy defines, even under the same name.
func TestEachPolicyTrustsItsOwnSigners(t *testing.T) {
	ours := blockAll()
	ours.Signers = []SignerRule{{Name: "ci", Key: testKey}}
	ours.Provenance = []ProvenanceRule{{Name: "signed", Signers: []string{"ci"}, Type: ProvenanceSignature}}
	theirs := blockAll()
	theirs.Signers = []SignerRule{{Name: "ci", Issuer: "*", Subject: "*"}}
	in := cleanInput()
	in.Attestations = []evidence.Attestation{{Digest: "sha256:1", Subject: in.Image.Digest, Signer: evidence.Signer{Issuer: "i", Subject: "s"}}}
	if (Set{ours, theirs}).Evaluate(in, now).Passed {
		t.Error("a signer of the other policy counts")
	}
	in.Attestations[0].Signer = evidence.Signer{Key: testFingerprint}
	d := Set{ours, theirs}.Evaluate(in, now)
	if !d.Passed || len(d.Provenance) != 1 || d.Provenance[0].Rule != "signed" {
		t.Errorf("%+v", d)
	}
	if got := (Set{ours, theirs, ours}).Signers(); len(got) != 2 {
		t.Errorf("%d signers", len(got))
	}
	if !(Set{theirs, ours}).UsesSigned("any") || (Set{theirs}).UsesSigned("any") {
		t.Error("UsesSigned")
	}
}
