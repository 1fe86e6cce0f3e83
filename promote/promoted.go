package promote

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
)

// Basis is everything that a decision depends on, except the image itself. Evaluating the same
// digest on the same basis gives the same result until the decision expires.
type Basis struct {
	// Repository is the staging repository of the image. It matters because an exception may apply
	// to one repository but not to another one with the same image.
	Repository       string
	Policy           string // digest of the policy
	PolicyName       string // name of the policy, shared by its earlier versions
	Database         string // digest of the vulnerability database
	ExternalEvidence string // digest of the external evidence; see ExternalEvidenceDigest
	Tool             gate.Tool
	// Override is the override to use if the image is denied. Nil means none.
	Override *policy.Override
}

// Promoted reports whether a promotion would change nothing: every tag already points to the digest
// and has complete, verified evidence that was made on the same basis. The evidence must show a
// pass that has not expired, or a denial with the override of the basis that has not expired. The
// records describe the existing evidence.
//
// An incomplete destination gives false, and an unreadable one gives an error. Promoted uses the
// attachments in prefetched instead of reading them again. prefetched may be nil.
func (p *Promoter) Promoted(ctx context.Context, digest v1.Hash, basis Basis, prefetched *Prefetched, tags ...name.Tag) ([]*Record, bool, error) {
	s := p.verifier.snapshot(prefetched)
	var records []*Record
	for _, tag := range tags {
		record, err := p.promoted(ctx, s, digest, basis, tag)
		if err != nil || record == nil {
			return nil, false, err
		}
		records = append(records, record)
	}
	return records, len(tags) > 0, nil
}

// promoted returns the record of one tag. It returns nil if the destination is incomplete or if its
// decision was made on another basis.
func (p *Promoter) promoted(ctx context.Context, s snapshot, digest v1.Hash, basis Basis, tag name.Tag) (*Record, error) {
	have, err := s.tagged(ctx, tag)
	if err != nil || have != digest {
		return nil, err
	}
	record, err := s.verifyCurrent(ctx, tag.Context().Digest(digest.String()), p.own(basis.PolicyName, tag.TagStr(), basis.Override))
	var invalid *VerifyError
	if errors.As(err, &invalid) || registry.IsNotFound(err) {
		return nil, nil
	}
	if err != nil || !record.isCurrent(basis, p.opts.Now()) {
		return nil, err
	}
	if stored, err := s.hasCopies(ctx, tag.Context(), record.Decision.Basis.CopiedAttestations); err != nil || !stored {
		return nil, err
	}
	record.Tag, record.Repeated = tag.TagStr(), true
	return record, nil
}
