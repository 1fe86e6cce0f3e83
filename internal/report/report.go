// Package report presents what a run found and did.
//
// A run fills in one [Report]; every output format is a func(io.Writer, Report)
// error in a file of its own. [JSON] is the lossless one: [ReadJSON] gives the
// same Report back, so every other format can be made from it later. [Text] is
// for people and [Summary] for a log. What is asked of reports afterwards, why
// something blocks and what has changed, has a text and a JSON form too:
// [Answer] and [Comparison]. [Suite] is how the cases of a policy came out.
//
// The package decides nothing: verdicts come from the Decision, and where that
// is missing or contradicts itself the answer is never a pass. It reads no
// clock; ages and days left are counted from the end of the run.
package report

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Schema is the version of the JSON form. It changes whenever a reader of the
// old form could misread the new one.
const Schema = "1"

// Report is everything about one run. The zero value is a run that could not
// decide.
type Report struct {
	// Schema is the version of the JSON form; writers take empty for the
	// constant Schema.
	Schema  string `json:"schema"`
	Tool    Tool   `json:"tool"`
	Command string `json:"command"` // "promote", "check"
	// Started and Finished enclose the run; ages in other formats are counted
	// from Finished.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// At is the later instant as of which the image was judged; zero where that
	// was during the run. Such a decision promotes nothing.
	At time.Time `json:"at,omitzero"`
	// Judged is the instant as of which Decision was made, which is At where that
	// is set; zero where nothing was judged.
	Judged time.Time `json:"judged,omitzero"`
	Policy Policy    `json:"policy"`
	// Input is the evidence; of a run that could not decide, as much of it as
	// there was.
	Input policy.Input `json:"input"`
	// MovedTo is the digest that the image's reference names by now, where
	// that is no longer the one that was judged.
	MovedTo string `json:"movedTo,omitempty"`
	// Decision is nil when nothing was decided.
	Decision *policy.Decision `json:"decision"`
	// Remedies say what to do about the violations of Decision, causes first. See
	// the function Remedies.
	Remedies []Remedy `json:"remedies,omitempty"`
	// Cautions are what no rule says and whoever reads the verdict must know, such
	// as that there was nothing to compare with. They may quote text from the
	// image.
	Cautions []string `json:"cautions,omitempty"`
	// Override let the image through although Decision, or the signed one that was
	// read back, is a denial; nil where nothing did.
	Override *policy.GrantedOverride `json:"override,omitempty"`
	// Destinations are those that were completed, in the order in which they
	// were asked for.
	Destinations []Destination `json:"destinations"`
	Transfer     Transfer      `json:"transfer"`
	// Attached is everything that is stored beside the image, where that was asked
	// for; nil where it was not.
	Attached []Attached `json:"attached,omitempty"`
	// Error is why the run did not end as it was meant to. A denial is no
	// error.
	Error *Error `json:"error,omitempty"`
}

// Tool identifies the program that made the report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Components are the versions of the libraries that decide with it, by
	// name: syft, grype, cosign. No two names may differ in case only.
	Components map[string]string `json:"components,omitempty"`
}

// Policy identifies the policy that judged, or several.
type Policy struct {
	// File is the policy's file, or those of several joined by " + ".
	File string `json:"file"`
	// Digest stands for all that they say, "sha256:<hex>": of one file the
	// SHA-256 of its bytes.
	Digest string `json:"digest"`
	// Files are all files, those with exceptions too, where there are several.
	Files []PolicyFile `json:"files,omitempty"`
	// ExceptionsMaxLifetime is how far ahead an exception may end; zero means any
	// time.
	ExceptionsMaxLifetime time.Duration `json:"exceptionsMaxLifetime,omitempty"`
}

// PolicyFile is one file of a policy.
type PolicyFile struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // SHA-256 of its bytes, "sha256:<hex>"
}

// Destination is one place in an approved registry that holds the image.
type Destination struct {
	// Reference is the tag as the user wrote it; Repository and Tag are its
	// parts in full.
	Reference  string `json:"reference"`
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	// Digest is what the tag names, read back.
	Digest string `json:"digest"`
	State  State  `json:"state"`
	// SignedFor is the repository for which the image was signed, if Repository is a
	// mirror of it.
	SignedFor string `json:"signedFor,omitempty"`
	// Decided is when the decision that it carries was made.
	Decided time.Time `json:"decided,omitzero"`
	// Signer is the fingerprint of the key that signed.
	Signer     string      `json:"signer,omitempty"`
	Statements []Statement `json:"statements"`
	// Carried went along from where the image was staged, and Left did not.
	Carried []Carried `json:"carried,omitempty"`
	Left    []Carried `json:"left,omitempty"`

	// Blobs is how many distinct blobs the image has, and BlobsCopied how
	// many of them travelled.
	Blobs       int `json:"blobs"`
	BlobsCopied int `json:"blobsCopied"`
	// BytesCopied travelled; BytesSkipped were there already or mounted from
	// another repository, as far as that was counted.
	BytesCopied  int64 `json:"bytesCopied"`
	BytesSkipped int64 `json:"bytesSkipped"`
}

