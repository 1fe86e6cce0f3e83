package promote

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Document is a signed statement as a file, for readers that have no access to the registry.
type Document struct {
	Statement
	// DSSE is the envelope in JSON, with exactly the signed payload:
	// https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
	DSSE []byte
}

// Evidence verifies an image as Verify does. It returns the record and its statements, in the order
// of the record.
func (v *Verifier) Evidence(ctx context.Context, ref name.Reference, t Trust) (*Record, []Document, error) {
	record, err := v.Verify(ctx, ref, t)
	if err != nil {
		return nil, nil, err
	}
	documents, err := v.documents(ctx, record, ref.Context(), t)
	return record, documents, err
}

// Evidence returns the statements of a record that this Promoter made. It does not download the
// statements that are already in memory from making the record.
func (p *Promoter) Evidence(ctx context.Context, record *Record) ([]Document, error) {
	repo, err := name.NewRepository(record.Repository)
	if err != nil {
		return nil, err
	}
	return p.verifier.documents(ctx, record, repo, p.trust)
}

func (v *Verifier) documents(ctx context.Context, record *Record, repo name.Repository, t Trust) ([]Document, error) {
	digest, err := v1.NewHash(record.Digest)
	if err != nil {
		return nil, err
	}
	s := v.snapshot(nil)
	if record.source != nil {
		s = *record.source
	}
	ref := repo.Digest(record.Digest)
	found, err := s.read(ctx, ref, v.forms())
	if err != nil {
		return nil, err
	}
	envelopes := map[string][]byte{} // envelopes, by the digest of their payload
	for _, e := range found.envelopes {
		st, _, err := t.VerifyOpened(e.opened, digest)
		if err != nil {
			continue // another signer signed this statement; the statements of the record were verified before
		}
		if envelopes["sha256:"+payloadDigest(st.Payload)], err = e.stored.DSSE(); err != nil {
			return nil, fmt.Errorf("reading the statements of %s: %w", ref, err)
		}
	}
	var out []Document
	for _, one := range record.Statements {
		dsse, ok := envelopes[one.Digest]
		if !ok {
			return nil, &VerifyError{Ref: ref.String(), Reason: fmt.Sprintf("the statement %s is no longer attached to the image", one.Digest)}
		}
		out = append(out, Document{one, dsse})
	}
	return out, nil
}
