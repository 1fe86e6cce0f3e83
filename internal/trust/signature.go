package trust

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// Signature is a signature over an image's digest, with the document that
// states it: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
type Signature struct {
	// Payload is the document, the very bytes that were signed.
	Payload []byte
	// Base64 is the signature over them.
	Base64 string
}

// SignImage signs a digest in a repository. The same digest and repository give
// the same document. It asks the signer only, no registry.
func SignImage(ctx context.Context, s Signer, repo name.Repository, digest v1.Hash) (Signature, error) {
	ref := repo.Digest(digest.String())
	doc, err := payload.Cosign{Image: ref}.MarshalJSON()
	if err != nil {
		return Signature{}, fmt.Errorf("signing %s: %w", ref, err)
	}
	sig, err := s.Sign(ctx, doc)
	if err != nil {
		return Signature{}, fmt.Errorf("signing %s: %w", ref, err)
	}
	return Signature{Payload: doc, Base64: base64.StdEncoding.EncodeToString(sig)}, nil
}
