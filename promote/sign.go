package promote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// SigningError reports that signing or attesting failed.
type SigningError struct {
	Doing string
	Err   error
}

// Error names the failed operation and the reason.
func (e *SigningError) Error() string { return fmt.Sprintf("%s: %v", e.Doing, e.Err) }

// Unwrap returns the cause.
func (e *SigningError) Unwrap() error { return e.Err }

// encode verifies the signed items of each digest and encodes them for storage in repo. The result
// has one element for each element of items.
func (p *Promoter) encode(repo name.Repository, items []signedItems) ([]*attach.Prepared, error) {
	var out []*attach.Prepared
	for _, one := range items {
		encoded, err := attach.Prepare(p.trust.Trust, p.opts.Format, repo, one.digest, one.attachments, p.copiesFor(one.digest),
			attach.Options{Retention: retentionOf, Locks: p.opts.Locks, Now: p.opts.Now})
		if err != nil {
			return nil, &SigningError{Doing: "encoding the signatures and statements for " + repo.String(), Err: err}
		}
		out = append(out, encoded)
	}
	return out, nil
}

// upload sends the blobs of the attachments. The blobs have no effect until attach stores the
// manifests that refer to them.
func (p *Promoter) upload(ctx context.Context, encoded []*attach.Prepared) error {
	for _, one := range encoded {
		if err := one.Upload(ctx, p.verifier.with(ctx)...); err != nil {
			return registry.NewError(registry.Approved, "sending the signatures and statements", err)
		}
	}
	return nil
}

// attach stores the signed items and the documents of each digest.
func (p *Promoter) attach(ctx context.Context, repo name.Repository, items []signedItems, encoded []*attach.Prepared) error {
	for i, one := range items {
		ref := repo.Digest(one.digest.String())
		if err := p.storeDocuments(ctx, ref, one.digest, one.documents); err != nil {
			return err
		}
		if err := encoded[i].Store(ctx, p.verifier.with(ctx)...); err != nil {
			var newer *attach.NewerError
			if errors.As(err, &newer) {
				return &SigningError{Doing: fmt.Sprintf("attaching the decision to %s", ref), Err: err}
			}
			return registry.NewError(registry.Approved, fmt.Sprintf("attaching signatures to %s", ref), err)
		}
	}
	return nil
}

// signedItems has the signatures and statements for one digest, and the documents to store with
// them.
type signedItems struct {
	digest      v1.Hash
	attachments attach.Attachments
	documents   []document
}

// signedDestination has the signed items for all digests that a promotion stores in one repository.
type signedDestination struct {
	items    []signedItems
	decision string // the digest of the decision's statement, "sha256:<hex>"
}

// sign signs the image and its evidence. It uses the signer, but sends no request to a registry.
func (p *Promoter) sign(ctx context.Context, a *gate.Approval, to destination) (signedDestination, error) {
	img := a.Image()
	platforms := make([]signedItems, len(img.Platforms))
	var inputs []resource
	for i := range img.Platforms {
		one, listed, err := p.signPlatform(ctx, a, i, to.repo)
		if err != nil {
			return signedDestination{}, err
		}
		platforms[i], inputs = one, append(inputs, listed...)
	}
	decision, digest, err := p.signDecision(ctx, a, to, inputs)
	if err != nil {
		return signedDestination{}, err
	}
	items := combine(img, platforms, decision)
	for i := range items {
		items[i].attachments.Signatures, err = trust.SignImage(ctx, p.opts.Signer, p.opts.Format, to.repo, items[i].digest)
		if err != nil {
			return signedDestination{}, &SigningError{Doing: fmt.Sprintf("signing %s", to.repo.Digest(items[i].digest.String())), Err: err}
		}
	}
	return signedDestination{items, digest}, nil
}

// combine returns the signed items for each digest. A platform gets only the statements about
// itself, and the index gets the statements about all platforms. Both get the decision and its
// override, because a node may pull either of them, and a verifier may check either of them.
func combine(img *gate.Image, platforms []signedItems, decision []trust.Envelope) []signedItems {
	whole := signedItems{digest: img.Digest}
	if !img.IsIndex() {
		whole.documents = platforms[0].documents
	}
	for _, one := range platforms {
		whole.attachments.Envelopes = append(whole.attachments.Envelopes, one.attachments.Envelopes...)
	}
	whole.attachments.Envelopes = append(whole.attachments.Envelopes, decision...)
	if !img.IsIndex() {
		return []signedItems{whole}
	}
	for i := range platforms {
		platforms[i].attachments.Envelopes = append(platforms[i].attachments.Envelopes, decision...)
	}
	return append(platforms, whole)
}

