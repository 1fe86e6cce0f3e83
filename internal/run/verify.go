package run

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/promote"
)

// Verify is the job that verifies promoted images.
type Verify struct {
	Verifier *promote.Verifier
	// Trust states what an image must prove.
	Trust promote.Trust
	// SignatureOnly verifies only that a trusted signer signed the digest, not that it passed.
	SignatureOnly bool
	// Explain adds all attachments of the image to the report, even if the verification fails.
	Explain bool
	// Documents receives the statements of an image if the verification succeeds. If it is nil, the
	// statements are not read.
	Documents func(*promote.Record, []promote.Document) error
}

// Run verifies one image and fills in the report. An error of type *promote.VerifyError means that
// the image does not prove that it passed. After any other error, the result is unknown.
func (j *Verify) Run(ctx context.Context, ref name.Reference, r *report.Report) error {
	digest, err := j.verify(ctx, ref, r)
	var unproven *promote.VerifyError
	if !j.Explain || err != nil && !errors.As(err, &unproven) {
		return err
	}
	trusted := j.Trust
	trusted.AnyRepository = j.SignatureOnly
	explanation, eerr := j.Verifier.Explain(ctx, digest, trusted)
	if eerr != nil {
		return errors.Join(err, eerr)
	}
	explained(r, explanation)
	return err
}

// verify verifies ref and returns a reference to the verified digest, or ref itself after an error.
func (j *Verify) verify(ctx context.Context, ref name.Reference, r *report.Report) (name.Reference, error) {
	if j.SignatureOnly {
		record, err := j.Verifier.VerifySignature(ctx, ref, j.Trust)
		if err != nil {
			return ref, err
		}
		signed(r, record)
		return ref.Context().Digest(record.Digest), nil
	}
	record, documents, err := j.prove(ctx, ref)
	if err != nil {
		return ref, err
	}
	verified(r, record)
	if j.Documents != nil {
		err = j.Documents(record, documents)
	}
	return ref.Context().Digest(record.Digest), err
}

func (j *Verify) prove(ctx context.Context, ref name.Reference) (*promote.Record, []promote.Document, error) {
	if j.Documents == nil {
		record, err := j.Verifier.Verify(ctx, ref, j.Trust)
		return record, nil, err
	}
	return j.Verifier.Evidence(ctx, ref, j.Trust)
}
