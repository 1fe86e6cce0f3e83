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

// ready encodes the signed items of each digest for storage.
func (p *Promoter) ready(repo name.Repository, seals []sealed) ([]*attach.Prepared, error) {
	var out []*attach.Prepared
	for _, s := range seals {
		r, err := attach.Prepare(p.trust.Trust, p.opts.Format, repo, s.digest, s.attachments, p.copiesFor(s.digest), attach.Options{Retention: retentionOf, Locks: p.opts.Locks, Now: p.opts.Now})
		if err != nil {
			return nil, &SigningError{Doing: "making what is to be attached", Err: err}
		}
		out = append(out, r)
	}
	return out, nil
}

// upload sends the blobs of the attachments. Nothing refers to them before attach.
func (p *Promoter) upload(ctx context.Context, ready []*attach.Prepared) error {
	for _, r := range ready {
		if err := r.Upload(ctx, p.with(ctx)...); err != nil {
			return registry.NewError(registry.Approved, "sending what is to be attached", err)
		}
	}
	return nil
}

// attach stores the signed items with the digests that they are about.
func (p *Promoter) attach(ctx context.Context, repo name.Repository, seals []sealed, ready []*attach.Prepared) error {
	for i, s := range seals {
		ref := repo.Digest(s.digest.String())
		if err := p.storeDocuments(ctx, ref, s.digest, s.documents); err != nil {
			return err
		}
		if err := ready[i].Store(ctx, p.with(ctx)...); err != nil {
			var newer *attach.NewerError
			if errors.As(err, &newer) {
				return &SigningError{Doing: fmt.Sprintf("attaching the decision to %s", ref), Err: err}
			}
			return registry.NewError(registry.Approved, fmt.Sprintf("attaching signatures to %s", ref), err)
		}
	}
	return nil
}

// sealed holds the signed items to attach to one digest.
type sealed struct {
	digest      v1.Hash
	attachments attach.Attachments
	documents   []document
}

// prepared holds the signed items for one destination.
type prepared struct {
	seals    []sealed
	decision string // digest of the statement, "sha256:<hex>"
}

// prepare signs the image and its evidence. A platform gets its own statements, the index gets all
// of them, and each gets the decision and its override: a node may pull either, and a verifier may
// look up either. It contacts the signer, but no registry.
func (p *Promoter) prepare(ctx context.Context, a *gate.Approval, to destination) (prepared, error) {
	img, repo := a.Image(), to.repo
	attest := func(ctx context.Context, kind string, subjects []trust.Subject, predicate any) (trust.Envelope, error) {
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
			return nil, &SigningError{Doing: fmt.Sprintf("attesting %s for %s", kind, repo.Digest(img.Digest.String())), Err: err}
		}
		return env, nil
	}

	var perPlatform [][]trust.Envelope
	var inputs []resource
	documents := make([][]document, len(img.Platforms))
	for i, platform := range img.Platforms {
		subjects := subjectsOf(repo, img, platform.Digest)
		statements, large := p.statements(a, i, repo)
		documents[i] = large
		envelopes, about := make([]trust.Envelope, len(statements)), make([]resource, len(statements))
		group, gctx := errgroup.WithContext(ctx) // encoding an SBOM takes time: it has megabytes
		group.SetLimit(runtime.GOMAXPROCS(0))
		for n, one := range statements {
			group.Go(func() (err error) {
				if envelopes[n], err = attest(gctx, one.kind, subjects, one.predicate); err == nil {
					about[n], err = inputOf(one.kind, envelopes[n])
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return prepared{}, err
		}
		inputs = append(inputs, about...)
		perPlatform = append(perPlatform, envelopes)
	}
	summary, err := newDecision(a, to, inputs, p.plan)
	if err != nil {
		return prepared{}, err
	}
	decision, err := attest(ctx, DecisionType, allSubjects(repo, img), summary)
	if err != nil {
		return prepared{}, err
	}

	denial, err := inputOf(DecisionType, decision)
	if err != nil {
		return prepared{}, err
	}
	verdict := []trust.Envelope{decision}
	if a.Override() != nil {
		override, err := attest(ctx, OverrideType(a.Tool().URI), allSubjects(repo, img), newOverride(a, repo, denial, p.opts.Now()))
		if err != nil {
			return prepared{}, err
		}
		verdict = []trust.Envelope{override, decision} // in this order: no denial without its override
	}

	var out []sealed
	var everything []trust.Envelope
	for i, platform := range img.Platforms {
		everything = append(everything, perPlatform[i]...)
		if img.IsIndex() {
			out = append(out, sealed{platform.Digest, attach.Attachments{Envelopes: append(perPlatform[i], verdict...)}, documents[i]})
		}
	}
	whole := sealed{digest: img.Digest, attachments: attach.Attachments{Envelopes: append(everything, verdict...)}}
	if !img.IsIndex() {
		whole.documents = documents[0]
	}
	out = append(out, whole)
	for i := range out {
		signatures, err := trust.SignImage(ctx, p.opts.Signer, p.opts.Format, repo, out[i].digest)
		if err != nil {
			return prepared{}, &SigningError{Doing: fmt.Sprintf("signing %s", repo.Digest(out[i].digest.String())), Err: err}
		}
		out[i].attachments.Signatures = signatures
	}
	return prepared{out, "sha256:" + denial.Digest["sha256"]}, nil
}

// statement is a statement to sign about a platform.
type statement struct {
	kind      string
	predicate any
}

// statements returns the statements about a platform. Documents that are too large to sign are
// returned separately, and one reference statement names them.
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

// subjectsOf returns the digests that a platform's statements are about: the platform first, then
// the index that it belongs to.
func subjectsOf(repo name.Repository, img *gate.Image, platform v1.Hash) []trust.Subject {
	out := []trust.Subject{{Name: repo.Name(), Digest: platform}}
	if img.IsIndex() {
		out = append(out, trust.Subject{Name: repo.Name(), Digest: img.Digest})
	}
	return out
}

// allSubjects returns the image and, for an index, every platform.
func allSubjects(repo name.Repository, img *gate.Image) []trust.Subject {
	out := []trust.Subject{{Name: repo.Name(), Digest: img.Digest}}
	if img.IsIndex() {
		for _, p := range img.Platforms {
			out = append(out, trust.Subject{Name: repo.Name(), Digest: p.Digest})
		}
	}
	return out
}

// inputOf returns how a decision refers to a statement: by the digest of its payload. This digest
// does not depend on the form of storage or on the signer.
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
