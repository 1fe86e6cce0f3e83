package promote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
)

// proof has the verified signatures and statements of one digest.
type proof struct {
	ref       name.Digest
	digest    v1.Hash
	signedBy  string
	decisions []signedDecision
	decision  signedDecision // the decision that counts, set by decide
	evidence  []attached     // all trusted statements except decisions
	// override is the override of a denial, and overrideStatement is its statement. They are nil
	// and zero for a pass.
	override          *policy.GrantedOverride
	overrideStatement attached
	// required has the statements of required types that no decision lists.
	required []Statement
	// unreadable is set if a trusted decision has a schema version that this program does not know.
	// That decision may be a newer denial, so older decisions prove nothing.
	unreadable error
	// reasons state why some attached items do not count.
	reasons []string
}

// signedDecision is a verified decision for this repository.
type signedDecision struct {
	decisionPredicate
	Statement
	// copied is true if the decision is missing in the attachment list and was only found in the
	// backup copy of the list.
	copied bool
}

// attached is a verified statement with its predicate. The predicate of an SBOM is omitted, because
// it is large and not needed here.
type attached struct {
	Statement
	predicate json.RawMessage
}

// prove verifies the items that are attached to one digest. The decision that counts must list the
// required statements about all platforms.
func (s snapshot) prove(ctx context.Context, repo name.Repository, digest v1.Hash, platforms []v1.Hash, t Trust, in trust.Format) (*proof, error) {
	pr, err := s.collect(ctx, repo, digest, t, in)
	if err != nil {
		return nil, err
	}
	if err := pr.decide(pr.decisions, t, s.v.opts.Now()); err != nil {
		return nil, err
	}
	if err := pr.covers(platforms, pr.decision); err != nil {
		return nil, err
	}
	return pr, nil
}

// provePlatform verifies the items that are attached to one platform of an index. A platform may
// belong to several indexes and may also be promoted alone. So only decisions about this index or
// about the platform itself count.
func (s snapshot) provePlatform(ctx context.Context, index name.Digest, platform v1.Hash, t Trust, in trust.Format) (*proof, error) {
	pr, err := s.collect(ctx, index.Context(), platform, t, in)
	if err != nil {
		return nil, err
	}
	about := slices.DeleteFunc(slices.Clone(pr.decisions), func(d signedDecision) bool {
		return d.Basis.Image != index.DigestStr() && d.Basis.Image != platform.String()
	})
	if err := pr.decide(about, t, s.v.opts.Now()); err != nil {
		return nil, err
	}
	return pr, pr.covers([]v1.Hash{platform}, pr.decision)
}

// collect returns the trusted statements that are attached to one digest. It requires at least one
// trusted signature.
func (s snapshot) collect(ctx context.Context, repo name.Repository, digest v1.Hash, t Trust, in trust.Format) (*proof, error) {
	pr := &proof{ref: repo.Digest(digest.String()), digest: digest}
	found, err := s.read(ctx, pr.ref, in)
	if err != nil {
		return nil, err
	}
	if err := pr.checkSignatures(found.signatures, t); err != nil {
		return nil, err
	}
	pr.gather(found, t)
	if pr.unreadable != nil {
		return nil, pr.fail("%v", pr.unreadable)
	}
	return pr, nil
}

func (pr *proof) fail(format string, args ...any) error {
	return &VerifyError{Ref: pr.ref.String(), Reason: fmt.Sprintf(format, args...)}
}

// checkSignatures requires a trusted signature for the digest and for the repository that t
// requires.
func (pr *proof) checkSignatures(signatures []trust.Signature, t Trust) error {
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
		n, reason := len(signatures), "the image is not signed"
		if n > 0 {
			reason = fmt.Sprintf("no trusted signer signed this image (signatures: %d)%s", n, because(reasons))
		}
		return &VerifyError{Ref: pr.ref.String(), Unsigned: n == 0, OtherRepository: other != nil, Reason: reason}
	}
	return nil
}

