package attach

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/imagegate/imagegate/internal/trust"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/imagegate/imagegate/internal/lab"
)

// pushImage pushes an image with the given content to repo, and returns its digest.
func pushImage(t *testing.T, repo name.Repository, content string) v1.Hash {
	t.Helper()
	img, err := lab.Image(lab.ImageSpec{Files: []lab.File{{Path: "x", Content: content}}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Push(t.Context(), repo.Digest(digest.String()).String(), img); err != nil {
		t.Fatal(err)
	}
	return digest
}

// put stores attachments in a tag unchanged. Any user who may push to the repository can do this
// without a signing key.
func put(t *testing.T, tag name.Tag, attachments ...attachment) {
	t.Helper()
	if err := write(tag, attachments, nil); err != nil {
		t.Fatal(err)
	}
}

func rawAttachment(t *testing.T, body []byte, mediaType types.MediaType, annotations map[string]string) attachment {
	t.Helper()
	e, err := newAttachment(body, mediaType, annotations)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func copyTag(t *testing.T, from, to name.Tag) {
	t.Helper()
	img, err := remote.Image(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, img); err != nil {
		t.Fatal(err)
	}
}

// cosignAccepts verifies the signatures and attestations of ref with cosign's library. It returns
// one error for each, or nil if cosign accepts them.
func cosignAccepts(t *testing.T, key crypto.PublicKey, ref name.Digest) (signatures, attestations error) {
	t.Helper()
	v, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	opts := &cosign.CheckOpts{SigVerifier: v, IgnoreTlog: true, Offline: true, ClaimVerifier: cosign.SimpleClaimVerifier}
	_, _, signatures = cosign.VerifyImageSignatures(t.Context(), ref, opts)
	opts.ClaimVerifier = cosign.IntotoSubjectClaimVerifier
	_, _, attestations = cosign.VerifyImageAttestations(t.Context(), ref, opts)
	return signatures, attestations
}

// weAccept verifies the same signatures and attestations as cosignAccepts, but with this package.
func weAccept(t *testing.T, key crypto.PublicKey, ref name.Digest) (signatures, attestations error) {
	t.Helper()
	digest, err := v1.NewHash(ref.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	found, err := Read(t.Context(), trust.Both, ref)
	if err != nil {
		return err, err
	}
	tr := trust.Trust{Keys: []crypto.PublicKey{key}}
	signatures, attestations = errors.New("none"), errors.New("none")
	for _, s := range found.Signatures {
		if _, err := tr.VerifySignature(s, ref.Context(), digest); signatures != nil {
			signatures = err
		}
	}
	for _, e := range found.Envelopes {
		if _, _, err := tr.VerifyEnvelope(e, digest); attestations != nil {
			attestations = err
		}
	}
	return signatures, attestations
}

// TestCosignAgrees checks that cosign and this package accept and refuse the same attachments. The
// only exception is a signature for another repository: cosign accepts it, and this package must
// refuse it.
func TestCosignAgrees(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	const predicate = `{"spdxVersion":"SPDX-2.3","name":"genuine"}`
	for what, c := range map[string]struct {
		key                crypto.PublicKey
		store              func(t *testing.T, repo name.Repository, d v1.Hash)
		ours               bool // true if this package accepts the signature and the attestation
		cosignIsLaxAboutIt bool // true if cosign accepts a signature that this package refuses
	}{
		"ours": {key: s.PublicKey(), ours: true, store: func(t *testing.T, repo name.Repository, d v1.Hash) {
			storeBoth(t, s, repo, d, predicate)
		}},
		"ours among others'": {key: s.PublicKey(), ours: true, store: func(t *testing.T, repo name.Repository, d v1.Hash) {
			storeBoth(t, other, repo, d, predicate)
			storeBoth(t, s, repo, d, predicate)
			storeBoth(t, newSigner(t), repo, d, predicate)
		}},
		"nothing":     {key: s.PublicKey(), store: func(*testing.T, name.Repository, v1.Hash) {}},
		"another key": {key: other.PublicKey(), store: func(t *testing.T, repo name.Repository, d v1.Hash) { storeBoth(t, s, repo, d, predicate) }},
		"another digest": {key: s.PublicKey(), store: func(t *testing.T, repo name.Repository, d v1.Hash) {
			genuine := digestOf("a")
			storeBoth(t, s, repo, genuine, predicate)
			copyTag(t, signatureTag(repo, genuine), signatureTag(repo, d))
			copyTag(t, attestationTag(repo, genuine), attestationTag(repo, d))
		}},
		"tampered payloads": {key: s.PublicKey(), store: func(t *testing.T, repo name.Repository, d v1.Hash) {
			sig := signLegacy(t, s, repo, digestOf("a"))
			doc := bytes.Replace(sig.Payload, []byte(digestOf("a").String()), []byte(d.String()), 1)
			put(t, signatureTag(repo, d), rawAttachment(t, doc, trust.SignatureLayer, map[string]string{trust.SignatureAnnotation: sig.Base64}))

			env := attest(t, s, "x", predicate, d)
			body, err := env.Payload()
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := json.Unmarshal(env, &m); err != nil {
				t.Fatal(err)
			}
			m["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(body, []byte("genuine"), []byte("tampered"), 1))
			changed, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			put(t, attestationTag(repo, d), rawAttachment(t, changed, trust.EnvelopeLayer, map[string]string{trust.SignatureAnnotation: "", trust.PredicateAnnotation: "x"}))
		}},
		"swapped": {key: s.PublicKey(), store: func(t *testing.T, repo name.Repository, d v1.Hash) {
			storeBoth(t, s, repo, digestOf("a"), predicate)
			copyTag(t, signatureTag(repo, digestOf("a")), attestationTag(repo, d))
			copyTag(t, attestationTag(repo, digestOf("a")), signatureTag(repo, d))
		}},
		"garbage": {key: s.PublicKey(), store: func(t *testing.T, repo name.Repository, d v1.Hash) {
			put(t, signatureTag(repo, d), rawAttachment(t, []byte("x"), trust.SignatureLayer, map[string]string{trust.SignatureAnnotation: "x"}))
			put(t, attestationTag(repo, d), rawAttachment(t, []byte("x"), trust.EnvelopeLayer, map[string]string{trust.SignatureAnnotation: "", trust.PredicateAnnotation: "x"}))
		}},
		"another repository": {key: s.PublicKey(), cosignIsLaxAboutIt: true, store: func(t *testing.T, repo name.Repository, d v1.Hash) {
			elsewhere := repo.Registry.Repo("other")
			if err := store(t, s, trust.Legacy, elsewhere, d, Attachments{Signatures: []trust.Signature{signLegacy(t, s, elsewhere, d)}}); err != nil {
				t.Fatal(err)
			}
			copyTag(t, signatureTag(elsewhere, d), signatureTag(repo, d))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			repo := newRepo(t, "app")
			digest := pushImage(t, repo, what)
			c.store(t, repo, digest)
			ref := repo.Digest(digest.String())
			ourSig, ourAtt := weAccept(t, c.key, ref)
			cosignSig, cosignAtt := cosignAccepts(t, c.key, ref)
			if (ourSig == nil) != c.ours || (ourAtt == nil) != c.ours {
				t.Errorf("we: %v, %v", ourSig, ourAtt)
			}
			if (cosignSig == nil) != (c.ours || c.cosignIsLaxAboutIt) || (cosignAtt == nil) != c.ours {
				t.Errorf("cosign: %v, %v", cosignSig, cosignAtt)
			}
		})
	}
}

// storeBoth stores a signature and an attestation of the digest d, both made by s, in the legacy
// format.
func storeBoth(t *testing.T, s *trust.Signer, repo name.Repository, d v1.Hash, predicate string) {
	t.Helper()
	a := Attachments{
		Signatures: []trust.Signature{signLegacy(t, s, repo, d)},
		Envelopes:  []trust.Envelope{attest(t, s, "https://spdx.dev/Document", predicate, d)},
	}
	if err := store(t, s, trust.Legacy, repo, d, a); err != nil {
		t.Fatal(err)
	}
}

// TestLegacyFormNeedsNoImage checks that signatures in the legacy format can be stored before the
// image is pushed.
func TestLegacyFormNeedsNoImage(t *testing.T) {
	s, repo := newSigner(t), newRepo(t, "app")
	elsewhere := newRepo(t, "app")
	digest := pushImage(t, elsewhere, "late")
	storeBoth(t, s, repo, digest, "{}")
	if again := pushImage(t, repo, "late"); again != digest {
		t.Fatalf("%s is not %s", again, digest)
	}
	if sig, att := cosignAccepts(t, s.PublicKey(), repo.Digest(digest.String())); sig != nil || att != nil {
		t.Errorf("cosign refuses: %v, %v", sig, att)
	}
}
