// Package report presents the results of a run.
//
// A run fills in one [Report]. [JSON] is lossless: [ReadJSON] returns the same Report, so every other
// format can be made from JSON later. [Text] is for people and [Summary] for a log. Package formats
// has the formats for other systems. All of them list [Report.Items] and state [Report.Verdict].
// [ExplainResult] explains why something blocks, and [DiffResult] compares two reports. Both have a
// text and a JSON format.
//
// The package makes no decisions: verdicts come from the Decision. If the Decision is missing or
// contradicts itself, the outcome is never a pass. The package reads no clock. It counts ages and
// remaining days from the end of the run.
package report

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Schema is the version of the JSON form. It changes whenever a reader of the old form could
// misread the new one.
const Schema = "1"

// Report is everything about one run. The zero value is a run without a decision.
type Report struct {
	// Schema is the version of the JSON form. Writers replace "" by the constant Schema.
	Schema  string `json:"schema"`
	Tool    Tool   `json:"tool"`
	Command string `json:"command"` // "promote", "check"
	// Started and Finished are the start and the end of the run. Other formats count ages from
	// Finished.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// At is the future time given with --at, or zero if the image was evaluated as of now. With At
	// set, the image is not promoted.
	At time.Time `json:"at,omitzero"`
	// EvaluatedAt is the time that Decision applies to: At if it is set. It is zero without a
	// decision.
	EvaluatedAt time.Time `json:"evaluatedAt,omitzero"`
	Policy      Policy    `json:"policy"`
	// Input is the evidence. It may be incomplete if the run could not decide.
	Input evidence.Input `json:"input"`
	// MovedTo is the current digest of the image's reference if it has moved since it was resolved.
	// Otherwise it is empty.
	MovedTo string `json:"movedTo,omitempty"`
	// Decision is nil if the run made no decision.
	Decision *policy.Decision `json:"decision"`
	// Remedies say what to do about the violations of Decision, causes first. See the function
	// Remedies.
	Remedies []Remedy `json:"remedies,omitempty"`
	// Cautions are warnings that do not come from a policy rule, for example that the baseline was
	// missing. They may quote text from the image.
	Cautions []string `json:"cautions,omitempty"`
	// Override let the image through although Decision, or the signed decision that was read back,
	// is a denial. It is nil if no override was used.
	Override *policy.GrantedOverride `json:"override,omitempty"`
	// Destinations are the completed destinations, in the order of the command line.
	Destinations []Destination `json:"destinations"`
	Transfer     Transfer      `json:"transfer"`
	// Attachments are the signatures and statements attached to the image, or nil if they were not
	// requested.
	Attachments []Attachment `json:"attachments,omitempty"`
	// Error is why the run failed. A denial is not an error.
	Error *Error `json:"error,omitempty"`
}

// Tool identifies the program that made the report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Components are the versions of the libraries that the result depends on, by name: syft,
	// grype, cosign. No two names may differ only in case.
	Components map[string]string `json:"components,omitempty"`
}

// Policy identifies the policy or policies of the run.
type Policy struct {
	// File is the policy's file name. Several names are joined by " + ".
	File string `json:"file"`
	// Digest identifies the contents of all policies, "sha256:<hex>". For a single file it is the
	// SHA-256 of its bytes.
	Digest string `json:"digest"`
	// Files are all files of the policies, including files of exceptions, if there are several.
	Files []PolicyFile `json:"files,omitempty"`
	// ExceptionsMaxLifetime is how far in the future an exception may end. Zero means no limit.
	ExceptionsMaxLifetime time.Duration `json:"exceptionsMaxLifetime,omitempty"`
}

// PolicyFile is one file of a policy.
type PolicyFile struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // SHA-256 of its bytes, "sha256:<hex>"
}

