package promote

import (
	"context"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// require requires a trusted statement of each type, whether or not a decision lists the statement.
// The statement must be about the image. For an index, statements about all of its platforms are
// also sufficient. require calls platforms only if the image itself has no such statement.
// Statements about the image are added to the record.
func (pr *proof) require(types []string, platforms func() ([]*proof, error)) error {
	for _, kind := range types {
		if pr.has(kind) {
			pr.required = append(pr.required, pr.additional(kind)...)
			continue
		}
		below, err := platforms()
		if err != nil {
			return err
		}
		for _, platform := range below {
			if !platform.has(kind) {
				return platform.fail("the image has no %s statement signed by a trusted signer%s", kind, because(platform.reasons))
			}
		}
		if len(below) == 0 {
			return pr.fail("the image has no %s statement signed by a trusted signer%s", kind, because(pr.reasons))
		}
	}
	return nil
}

// has reports whether a trusted statement of this type is attached to the digest.
func (pr *proof) has(kind string) bool {
	return slices.ContainsFunc(pr.evidence, func(a attached) bool { return a.PredicateType == kind }) ||
		slices.ContainsFunc(pr.decisions, func(d signedDecision) bool { return d.PredicateType == kind })
}

// additional returns the statements of a type that the decision does not list. It returns none if
// the decision lists any statement of the type.
func (pr *proof) additional(kind string) []Statement {
	isKind := func(a attached) bool { return a.PredicateType == kind }
	if slices.ContainsFunc(pr.listed(pr.decision), isKind) {
		return nil
	}
	var out []Statement
	for _, a := range pr.evidence {
		if isKind(a) && a.Digest != pr.overrideStatement.Digest {
			out = append(out, a.Statement)
		}
	}
	return out
}

// gathered returns the trusted statements about each of the digests. It does not require signatures
// of the digests.
func (s snapshot) gathered(ctx context.Context, pr *proof, digests []v1.Hash, t Trust) ([]*proof, error) {
	var out []*proof
	for _, digest := range digests {
		one := &proof{ref: pr.ref.Context().Digest(digest.String()), digest: digest}
		found, err := s.read(ctx, one.ref, s.v.forms())
		if err != nil {
			return nil, err
		}
		one.gather(found, t)
		out = append(out, one)
	}
	return out, nil
}
