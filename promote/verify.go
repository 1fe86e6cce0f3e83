package promote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/trust"
)

// Trust says what a promoted image must prove. Its zero value accepts nobody.
type Trust struct {
	// Trust lists the keys of which one must have signed everything.
	trust.Trust
	// MaxAge bounds the age of the decision; 0 means any age.
	MaxAge time.Duration
	// Policy is the digest of the policy by which the image must have
	// passed; empty means any.
	Policy string
}

// VerifyError says that an image could be read and does not prove what it
// should: something is missing, is signed by nobody who is trusted, is about
// something else, or is too old.
type VerifyError struct {
	Ref    string
	Reason string
}

// Error names the image and what is wrong.
func (e *VerifyError) Error() string { return fmt.Sprintf("verifying %s: %s", e.Ref, e.Reason) }

// clockSkew is how far ahead of ours the clock of the gate may have been.
const clockSkew = 5 * time.Minute

// Verifier reads approved registries and believes only what is signed.
type Verifier struct{ p Promoter }

// NewVerifier returns a Verifier; of the options it uses Now, Keychain,
// Transport, UserAgent and Parallel.
func NewVerifier(opts Options) (*Verifier, error) {
	if opts.Now == nil {
		return nil, errors.New("no clock")
	}
	opts = opts.withDefaults()
	return &Verifier{Promoter{opts: opts, remote: remoteOptions(opts)}}, nil
}

// Verify proves from the approved registry alone that the image passed: it is
// signed for this very repository and digest, every statement is there, signed,
// about it and listed in the decision, and the decision is a pass. A
// *VerifyError means that it does not; any other error that it could not be
// told.
func (v *Verifier) Verify(ctx context.Context, ref name.Reference, t Trust) (*Record, error) {
	record, err := v.p.verify(ctx, ref, t, trust.Both)
	if err != nil {
		return nil, err
	}
	if tag, ok := ref.(name.Tag); ok {
		record.Tag = tag.TagStr()
	}
	return record, nil
}

// readBack verifies what has just been written, and that every byte of the
// image is there to be pulled.
func (p *Promoter) readBack(ctx context.Context, img *gate.Image, repo name.Repository) (*Record, error) {
	for _, a := range img.Attachments {
		d, err := p.readManifest(ctx, repo.Digest(a.Descriptor.Digest.String()))
		if err != nil {
			return nil, err
		}
		if err := p.blobsOf(ctx, repo, d); err != nil {
			return nil, err
		}
	}
	return p.verifyOwn(ctx, repo.Digest(img.Digest.String()))
}

// verifyOwn proves a digest by the promoter's own key, in each form in which it
// stores: what is complete in one of them may be missing in the other.
func (p *Promoter) verifyOwn(ctx context.Context, ref name.Digest) (*Record, error) {
	if p.opts.Format != trust.Both {
		return p.verify(ctx, ref, p.trust, p.opts.Format)
	}
	if _, err := p.verify(ctx, ref, p.trust, trust.Bundle); err != nil {
		return nil, err
	}
	return p.verify(ctx, ref, p.trust, trust.Legacy)
}

func (p *Promoter) hasBlob(ctx context.Context, repo name.Repository, digest v1.Hash, want int64) error {
	l, err := remote.Layer(repo.Digest(digest.String()), p.with(ctx)...)
	if err != nil {
		return err
	}
	have, err := l.Size() // a HEAD request
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("it has %d bytes there, not %d", have, want)
	}
	return nil
}

// readManifest gets a manifest; by digest, the library holds it against that.
func (p *Promoter) readManifest(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	d, err := remote.Get(ref, p.with(ctx)...)
	if err != nil {
		return nil, gate.NewRegistryError(gate.Approved, "reading "+ref.String(), err)
	}
	return d, nil
}