// Destination is one place in an approved registry that holds the image.
type Destination struct {
	// Reference is the tag as the user wrote it. Repository and Tag are its parts, written in full.
	Reference  string `json:"reference"`
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	// Digest is the digest of the tag, as read back.
	Digest string `json:"digest"`
	State  State  `json:"state"`
	// SignedFor is the repository that the image was signed for, if Repository is a mirror of it.
	SignedFor string `json:"signedFor,omitempty"`
	// Decided is when the decision attached to the image was made.
	Decided time.Time `json:"decided,omitzero"`
	// Signer is the fingerprint of the key that signed.
	Signer     string      `json:"signer,omitempty"`
	Statements []Statement `json:"statements"`
	// CopiedAttestations were copied from the staging registry. SkippedAttestations are the
	// attestations that were skipped.
	CopiedAttestations  []Attestation `json:"copiedAttestations,omitempty"`
	SkippedAttestations []Attestation `json:"skippedAttestations,omitempty"`

	// Blobs is the number of distinct blobs of the image. BlobsCopied is how many of them were
	// copied.
	Blobs       int `json:"blobs"`
	BlobsCopied int `json:"blobsCopied"`
	// BytesCopied is the number of bytes copied. BytesSkipped is the size of blobs that existed
	// already or were mounted from another repository, as far as it is known.
	BytesCopied  int64 `json:"bytesCopied"`
	BytesSkipped int64 `json:"bytesSkipped"`
}

// Attestation is a signature or an attestation of the image in the staging registry.
type Attestation struct {
	// PredicateType is empty for a signature.
	PredicateType string `json:"predicateType,omitempty"`
	Subject       string `json:"subject"`
	// Digest is the digest of the signed content, or "" if no trusted signer signed it.
	Digest string `json:"digest,omitempty"`
	// Format is how it is stored: legacy or bundle.
	Format string `json:"format"`
	Signer string `json:"signer,omitempty"`
	// Reason says why it was skipped.
	Reason string `json:"reason,omitempty"`
}

// State says what happened at a destination.
type State string

// The states.
const (
	// Promoted: the image was copied or completed, and its tag written.
	Promoted State = "promoted"
	// AlreadyPromoted: everything existed and was verified. Nothing was written.
	AlreadyPromoted State = "already promoted"
	// Verified: verify found and proved everything, without writing.
	Verified State = "verified"
	// SignatureVerified: only a signature was verified.
	SignatureVerified State = "signature verified"
)

// Statement is a signed statement attached to a promoted image.
type Statement struct {
	PredicateType string `json:"predicateType"`
	// Platform is empty for a statement about the whole image.
	Platform string `json:"platform,omitempty"`
	// Subjects are the digests of the images that the statement describes.
	Subjects []string `json:"subjects"`
	// Digest is the SHA-256 of the signed statement, "sha256:<hex>".
	Digest string `json:"digest"`
}

// Transfer counts what was read from the source.
type Transfer struct {
	BytesRead int64 `json:"bytesRead"`
	Fetches   int   `json:"fetches"` // requested blobs, including repeated requests
	// CacheHits is the number of platforms whose SBOM came from the cache.
	CacheHits int `json:"cacheHits,omitempty"`
}

// Error is why a run failed.
type Error struct {
	Class Class `json:"class"`
	// Message is the error text, one line for each cause. It holds no secrets, but may quote text
	// from the image.
	Message string `json:"message"`
	// Retryable: the same command may succeed later without a change. A missing tag and a refused
	// login are not retryable.
	Retryable bool `json:"retryable"`
	// Partial: with several tags, some were written before one was refused. The written ones are in
	// Destinations, and promoting again writes the rest.
	Partial bool `json:"partial,omitempty"`
}

// Class groups errors by possible remedies. Each class except output has an exit code of its own.
type Class string

// The classes.
const (
	ClassOther       Class = "other"       // none of the classes below
	ClassUsage       Class = "usage"       // arguments, policy or configuration
	ClassRegistry    Class = "registry"    // a registry failed or refused
	ClassDatabase    Class = "database"    // missing, corrupt or too old
	ClassTrust       Class = "trust"       // signing, attesting or verifying
	ClassInterrupted Class = "interrupted" // stopped from outside
	// ClassOutput: the command succeeded, including all Destinations, but a report or a statement
	// could not be written. Its exit code is the one of ClassOther.
	ClassOutput Class = "output"
)

