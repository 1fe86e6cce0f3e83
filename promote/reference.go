package promote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/registry"
)

// ReferenceType is the type of a statement that has only the digests of documents. It is used for
// documents that are too large to sign, because logs and verifiers refuse large statements. The
// documents are stored next to the image.
// https://github.com/in-toto/attestation/blob/main/spec/predicates/reference.md
const ReferenceType = "https://in-toto.io/attestation/reference/v0.1"

// documentTypes maps the predicate type of an SBOM to the media type of the SBOM document.
var documentTypes = map[string]string{
	SPDXType:      "application/spdx+json",
	CycloneDXType: "application/vnd.cyclonedx+json",
}

// defaultInline is the default of Options.Inline, in bytes.
const defaultInline = 8 << 20

type referencePredicate struct {
	// The program that signed the statement: imagegate.
	Attester attester `json:"attester"`
	// SBOM documents that are stored as blobs.
	References []reference `json:"references"`
}

type attester struct {
	// URI that identifies the program.
	ID string `json:"id"`
}

type reference struct {
	// Blob with the document in the approved repository, as oci://REPOSITORY@DIGEST.
	DownloadLocation string `json:"downloadLocation"`
	// SHA-256 of the document, in hexadecimal.
	Digest map[string]string `json:"digest"`
	// Media type of the document: application/spdx+json or application/vnd.cyclonedx+json.
	MediaType string `json:"mediaType"`
}

// document is an SBOM document that a reference statement names by digest.
type document struct {
	mediaType string
	body      []byte
}

// refer returns the reference predicate for documents that are stored in repo.
func refer(attestedBy string, repo name.Repository, documents []document) referencePredicate {
	out := referencePredicate{Attester: attester{attestedBy}}
	for _, d := range documents {
		sum := sha256.Sum256(d.body)
		digest := hex.EncodeToString(sum[:])
		out.References = append(out.References, reference{DownloadLocation: "oci://" + repo.Name() + "@sha256:" + digest,
			Digest: map[string]string{"sha256": digest}, MediaType: d.mediaType})
	}
	return out
}

// storeDocuments attaches documents to the digest that they describe.
func (p *Promoter) storeDocuments(ctx context.Context, ref name.Digest, digest v1.Hash, documents []document) error {
	for _, d := range documents {
		if err := attach.Document(ctx, ref.Context(), digest, d.mediaType, d.body, p.verifier.with(ctx)...); err != nil {
			return registry.NewError(registry.Approved, fmt.Sprintf("storing the %s of %s", d.mediaType, ref), err)
		}
	}
	return nil
}

// kinds returns the predicate types that a statement counts as: its own type or, for a reference
// statement, the types of the documents that it names.
func (a attached) kinds() []string {
	if a.PredicateType != ReferenceType {
		return []string{a.PredicateType}
	}
	var out []string
	for _, r := range a.references() {
		for kind, mediaType := range documentTypes {
			if r.MediaType == mediaType {
				out = append(out, kind)
			}
		}
	}
	slices.Sort(out)
	return out
}

// references returns the documents that a reference statement names. It returns none for other
// statements, or if the predicate cannot be parsed.
func (a attached) references() []reference {
	if a.PredicateType != ReferenceType {
		return nil
	}
	var p referencePredicate
	if json.Unmarshal(a.predicate, &p) != nil {
		return nil
	}
	return slices.DeleteFunc(p.References, func(r reference) bool { return r.Digest["sha256"] == "" })
}

// checkDocuments requires that the registry has every document that the decision's statements name.
// The statements name documents by digest, so the registry cannot replace their content.
func (s snapshot) checkDocuments(ctx context.Context, pr *proof) error {
	for _, a := range pr.listed(pr.decision) {
		for _, r := range a.references() {
			_, err := s.blobSize(ctx, pr.ref.Context().Digest("sha256:"+strings.ToLower(r.Digest["sha256"])))
			if registry.IsNotFound(err) {
				return pr.fail("the document sha256:%s, whose digest is in a signed statement, is missing in the registry", r.Digest["sha256"])
			}
			if err != nil {
				return registry.NewError(registry.Approved, fmt.Sprintf("looking for the document sha256:%s of %s", r.Digest["sha256"], pr.ref), err)
			}
		}
	}
	return nil
}
