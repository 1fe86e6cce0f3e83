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
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// ReferenceType is the type of the statement that stands for documents which are too
// large to be signed as a whole: logs and readers of statements refuse them. It
// names them by digest; they are beside the image.
// https://github.com/in-toto/attestation/blob/main/spec/predicates/reference.md
const ReferenceType = "https://in-toto.io/attestation/reference/v0.1"

// The media types of SBOMs, by the predicate type that they would have.
var documentTypes = map[string]string{
	SPDXType:      "application/spdx+json",
	CycloneDXType: "application/vnd.cyclonedx+json",
}

// defaultInline is the size, in bytes, up to which a document is signed as a whole.
const defaultInline = 8 << 20

type referencePredicate struct {
	Attester   attester    `json:"attester"`
	References []reference `json:"references"`
}

type attester struct {
	ID string `json:"id"`
}

type reference struct {
	DownloadLocation string            `json:"downloadLocation"`
	Digest           map[string]string `json:"digest"`
	MediaType        string            `json:"mediaType"`
}

// document is one that a statement refers to.
type document struct {
	mediaType string
	body      []byte
}

// refer is what a statement says of documents.
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

// store puts documents beside the digest that they are about.
func (p *Promoter) storeDocuments(ctx context.Context, ref name.Digest, digest v1.Hash, documents []document) error {
	for _, d := range documents {
		if err := trust.AttachDocument(ctx, ref.Context(), digest, d.mediaType, d.body, p.with(ctx)...); err != nil {
			return gate.NewRegistryError(gate.Approved, fmt.Sprintf("storing the %s of %s", d.mediaType, ref), err)
		}
	}
	return nil
}

// kinds are the predicate types for which a statement stands: its own, or those of
// the documents that it refers to.
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

// references are those of a statement that names documents; none of another one, and
// of one that cannot be read.
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

// areReferred demands that the documents that the decision's statements refer to are
// there to be pulled; by digest, they are what was signed.
func (p *Promoter) areReferred(ctx context.Context, pr *proof) error {
	for _, a := range pr.listed(pr.decision) {
		for _, r := range a.references() {
			layer, err := remote.Layer(pr.ref.Context().Digest("sha256:"+strings.ToLower(r.Digest["sha256"])), p.with(ctx)...)
			if err == nil {
				_, err = layer.Size() // a HEAD request
			}
			if registry.IsNotFound(err) {
				return pr.fail("the document sha256:%s that a statement refers to is not there", r.Digest["sha256"])
			}
			if err != nil {
				return gate.NewRegistryError(gate.Approved, fmt.Sprintf("looking for the document sha256:%s of %s", r.Digest["sha256"], pr.ref), err)
			}
		}
	}
	return nil
}
