package promote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// proof holds the verified signatures and statements of one digest.
type proof struct {
	ref       name.Digest
	digest    v1.Hash
	signedBy  string
	decisions []signedDecision
	decision  signedDecision // the decision that counts, set by decide
	evidence  []attached     // every statement that is not a decision
	// override let the image through although the decision is a denial, and stated is its
	// statement. They are nil and zero for a pass.
	override *policy.GrantedOverride
	stated   attached
	// required holds statements of required types that no decision lists.
	required []Statement
	// reasons say why some attached items do not count.
	reasons []string
}

// signedDecision is a decision for this repository.
type signedDecision struct {
	decisionPredicate
	Statement
	// copied reports that the list of statements has lost the decision, and only the copy of the
	// list has it.
	copied bool
}

// attached is a statement with its predicate. The predicate of an SBOM is omitted: it is large and
// not needed here.
type attached struct {
	Statement
	predicate json.RawMessage
}

// prove verifies the items attached to one digest. It requires a decision that counts, which lists
// the statements about all platforms.
func (p *Promoter) prove(ctx context.Context, repo name.Repository, digest v1.Hash, platforms []v1.Hash, t Trust, in trust.Format) (*proof, error) {
	pr, err := p.collect(ctx, repo, digest, t, in)
	if err != nil {
		return nil, err
	}
	if err := pr.decide(pr.decisions, t, p.opts.Now()); err != nil {
		return nil, err
	}
	if err := pr.covers(platforms, pr.decision); err != nil {
		return nil, err
	}
	return pr, nil
}

// provePlatform verifies the items attached to a platform of an index. A platform may belong to
// several indexes and may be promoted by itself, so decisions about another index do not count for
// this one.
func (p *Promoter) provePlatform(ctx context.Context, index name.Digest, platform v1.Hash, t Trust, in trust.Format) (*proof, error) {
	pr, err := p.collect(ctx, index.Context(), platform, t, in)
	if err != nil {
		return nil, err
	}
	about := slices.DeleteFunc(slices.Clone(pr.decisions), func(d signedDecision) bool {
		return d.Basis.Image != index.DigestStr() && d.Basis.Image != platform.String()
	})
	if err := pr.decide(about, t, p.opts.Now()); err != nil {
		return nil, err
	}
	return pr, pr.covers([]v1.Hash{platform}, pr.decision)
}

// collect gathers the trusted statements attached to one digest. It requires at least one trusted
// signature.
func (p *Promoter) collect(ctx context.Context, repo name.Repository, digest v1.Hash, t Trust, in trust.Format) (*proof, error) {
	pr, found, err := p.find(ctx, repo, digest, in)
	if err != nil {
		return nil, err
	}
	if err := pr.signed(found.signatures, t); err != nil {
		return nil, err
	}
	pr.gather(found, t)
	return pr, nil
}

// found holds the items attached to a digest, none of them verified.
type found struct {
	signatures []trust.Signature
	// envelopes has the statements of the list first, then those that only its copy has. listed is
	// the number of the former.
	envelopes []trust.Opened
	listed    int
}

// find reads the items attached to a digest, unless they were prefetched.
func (p *Promoter) find(ctx context.Context, repo name.Repository, digest v1.Hash, in trust.Format) (*proof, found, error) {
	pr := &proof{ref: repo.Digest(digest.String()), digest: digest}
	if f, ok := p.prefetched.take(ctx, pr.ref, in); ok {
		return pr, f, nil
	}
	f, err := p.read(ctx, pr.ref, in)
	return pr, f, err
}

func (p *Promoter) read(ctx context.Context, ref name.Digest, in trust.Format) (found, error) {
	stored, err := attach.Read(ctx, in, ref, p.with(ctx)...)
	if err != nil {
		return found{}, registry.NewError(registry.Approved, "reading the signatures of "+ref.String(), err)
	}
	all := append(slices.Clone(stored.Envelopes), stored.Copied...)
	f := found{signatures: stored.Signatures, envelopes: make([]trust.Opened, len(all)), listed: len(stored.Envelopes)}
	sideBySide(len(all), func(i int) { f.envelopes[i] = trust.Open(all[i]) })
	return f, nil
}

// sideBySide calls do for 0 to n-1 in parallel. SBOM statements have megabytes, and there are two
// of them for each platform.
func sideBySide(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait() // do returns no errors
}

func (pr *proof) fail(format string, args ...any) error {
	return &VerifyError{Ref: pr.ref.String(), Reason: fmt.Sprintf(format, args...)}
}