// Outcome is the result of a run. The zero value is Undecided, which is not a pass.
type Outcome uint8

const (
	// Undecided: no decision was made, so the image did not pass.
	Undecided Outcome = iota
	// Denied: the image did not satisfy the policy.
	Denied
	// Unfinished: a decision was made, but a later step failed. Decision says whether the image passed.
	Unfinished
	// Passed: the image passed and nothing failed.
	Passed
	// PassedEarlier: this run made no decision. It read back and verified an earlier signed pass at every
	// destination.
	PassedEarlier
	// Overridden: the image was denied, in this run or before, and an override let it through. This
	// is not a pass.
	Overridden
	// SignatureOnly: a signature was verified at every destination. A decision was not requested, so this
	// is not a pass.
	SignatureOnly
)

// Outcome returns the outcome of the run. If the decision says that the image passed but lists
// violations, the outcome is a denial.
func (r Report) Outcome() Outcome {
	switch {
	case r.Override != nil && r.Error == nil && len(r.Destinations) > 0 && (r.Decision != nil || r.passedEarlier()):
		return Overridden
	case r.Decision == nil && r.passedEarlier():
		return PassedEarlier
	case r.Decision == nil && r.Override == nil && r.all(SignatureVerified):
		return SignatureOnly
	case r.Decision == nil:
		return Undecided
	case r.Error != nil:
		return Unfinished
	case r.Denies():
		return Denied
	}
	return Passed
}

// Denies reports whether this run's decision denies the image, whatever happened later. Outcome is
// Denied, and the exit code 2, only if nothing failed as well.
func (r Report) Denies() bool {
	return r.Decision != nil && (!r.Decision.Passed || len(r.Decision.Violations) > 0)
}

func (r Report) passedEarlier() bool { return r.all(AlreadyPromoted, Verified) }

// all reports whether nothing failed, there is at least one destination, and every destination is
// in one of these states.
func (r Report) all(states ...State) bool {
	for _, d := range r.Destinations {
		if !slices.Contains(states, d.State) {
			return false
		}
	}
	return r.Error == nil && len(r.Destinations) > 0
}

// referenceTime is the time that ages are counted from. It is zero if the run has no times.
func (r Report) referenceTime() time.Time {
	if r.Finished.IsZero() {
		return r.Started
	}
	return r.Finished
}

// validate returns an error for a report that no run can have written, or that a reader could
// misinterpret.
func (r Report) validate() error {
	if r.Schema != Schema {
		return fmt.Errorf("schema %q: expected %q", r.Schema, Schema)
	}
	if r.Decision != nil && r.Decision.Passed && len(r.Decision.Violations) > 0 {
		return fmt.Errorf("the decision passes with %d violations", len(r.Decision.Violations))
	}
	if r.Decision != nil && r.Decision.Passed && r.Override != nil {
		return errors.New("the decision passes and is overridden")
	}
	if r.Error != nil {
		switch r.Error.Class {
		case ClassOther, ClassUsage, ClassRegistry, ClassDatabase, ClassTrust, ClassInterrupted, ClassOutput:
		default:
			return fmt.Errorf("unknown error class %q", r.Error.Class)
		}
	}
	components := map[string]bool{}
	for name := range r.Tool.Components {
		key := foldKey(name)
		if components[key] {
			return fmt.Errorf("component %q is named twice", name)
		}
		components[key] = true
	}
	for i, d := range r.Destinations {
		if d.State != Promoted && d.State != AlreadyPromoted && d.State != Verified && d.State != SignatureVerified {
			return fmt.Errorf("destination %d: unknown state %q", i+1, d.State)
		}
	}
	return nil
}
