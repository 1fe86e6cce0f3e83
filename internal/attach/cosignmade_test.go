package attach

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/trust"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign/attestation"
	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// cosignMakes signs and attests an image with cosign's library, and stores the signature and the
// attestation in one signature format.
func cosignMakes(t *testing.T, f trust.Format, ref name.Digest) crypto.PublicKey {
	t.Helper()
	sv, _, err := signature.NewDefaultECDSASignerVerifier()
	if err != nil {
		t.Fatal(err)
	}
	public, err := sv.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	statement, err := attestation.GenerateStatement(attestation.GenerateOpts{Predicate: strings.NewReader(`{"spdxVersion":"SPDX-2.3"}`),
		Type: "spdxjson", Digest: strings.TrimPrefix(ref.DigestStr(), "sha256:"), Repo: ref.Context().String()})
	if err != nil {
		t.Fatal(err)
	}
	if f == trust.Bundle {
		// The subject of cosign's signature statement has no name. Statements by cosign 3 have
		// annotations; statements by cosign 2 have no predicate.
		about := map[string]any{"_type": "https://in-toto.io/Statement/v1", "predicateType": trust.SignatureType,
			"subject": []any{map[string]any{"digest": map[string]string{"sha256": strings.TrimPrefix(ref.DigestStr(), "sha256:")},
				"annotations": map[string]any{"a": "b"}}}}
		for kind, body := range map[string]any{trust.SignatureType: about, "https://spdx.dev/Document": statement} {
			made, err := cosignbundle.MakeNewBundle(public, nil, mustJSON(t, body), wrapped(t, sv, body), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := ociremote.WriteAttestationNewBundleFormat(ref, made, kind); err != nil {
				t.Fatal(err)
			}
		}
		return public
	}
	doc, err := payload.Cosign{Image: ref}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := sv.SignMessage(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	entity, err := ociremote.SignedEntity(ref)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := static.NewSignature(doc, base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	att, err := static.NewAttestation(wrapped(t, sv, statement), static.WithLayerMediaType(types.DssePayloadType))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := mutate.AttachSignatureToEntity(entity, sig)
	if err != nil {
		t.Fatal(err)
	}
	attested, err := mutate.AttachAttestationToEntity(entity, att)
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range []func() error{
		func() error { return ociremote.WriteSignatures(ref.Context(), signed) },
		func() error { return ociremote.WriteAttestations(ref.Context(), attested) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	return public
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// wrapped returns a statement in a signed envelope, in the form that cosign writes.
func wrapped(t *testing.T, sv signature.SignerVerifier, statement any) []byte {
	t.Helper()
	env, err := dsse.WrapSigner(sv, types.IntotoPayloadType).SignMessage(bytes.NewReader(mustJSON(t, statement)))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// TestAttachmentsByCosignAreAccepted checks that attachments by cosign are accepted in each
// signature format, and only for their digest and key. A signature in a bundle by cosign does not
// name a repository, so AnyRepository must be set.
func TestAttachmentsByCosignAreAccepted(t *testing.T) {
	for _, f := range []trust.Format{trust.Legacy, trust.Bundle} {
		t.Run(f.String(), func(t *testing.T) {
			repo := newRepo(t, "app")
			digest := pushImage(t, repo, "x")
			public := cosignMakes(t, f, repo.Digest(digest.String()))
			found, err := Read(t.Context(), f, repo.Digest(digest.String()))
			if err != nil || len(found.Signatures) != 1 || len(found.Envelopes) != 1 {
				t.Fatalf("%d signatures, %d envelopes, %v", len(found.Signatures), len(found.Envelopes), err)
			}
			sig, env := found.Signatures[0], found.Envelopes[0]
			accept := trust.Trust{Keys: []crypto.PublicKey{public}, AnyRepository: true}
			if by, err := accept.VerifySignature(sig, repo, digest); err != nil || by.Key != trust.Fingerprint(public) {
				t.Errorf("the signature: %v, %v", by, err)
			}
			if st, _, err := accept.VerifyEnvelope(env, digest); err != nil || st.PredicateType != "https://spdx.dev/Document" {
				t.Errorf("the statement: %v, %v", st, err)
			}
			strict := trust.Trust{Keys: accept.Keys}
			if _, err := strict.VerifySignature(sig, repo, digest); (err == nil) != (f == trust.Legacy) {
				t.Errorf("where a repository must be named: %v", err)
			}
			for what, c := range map[string]struct {
				tr     trust.Trust
				digest v1.Hash
			}{
				"another key":    {trust.Trust{Keys: []crypto.PublicKey{newSigner(t).PublicKey()}, AnyRepository: true}, digest},
				"another digest": {accept, digestOf("a")},
			} {
				if _, err := c.tr.VerifySignature(sig, repo, c.digest); err == nil {
					t.Errorf("%s: the signature is accepted", what)
				}
				if _, _, err := c.tr.VerifyEnvelope(env, c.digest); err == nil {
					t.Errorf("%s: the statement is accepted", what)
				}
			}
		})
	}
}
