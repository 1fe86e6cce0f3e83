package promote

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
)

// VerifySignature proves less than Verify: that somebody trusted signed the very
// digest, and, where t names predicates, made such statements about it. That is
// all that an image has which the cosign command signed. Whether it passed
// anything, and whether its blobs can be pulled, is not asked, and of an index
// the platforms need no signature; MaxAge, Policy and AllowOverride of t have no
// meaning here.
//
// A signature that names no repository is accepted, for cosign stores no others
// as bundles: it may be a copy from another repository. One that names another
// is not.
//
// The record has no decision, and lists all trusted statements about the digest.
// Errors are as those of Verify.
func (v *Verifier) VerifySignature(ctx context.Context, ref name.Reference, t Trust) (*Record, error) {
	t.AnyRepository = true
	root, err := v.p.readManifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	pr, err := v.p.collect(ctx, ref.Context(), root.Digest, t, v.p.reads())
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
		return v.p.gathered(ctx, pr, platforms, t)
	})
	if err != nil {
		return nil, err
	}
	pr.required = nil // they are among all the others
	record := pr.record()
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