// Carried is something that was signed about the image where it was staged.
type Carried struct {
	// PredicateType is empty for a signature.
	PredicateType string `json:"predicateType,omitempty"`
	Subject       string `json:"subject"`
	// Digest is that of what was signed; empty where nobody who is believed has.
	Digest string `json:"digest,omitempty"`
	// Format is the form of storage, legacy or bundle.
	Format string `json:"format"`
	Signer string `json:"signer,omitempty"`
	// Reason says why it was left.
	Reason string `json:"reason,omitempty"`
}

// State says what happened at a destination.
type State string

// The states.
const (
	// Promoted: the image was copied or completed, and its tag written.
	Promoted State = "promoted"
	// AlreadyPromoted: everything was there and verified; nothing was written.
	AlreadyPromoted State = "already promoted"
	// Verified: everything was found and proven, by somebody who only looked.
	Verified State = "verified"
	// SignatureVerified: a signature was proven, and nothing else was asked.
	SignatureVerified State = "signature verified"
)

// Statement is a signed statement that a promoted image carries.
type Statement struct {
	PredicateType string `json:"predicateType"`
	// Platform is empty for a statement about the whole image.
	Platform string `json:"platform,omitempty"`
	// Subjects are the digests that it is about.
	Subjects []string `json:"subjects"`
	// Digest is the SHA-256 of the signed statement, "sha256:<hex>".
	Digest string `json:"digest"`
}

// Transfer counts what was read from the source.
type Transfer struct {
	BytesRead int64 `json:"bytesRead"`
	Fetches   int   `json:"fetches"` // blobs asked for, repeated ones again
	// Recalled is how many platforms were not read because an earlier run had
	// cataloged them.
	Recalled int `json:"recalled,omitempty"`
}

// Error is why a run did not end as it was meant to.
type Error struct {
	Class Class `json:"class"`
	// Message is the error's text, one line for each cause. It holds no
	// secrets, and may quote text from the image.
	Message string `json:"message"`
	// Retryable: the same command may succeed later, with nothing changed. A tag
	// that does not exist and a login that is refused are not retryable.
	Retryable bool `json:"retryable"`
	// Partial: some of several tags were written before one was refused. They are in
	// Destinations, and promoting again writes the rest.
	Partial bool `json:"partial,omitempty"`
}

// Class sorts errors by what can be done about them; each but output has an exit
// code of its own.
type Class string

// The classes.
const (
	ClassOther       Class = "other"       // none of those below
	ClassUsage       Class = "usage"       // arguments, policy or configuration
	ClassRegistry    Class = "registry"    // a registry failed or refused
	ClassDatabase    Class = "database"    // missing, corrupt or too old
	ClassTrust       Class = "trust"       // signing, attesting or verifying
	ClassInterrupted Class = "interrupted" // stopped from outside
	// ClassOutput: the command did what it was for, Destinations included, and a
	// report or a statement could not be written. Its exit code is that of other.
	ClassOutput Class = "output"
)

// Outcome is what a report amounts to. The zero value is Undecided.
type Outcome uint8

const (
	// Undecided: there is no decision, and so no pass.
	Undecided Outcome = iota
	// Denied: the policy was not satisfied.
	Denied
	// Unfinished: the image passed, and what was to follow failed.
	Unfinished
	// Passed: the image passed and nothing failed.
	Passed
	// Proven: nothing was judged here. A pass that was decided and signed
	// before was read back and verified at every destination.
	Proven
	// Overridden: the image was denied, now or before, and an override let it
	// through. That is no pass.
	Overridden
	// Signed: a signature was verified at every destination, and no decision was
	// asked for. That is no pass.
	Signed
)

// Outcome derives the outcome. A decision that claims to pass and lists
// violations is a denial.
func (r Report) Outcome() Outcome {
	switch {
	case r.Override != nil && r.Error == nil && len(r.Destinations) > 0 && (r.Decision != nil || r.proven()):
		return Overridden
	case r.Decision == nil && r.proven():
		return Proven
	case r.Decision == nil && r.Override == nil && r.all(SignatureVerified):
		return Signed
	case r.Decision == nil:
		return Undecided
	case !r.Decision.Passed || len(r.Decision.Violations) > 0:
		return Denied
	case r.Error != nil:
		return Unfinished
	}
	return Passed
}

func (r Report) proven() bool { return r.all(AlreadyPromoted, Verified) }

// all reports whether nothing failed and every destination is in one of the
// states.
func (r Report) all(states ...State) bool {
	for _, d := range r.Destinations {
		if !slices.Contains(states, d.State) {
			return false
		}
	}
	return r.Error == nil && len(r.Destinations) > 0
}

// at is the instant from which ages are counted; zero if the run has no times.
func (r Report) at() time.Time {
	if r.Finished.IsZero() {
		return r.Started
	}
	return r.Finished
}

// validate refuses what no run can have produced and what a reader could take
// for something else.
func (r Report) validate() error {
	if r.Schema != Schema {
		return fmt.Errorf("schema %q: want %q", r.Schema, Schema)
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
