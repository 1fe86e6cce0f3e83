package promote

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
)

// VerifySignature proves less than Verify: a trusted signer signed the digest and, if t has
// Predicates, trusted signers signed statements of these types about it. It is intended for images
// that the cosign command signed. It does not check for a decision or whether the blobs can be
// pulled. The platforms of an index need no signature. It ignores the fields of t for decisions:
// MaxAge, Policy, PolicyName, Tag, AnyTag and AllowOverride.
//
// A signature that names no repository is accepted, because cosign's bundles never name one. So the
// signature may have been copied from another repository. A signature that names another repository
// is refused.
//
// The record has no decision and lists all trusted statements about the digest. The errors are the
// same as for Verify.
func (v *Verifier) VerifySignature(ctx context.Context, ref name.Reference, t Trust) (*Record, error) {
	t.AnyRepository = true
	s := v.snapshot(nil)
	root, err := s.manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	pr, err := s.collect(ctx, ref.Context(), root.Digest, t, v.forms())
	if err != nil {
		return nil, err
	}
	err = pr.require(t.Predicates, func() ([]*proof, error) {
		if !root.MediaType.IsIndex() {
			return nil, nil
		}
		platforms, err := platformsOf(root)
		if err != nil {
			return nil, pr.fail("%v", err)
		}
		return s.gathered(ctx, pr, platforms, t)
	})
	if err != nil {
		return nil, err
	}
	pr.required = nil // The loop below adds all trusted statements, including the required ones.
	record := pr.record()
	record.source = &s
	for _, a := range pr.evidence {
		record.Statements = append(record.Statements, a.Statement)
	}
	sortStatements(record.Statements)
	record.SignedFor = t.otherName(ref.Context())
	if tag, ok := ref.(name.Tag); ok {
		record.Tag = tag.TagStr()
	}
	return record, nil
}