// signPlatform signs the statements about a platform. listed has the entries for these statements
// in the decision.
func (p *Promoter) signPlatform(ctx context.Context, a *gate.Approval, i int, repo name.Repository) (out signedItems, listed []resource, err error) {
	img := a.Image()
	digest := img.Platforms[i].Digest
	subjects := subjectsOf(repo, img, digest)
	statements, large := p.statements(a, i, repo)
	envelopes := make([]trust.Envelope, len(statements))
	listed = make([]resource, len(statements))
	group, gctx := errgroup.WithContext(ctx) // Sign the statements in parallel, because encoding an SBOM of several megabytes takes time.
	group.SetLimit(runtime.GOMAXPROCS(0))
	for n, one := range statements {
		group.Go(func() (err error) {
			if envelopes[n], err = p.attest(gctx, a, repo, one.kind, subjects, one.predicate); err == nil {
				listed[n], err = inputOf(one.kind, envelopes[n])
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return signedItems{}, nil, err
	}
	return signedItems{digest, attach.Attachments{Envelopes: envelopes}, large}, listed, nil
}

// signDecision signs the decision and, if there is one, its override. It also returns the digest of
// the decision. The override comes first, so that no denial is stored without its override.
func (p *Promoter) signDecision(ctx context.Context, a *gate.Approval, to destination, inputs []resource) ([]trust.Envelope, string, error) {
	predicate, err := newDecision(a, to, inputs, p.plan)
	if err != nil {
		return nil, "", err
	}
	subjects := allSubjects(to.repo, a.Image())
	decision, err := p.attest(ctx, a, to.repo, DecisionType, subjects, predicate)
	if err != nil {
		return nil, "", err
	}
	named, err := inputOf(DecisionType, decision)
	if err != nil {
		return nil, "", err
	}
	digest := "sha256:" + named.Digest["sha256"]
	if a.Override() == nil {
		return []trust.Envelope{decision}, digest, nil
	}
	override, err := p.attest(ctx, a, to.repo, OverrideType(a.Tool().URI), subjects, newOverride(a, to.repo, named, p.opts.Now()))
	return []trust.Envelope{override, decision}, digest, err
}

// attest signs a statement. A predicate of type []byte must be JSON and is not encoded again.
func (p *Promoter) attest(ctx context.Context, a *gate.Approval, repo name.Repository, kind string, subjects []trust.Subject, predicate any) (trust.Envelope, error) {
	raw, ok := predicate.([]byte)
	if !ok {
		encoded, err := encode(predicate)
		if err != nil {
			return nil, err
		}
		raw = encoded
	}
	env, err := trust.Attest(ctx, p.opts.Signer, p.opts.Format, trust.Statement{PredicateType: kind, Subjects: subjects, Predicate: raw})
	if err != nil {
		return nil, &SigningError{Doing: fmt.Sprintf("attesting %s for %s", kind, repo.Digest(a.Image().Digest.String())), Err: err}
	}
	return env, nil
}

// statement is an unsigned statement about a platform.
type statement struct {
	kind      string
	predicate any
}

// statements returns the statements about a platform. Documents that are too large to sign are in
// the second result. One additional reference statement names these documents.
func (p *Promoter) statements(a *gate.Approval, platform int, repo name.Repository) ([]statement, []document) {
	sbom, evidence := a.SBOMs()[platform], a.Input().Platforms[platform]
	var out []statement
	var large []document
	for _, s := range []struct {
		kind string
		body []byte
	}{{SPDXType, sbom.SPDX}, {CycloneDXType, sbom.CycloneDX}} {
		if len(s.body) > p.opts.Inline {
			large = append(large, document{documentTypes[s.kind], s.body})
			continue
		}
		out = append(out, statement{s.kind, s.body})
	}
	if len(large) > 0 {
		out = append(out, statement{ReferenceType, refer(a.Tool().URI, repo, large)})
	}
	return append(out, statement{ScanType, newScan(a, evidence)}, statement{VulnsType, newVulns(a, evidence)}), large
}

// subjectsOf returns the subjects of a platform's statements: the platform and then the index that
// contains it, if any.
func subjectsOf(repo name.Repository, img *gate.Image, platform v1.Hash) []trust.Subject {
	out := []trust.Subject{{Name: repo.Name(), Digest: platform}}
	if img.IsIndex() {
		out = append(out, trust.Subject{Name: repo.Name(), Digest: img.Digest})
	}
	return out
}

// allSubjects returns the image and, for an index, every platform as subjects.
func allSubjects(repo name.Repository, img *gate.Image) []trust.Subject {
	out := []trust.Subject{{Name: repo.Name(), Digest: img.Digest}}
	if img.IsIndex() {
		for _, p := range img.Platforms {
			out = append(out, trust.Subject{Name: repo.Name(), Digest: p.Digest})
		}
	}
	return out
}

// inputOf returns the entry for a statement in the decision's inputAttestations. It identifies the
// statement by the digest of its payload, which does not depend on the signature format or on the
// signer.
func inputOf(kind string, e trust.Envelope) (resource, error) {
	body, err := e.Payload()
	if err != nil {
		return resource{}, err
	}
	return resource{URI: kind, Digest: map[string]string{"sha256": payloadDigest(body)}, MediaType: "application/vnd.in-toto+json"}, nil
}

func payloadDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
