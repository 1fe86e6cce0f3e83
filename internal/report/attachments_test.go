package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAttachmentsNameTheirSigners(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	r := Report{Finished: at.Add(48 * time.Hour), Attachments: []Attachment{
		{Subject: "sha256:aa", Format: "legacy", PredicateType: "https://sigstore.dev/cosign/sign/v1", Signature: true, Digest: "sha256:01",
			Signer: AttachedSigner{Key: "sha256:ff"}, Logged: at, Trusted: true},
		{Subject: "sha256:aa", Format: "bundle", PredicateType: "https://slsa.dev/verification_summary/v1", Digest: "sha256:02",
			Signer: AttachedSigner{Subject: "a@example.com", Issuer: "https://issuer.example"}, Logged: at, LogVerified: true,
			Result: "PASSED", Decided: at, Trusted: true},
		{Subject: "sha256:bb", Platform: "linux/arm64", Format: "bundle", PredicateType: "x", Digest: "sha256:03",
			Signer: AttachedSigner{Key: "sha256:ee"}, Reason: "the signer is not a trusted key"},
		{Subject: "sha256:bb", Platform: "linux/arm64", Format: "legacy", Reason: "reading an envelope: \x1b[31m"},
	}}
	r.Input.Image.Reference, r.Input.Image.Digest = "registry.example/app:1", "sha256:aa"
	const want = `Image       registry.example/app:1
Digest      sha256:aa

Attached signatures and statements: 4, 2 trusted

  attached to the image sha256:aa

    signature (legacy)
      sha256:01
      signed by key sha256:ff
      claims to be logged 2026-01-02 03:04 UTC (2 days ago)

    https://slsa.dev/verification_summary/v1 (bundle)
      sha256:02
      signed by a@example.com, issuer https://issuer.example
      PASSED, decided 2026-01-02 03:04 UTC (2 days ago)
      logged 2026-01-02 03:04 UTC (2 days ago), verified

  attached to linux/arm64 sha256:bb

    x (bundle)
      sha256:03
      claims to be signed by key sha256:ee
      ignored: the signer is not a trusted key

    a statement of unknown type (legacy)
      unknown signer
      ignored: reading an envelope: \x1b[31m
`
	if diff := cmp.Diff(want, render(t, TextOptions{}.attachmentsText, r)); diff != "" {
		t.Error(diff)
	}
}