// gather adds the statements about this digest that a trusted signer signed. From the backup copy
// of the attachment list it adds only decisions, because these can only cause a refusal.
func (pr *proof) gather(f found, t Trust) {
	type verified struct {
		st  trust.Statement
		by  trust.SignerIdentity
		err error
	}
	envelopes := append(slices.Clone(f.envelopes), f.copied...)
	all := make([]verified, len(envelopes))
	inParallel(len(all), func(i int) {
		v := &all[i]
		v.st, v.by, v.err = t.VerifyOpened(envelopes[i].opened, pr.digest)
	})
	seen := map[string]bool{}
	for i, v := range all {
		if v.err != nil {
			pr.reasons = append(pr.reasons, v.err.Error())
			continue
		}
		s := Statement{PredicateType: v.st.PredicateType, Subject: v.st.Subjects[0].Digest.String(),
			Digest: "sha256:" + payloadDigest(v.st.Payload), Signer: v.by.String()}
		copied := i >= len(f.envelopes)
		if seen[s.Digest] || copied && s.PredicateType != DecisionType {
			continue // The statement was already added from the other format, or it is in the backup copy and not a decision.
		}
		seen[s.Digest] = true
		pr.add(s, v.st, copied, t)
	}
}

// add adds one verified statement: a decision to pr.decisions, any other statement to pr.evidence.
// If a decision does not count, add records the reason.
func (pr *proof) add(s Statement, st trust.Statement, copied bool, t Trust) {
	switch s.PredicateType {
	case DecisionType:
		d, err := decisionFor(t.signedFor(pr.ref.Context()), st)
		var unknown *SchemaError
		if errors.As(err, &unknown) {
			pr.unreadable = err
		}
		if err != nil {
			pr.reasons = append(pr.reasons, err.Error())
			return
		}
		pr.decisions = append(pr.decisions, signedDecision{d, s, copied})
	case SPDXType, CycloneDXType:
		pr.evidence = append(pr.evidence, attached{Statement: s})
	default:
		pr.evidence = append(pr.evidence, attached{s, st.Predicate})
	}
}

// covers requires that the decisions list a statement of every type in platformTypes for every
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
				return pr.fail("the decision lists no %s statement about %s signed by a trusted signer%s", kind, platform, because(pr.reasons))
			}
		}
	}
	return nil
}

// listed returns the statements in pr.evidence that at least one of the decisions lists.
func (pr *proof) listed(decisions ...signedDecision) []attached {
	inputs := map[string]bool{}
	for _, d := range decisions {
		for _, in := range d.Inputs {
			inputs["sha256:"+in.Digest["sha256"]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(pr.evidence), func(a attached) bool { return !inputs[a.Digest] })
}

// complete requires that all statements that the decision lists are attached.
func (pr *proof) complete() error {
	have := map[string]bool{}
	for _, a := range pr.evidence {
		have[a.Digest] = true
	}
	for _, in := range pr.decision.Inputs {
		if !have["sha256:"+in.Digest["sha256"]] {
			return pr.fail("the decision lists a %s statement that is not attached: sha256:%s", in.URI, in.Digest["sha256"])
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

// parseDecision parses a verification summary of imagegate. A summary by another program is an
// error. Unknown fields are ignored, as in-toto requires of readers.
func parseDecision(raw json.RawMessage) (decisionPredicate, error) {
	var d decisionPredicate
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, err
	}
	switch {
	case d.Result == "":
		return d, errors.New("the decision has no result")
	case d.TimeVerified.IsZero():
		return d, errors.New("the decision has no time")
	case len(d.Inputs) == 0:
		return d, errors.New("the decision lists no statements")
	case d.Basis.Image == "":
		return d, errors.New("the decision was made by another program")
	}
	return d, nil
}

// record returns the record of a promotion with the content of the proof.
func (pr *proof) record() *Record {
	var statements []Statement
	for _, a := range pr.listed(pr.decision) {
		statements = append(statements, a.Statement)
	}
	if pr.decision.Statement.Digest != "" {
		statements = append(statements, pr.decision.Statement)
	}
	if pr.override != nil {
		statements = append(statements, pr.overrideStatement.Statement)
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
