package run

import (
	"strings"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/promote"
)

// Policy returns the description of the policies for a report.
func Policy(set policy.Set) report.Policy {
	var names []string
	var files []report.PolicyFile
	for _, p := range set {
		names = append(names, p.File)
		if len(p.Files) == 0 {
			files = append(files, report.PolicyFile{Name: p.File, Digest: p.Digest})
		}
		for _, f := range p.Files {
			files = append(files, report.PolicyFile{Name: f.Name, Digest: f.Digest})
		}
	}
	out := report.Policy{File: strings.Join(names, " + "), Digest: set.Digest(), ExceptionsMaxLifetime: set.ExceptionsMaxLifetime()}
	if len(files) > 1 {
		out.Files = files
	}
	return out
}

// checked adds the evidence and the decision of a check to the report.
func checked(r *report.Report, result *gate.Result) {
	r.Input = result.Input
	r.Decision = &result.Decision
	if r.EvaluatedAt = r.At; r.At.IsZero() {
		r.EvaluatedAt = result.Finished.UTC()
	}
	r.Transfer = report.Transfer{BytesRead: result.Fetched.Bytes, Fetches: result.Fetched.Fetches, CacheHits: result.CacheHits}
	r.MovedTo = result.Moved
	for _, digest := range result.Image.Unlisted {
		caution(r, "the image refers to the SOCI index %s, which is not evaluated and not copied: nodes with lazy pulling will pull the whole image", digest)
	}
	r.Remedies = report.Remedies(*r)
}

// written adds the destinations of a promotion to the report: those that this run wrote and those
// that were already complete.
func written(r *report.Report, records []*promote.Record) {
	for _, record := range records {
		state := report.Promoted
		if record.Repeated {
			state = report.AlreadyPromoted
		}
		r.Destinations = append(r.Destinations, destination(record, state))
		overridden(r, record.Override)
	}
}

// repeated adds the result to the report if an earlier run already promoted the image.
func repeated(r *report.Report, records []*promote.Record) {
	proven(r, records[0])
	written(r, records)
}

// verified adds the result of a verification to the report.
func verified(r *report.Report, record *promote.Record) {
	proven(r, record)
	r.Destinations = append(r.Destinations, destination(record, report.Verified))
	overridden(r, record.Override)
}

// signed adds the result to the report if only a signature was verified, and not a decision.
func signed(r *report.Report, record *promote.Record) {
	r.Input.Image.Digest = record.Digest
	r.Destinations = append(r.Destinations, destination(record, report.SignatureVerified))
}

// explained adds all attestations and signatures of the image to the report.
func explained(r *report.Report, e *promote.Explanation) {
	r.Input.Image.Digest = e.Digest
	r.Attachments = []report.Attachment{}
	for _, a := range e.Attached {
		r.Attachments = append(r.Attachments, report.Attachment{
			Subject: a.Subject, Platform: a.Platform, Format: a.Form.String(), PredicateType: a.PredicateType,
			Signature: a.Signature, Digest: a.Digest,
			Signer: report.AttachedSigner{Key: a.Signer.Key, Subject: a.Signer.Subject, Issuer: a.Signer.Issuer},
			Logged: a.Signer.At, LogVerified: a.Trusted && a.Signer.Key == "" && !a.Signer.At.IsZero(),
			Result: a.Result, Decided: a.Decided, Trusted: a.Trusted, Reason: a.Reason})
	}
}

// proven adds the content of a signed decision to the report, for runs that do not evaluate the
// image again.
func proven(r *report.Report, record *promote.Record) {
	r.Input.Image.Digest = record.Digest
	r.Input.Database = record.Decision.Basis.Database
	if r.Policy.Digest == "" {
		r.Policy = report.Policy{File: record.Decision.PolicyName, Digest: "sha256:" + record.Decision.Policy["sha256"]}
	}
	for _, p := range record.Decision.Basis.Platforms {
		r.Input.Platforms = append(r.Input.Platforms, evidence.Platform{Platform: p.Platform, Digest: p.Digest})
	}
}

func destination(record *promote.Record, state report.State) report.Destination {
	basis := record.Decision.Basis
	platforms := map[string]string{}
	for _, p := range basis.Platforms {
		platforms[p.Digest] = p.Platform
	}
	d := report.Destination{Reference: record.Reference(), Repository: record.Repository, Tag: record.Tag, Digest: record.Digest, State: state,
		SignedFor: record.SignedFor, Signer: record.Signer, Statements: []report.Statement{}, Decided: record.Decision.Time,
		Blobs: record.Copied.Blobs, BlobsCopied: record.Copied.Sent, BytesCopied: record.Copied.Bytes, BytesSkipped: record.Copied.Skipped}
	for _, s := range record.Statements {
		one := report.Statement{PredicateType: s.PredicateType, Subjects: []string{s.Subject}, Digest: s.Digest}
		if s.PredicateType != promote.DecisionType {
			one.Platform = platforms[s.Subject]
		}
		d.Statements = append(d.Statements, one)
	}
	for _, c := range basis.CopiedAttestations {
		d.CopiedAttestations = append(d.CopiedAttestations, report.Attestation{PredicateType: c.PredicateType, Subject: c.Subject, Digest: c.Digest, Format: c.Format, Signer: c.Signer.String()})
	}
	for _, s := range basis.SkippedAttestations {
		d.SkippedAttestations = append(d.SkippedAttestations, report.Attestation{PredicateType: s.PredicateType, Subject: s.Subject, Digest: s.Digest, Format: s.Format, Reason: s.Reason})
	}
	return d
}