// signed requires a trusted signature for the digest and for the repository that t asks for.
func (pr *proof) signed(signatures []trust.Signature, t Trust) error {
	var reasons []string
	var other *trust.OtherRepositoryError
	for _, sig := range signatures {
		by, err := t.VerifySignature(sig, t.signedFor(pr.ref.Context()), pr.digest)
		if err != nil {
			errors.As(err, &other)
			reasons = append(reasons, err.Error())
			continue
		}
		pr.signedBy = by.String()
	}
	if pr.signedBy == "" {
		return &VerifyError{Ref: pr.ref.String(), OtherRepository: other != nil,
			Reason: fmt.Sprintf("no signature of %d is by a trusted key for this image%s", len(signatures), because(reasons))}
	}
	return nil
}

// gather keeps the statements that a trusted signer made about this digest. From the copy of the
// list it keeps only decisions, because these can only lead to a refusal.
func (pr *proof) gather(f found, t Trust) {
	envelopes := f.envelopes
	type verified struct {
		st  trust.Statement
		by  trust.SignerIdentity
		err error
	}
	all := make([]verified, len(envelopes))
	sideBySide(len(all), func(i int) {
		v := &all[i]
		v.st, v.by, v.err = t.VerifyOpened(envelopes[i], pr.digest)
	})
	seen := map[string]bool{}
	for i, v := range all {
		st, by, err := v.st, v.by, v.err
		if err != nil {
			pr.reasons = append(pr.reasons, err.Error())
			continue
		}
		s := Statement{PredicateType: st.PredicateType, Subject: st.Subjects[0].Digest.String(),
			Digest: "sha256:" + payloadDigest(st.Payload), Signer: by.String()}
		copied := i >= f.listed
		if seen[s.Digest] || copied && s.PredicateType != DecisionType {
			continue // seen in the other form, or not a decision in the copy
		}
		seen[s.Digest] = true
		switch s.PredicateType {
		case DecisionType:
			d, err := decisionFor(t.signedFor(pr.ref.Context()), st)
			if err != nil {
				pr.reasons = append(pr.reasons, err.Error())
				continue
			}
			pr.decisions = append(pr.decisions, signedDecision{d, s, copied})
		case SPDXType, CycloneDXType:
			pr.evidence = append(pr.evidence, attached{Statement: s})
		default:
			pr.evidence = append(pr.evidence, attached{s, st.Predicate})
		}
	}
}

// covers requires that the decisions list a statement of every type in platformTypes about every
// platform.
func (pr *proof) covers(platforms []v1.Hash, decisions ...signedDecision) error {
	have := map[string]bool{}
	for _, a := range pr.listed(decisions...) {
		for _, kind := range a.kinds() {
			have[a.Subject+" "+kind] = true
		}
	}
	for _, platform := range platforms {
		for _, kind := range platformTypes {
			if !have[platform.String()+" "+kind] {
				return pr.fail("no %s statement about %s by a trusted key that the decision lists%s", kind, platform, because(pr.reasons))
			}
		}
	}
	return nil
}

// listed returns the attached statements that the decisions list.
func (pr *proof) listed(decisions ...signedDecision) []attached {
	inputs := map[string]bool{}
	for _, d := range decisions {
		for _, in := range d.Inputs {
			inputs["sha256:"+in.Digest["sha256"]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(pr.evidence), func(a attached) bool { return !inputs[a.Digest] })
}

// complete requires that every statement that the decision lists is attached.
func (pr *proof) complete() error {
	have := map[string]bool{}
	for _, a := range pr.evidence {
		have[a.Digest] = true
	}
	for _, in := range pr.decision.Inputs {
		if !have["sha256:"+in.Digest["sha256"]] {
			return pr.fail("the decision lists a %s statement sha256:%s that is not attached", in.URI, in.Digest["sha256"])
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

// parseDecision parses a verification summary of this program; one by another program is an error.
// Unknown fields are ignored, as in-toto asks of readers.
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

// record returns the proof as the record of a promotion.
func (pr *proof) record() *Record {
	var statements []Statement
	for _, a := range pr.listed(pr.decision) {
		statements = append(statements, a.Statement)
	}
	if pr.decision.Statement.Digest != "" {
		statements = append(statements, pr.decision.Statement)
	}
	if pr.override != nil {
		statements = append(statements, pr.stated.Statement)
	}
	statements = append(statements, pr.required...)
	sortStatements(statements)
	return &Record{Repository: pr.ref.Context().Name(), Digest: pr.digest.String(), Signer: pr.signedBy,
		Statements: statements, Decision: pr.decision.summary(), Override: pr.override}
}

func sortStatements(statements []Statement) {
	slices.SortFunc(statements, func(a, b Statement) int {
		return strings.Compare(a.Subject+a.PredicateType+a.Digest, b.Subject+b.PredicateType+b.Digest)
	})
}