// verify resolves the reference once, then proves the digest and, of an index,
// each of its platforms, which a node may pull by themselves.
func (p *Promoter) verify(ctx context.Context, ref name.Reference, t Trust, in trust.Format) (*Record, error) {
	root, err := p.readManifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	platforms, err := platformsOf(root)
	if err != nil {
		return nil, &VerifyError{ref.String(), err.Error()}
	}
	proof, err := p.prove(ctx, ref.Context(), root.Digest, platforms, t, in)
	if err != nil {
		return nil, err
	}
	if proof.decision.Basis.Image == root.Digest.String() {
		if err := proof.complete(); err != nil {
			return nil, err
		}
	}
	if !root.MediaType.IsIndex() {
		if err := p.blobsOf(ctx, ref.Context(), root); err != nil {
			return nil, err
		}
		return proof.record(ref.Context(), root.Digest), nil
	}
	// A platform may belong to several indexes, and its latest decision to
	// another one of them, by another policy: that of the index was checked.
	own := t
	own.Policy = ""
	for _, digest := range platforms {
		platform, err := p.readManifest(ctx, ref.Context().Digest(digest.String()))
		if err != nil {
			return nil, err
		}
		if err := p.blobsOf(ctx, ref.Context(), platform); err != nil {
			return nil, err
		}
		if _, err := p.prove(ctx, ref.Context(), digest, []v1.Hash{digest}, own, in); err != nil {
			return nil, err
		}
	}
	return proof.record(ref.Context(), root.Digest), nil
}

// blobsOf finds out whether everything that a manifest lists can be pulled.
func (p *Promoter) blobsOf(ctx context.Context, repo name.Repository, d *remote.Descriptor) error {
	m, err := v1.ParseManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return &VerifyError{repo.Digest(d.Digest.String()).String(), fmt.Sprintf("parsing the manifest: %v", err)}
	}
	for _, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		err := p.hasBlob(ctx, repo, b.Digest, b.Size)
		if isNotFound(err) {
			return &VerifyError{repo.Digest(d.Digest.String()).String(), fmt.Sprintf("its blob %s is not there", b.Digest)}
		}
		if err != nil {
			return gate.NewRegistryError(gate.Approved, fmt.Sprintf("looking for blob %s of %s", b.Digest, repo), err)
		}
	}
	return nil
}

// platformsOf lists the images of an index, or the image itself.
func platformsOf(d *remote.Descriptor) ([]v1.Hash, error) {
	if !d.MediaType.IsIndex() {
		return []v1.Hash{d.Digest}, nil
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return nil, fmt.Errorf("parsing the index: %w", err)
	}
	var out []v1.Hash
	for _, child := range index.Manifests {
		if gate.IsAttachment(child) {
			continue
		}
		out = append(out, child.Digest)
	}
	if len(out) == 0 {
		return nil, errors.New("the index has no image")
	}
	return out, nil
}

// proof is what was found at one digest, all of it verified.
type proof struct {
	ref        string
	decision   decisionPredicate
	signedBy   string
	statements []Statement
	// payloads holds the digests of all verified statements but decisions,
	// seen those of all.
	payloads, seen map[string]bool
}

