package trust

import (
	"crypto"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
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

// storeLayers stores a signature and a statement that s signed, in cosign's tags.
func storeLayers(t *testing.T, s *Signer, repo name.Repository, d v1.Hash) {
	t.Helper()
	sig, err := signLegacy(t, s, repo, d).Layer()
	if err != nil {
		t.Fatal(err)
	}
	att, err := attest(t, s, "x", "{}", d).Layer("x")
	if err != nil {
		t.Fatal(err)
	}
	for suffix, layer := range map[string]Layer{".sig": sig, ".att": att} {
		img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer(layer.Body, layer.MediaType),
			MediaType: layer.MediaType, Annotations: layer.Annotations})
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(repo.Tag("sha256-"+d.Hex+suffix), img); err != nil {
			t.Fatal(err)
		}
	}
}

// cosignAccepts verifies the signatures and attestations in a registry with cosign's library.
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