// prove verifies what is attached to one digest, and that it covers the
// platforms.
func (p *Promoter) prove(ctx context.Context, repo name.Repository, digest v1.Hash, platforms []v1.Hash, t Trust, in trust.Format) (*proof, error) {
	ref := repo.Digest(digest.String())
	out := &proof{ref: ref.String(), payloads: map[string]bool{}, seen: map[string]bool{}}
	fail := func(format string, args ...any) (*proof, error) {
		return nil, &VerifyError{ref.String(), fmt.Sprintf(format, args...)}
	}
	found, err := trust.Read(ctx, in, ref, p.with(ctx)...)
	if err != nil {
		return nil, gate.NewRegistryError(gate.Approved, "reading the signatures of "+ref.String(), err)
	}

	var reasons []string
	for _, sig := range found.Signatures {
		by, err := t.VerifySignature(sig, repo, digest)
		if err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		out.signedBy = by.String()
	}
	if out.signedBy == "" {
		return fail("no signature of %d is by a trusted key for this image%s", len(found.Signatures), because(reasons))
	}

	have := map[v1.Hash][]string{} // predicate types by the platform they are about
	var decisions []decisionPredicate
	reasons = nil
	for _, env := range found.Envelopes {
		st, by, err := t.VerifyEnvelope(env, digest)
		if err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		payload := payloadDigest(st.Payload)
		if out.seen[payload] {
			continue // in the other form
		}
		out.seen[payload] = true
		if st.PredicateType == DecisionType {
			// Another verifier may sign with the same key, and a decision about
			// the same image in another repository is for that one.
			d, err := parseDecision(st.Predicate)
			if err == nil && d.ResourceURI != resourceURI(repo) {
				err = fmt.Errorf("a decision is for %s, not for %s", d.ResourceURI, resourceURI(repo))
			}
			if err != nil {
				reasons = append(reasons, err.Error())
				continue
			}
			decisions = append(decisions, d)
		} else {
			out.payloads[payload] = true
			have[st.Subjects[0].Digest] = append(have[st.Subjects[0].Digest], st.PredicateType+" "+payload)
		}
		out.statements = append(out.statements, Statement{PredicateType: st.PredicateType,
			Subject: st.Subjects[0].Digest.String(), Digest: "sha256:" + payload, Signer: by.String()})
	}
	if len(decisions) == 0 {
		return fail("no decision by a trusted key is attached%s", because(reasons))
	}
	// The latest decision counts: an image that was refused later has not passed.
	out.decision = slices.MaxFunc(decisions, func(a, b decisionPredicate) int { return a.TimeVerified.Compare(b.TimeVerified) })
	for _, d := range decisions {
		if !d.TimeVerified.Equal(out.decision.TimeVerified) {
			continue
		}
		if err := d.check(t, p.opts.Now()); err != nil {
			return fail("%v", err)
		}
	}

	listed := map[string]bool{}
	for _, in := range out.decision.Inputs {
		listed[in.Digest["sha256"]] = true
	}
	for _, platform := range platforms {
		for _, kind := range platformTypes {
			if !slices.ContainsFunc(have[platform], func(s string) bool {
				k, payload, _ := strings.Cut(s, " ")
				return k == kind && listed[payload]
			}) {
				return fail("no %s statement about %s by a trusted key that the decision lists%s", kind, platform, because(reasons))
			}
		}
	}
	out.statements = slices.DeleteFunc(out.statements, func(s Statement) bool {
		return s.PredicateType != DecisionType && !listed[strings.TrimPrefix(s.Digest, "sha256:")]
	})
	return out, nil
}

// complete demands that everything the decision lists is there.
func (pr *proof) complete() error {
	for _, in := range pr.decision.Inputs {
		if !pr.payloads[in.Digest["sha256"]] {
			return &VerifyError{pr.ref, fmt.Sprintf("the decision lists a %s statement sha256:%s that is not attached", in.URI, in.Digest["sha256"])}
		}
	}
	return nil
}

func because(reasons []string) string {
	if len(reasons) == 0 {
		return ""
	}
	slices.Sort(reasons)
	return ": " + strings.Join(slices.Compact(reasons), "; ")
}

// parseDecision reads a summary that this program made; one that somebody else
// made is an error. Unknown fields are let be, as in-toto asks of readers.
func parseDecision(raw json.RawMessage) (decisionPredicate, error) {
	var d decisionPredicate
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, err
	}
	switch {
	case d.Result == "":
		return d, errors.New("a decision has no result")
	case d.TimeVerified.IsZero():
		return d, errors.New("a decision has no time")
	case len(d.Inputs) == 0:
		return d, errors.New("a decision lists no statements")
	case d.Basis.Image == "":
		return d, errors.New("a decision is not of this program")
	}
	return d, nil
}

// check holds the decision against what is asked for.
func (d decisionPredicate) check(t Trust, now time.Time) error {
	age := now.Sub(d.TimeVerified)
	switch {
	case d.Result != resultPassed:
		return fmt.Errorf("the decision is %s, not %s", d.Result, resultPassed)
	case age < -clockSkew:
		return fmt.Errorf("the decision is from the future, %s", d.TimeVerified.Format(time.RFC3339))
	case t.MaxAge > 0 && age > t.MaxAge:
		return fmt.Errorf("the decision is of %s, older than %s", d.TimeVerified.Format(time.RFC3339), t.MaxAge)
	case t.Policy != "" && !maps.Equal(d.Policy.Digest, digestSet(t.Policy)):
		return fmt.Errorf("the decision was made by another policy than %s", t.Policy)
	}
	return nil
}

// record tells the proof as what was promoted.
func (pr *proof) record(repo name.Repository, digest v1.Hash) *Record {
	slices.SortFunc(pr.statements, func(a, b Statement) int {
		return strings.Compare(a.Subject+a.PredicateType+a.Digest, b.Subject+b.PredicateType+b.Digest)
	})
	return &Record{Repository: repo.Name(), Digest: digest.String(), Signer: pr.signedBy,
		Statements: pr.statements, Decision: pr.decision.summary()}
}
