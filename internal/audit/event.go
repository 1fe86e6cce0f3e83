// Package audit records what each run decided, for a log that people must be able to trust.
//
// [NewEvent] turns the report of a run into one CloudEvents record. A [Log] delivers the record to a
// file, a stream or a syslog server. Before the first tag is written, [Log.Prepare] proves that the
// log can be written, and keeps a record on disk that says that the run did not finish. At the end,
// [Log.Final] replaces that record, and [Log.Deliver] delivers it and removes it. If the process dies in
// between, the next run, or the parent process, delivers the prepared record. So each run leaves one
// record, or none and no tag.
//
// The package reads no flags and no environment. It takes the clock as a parameter.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

// These constants are the same in every record.
const (
	// Type is the CloudEvents type. Its version increases when a field is removed or changes its
	// meaning. A new field does not change it.
	Type = "io.imagegate.decision.v1"
	// SchemaURI identifies the JSON Schema of the record.
	SchemaURI = "https://github.com/imagegate/imagegate/blob/main/docs/schemas/audit.v1.json"

	dataSchema = SchemaURI + "#/$defs/audit.Run"

	source      = "https://github.com/imagegate/imagegate"
	specVersion = "1.0"
	contentType = "application/json"
)

// Event is one record: a CloudEvents 1.0 envelope around a [Run].
type Event struct {
	// SpecVersion is the version of CloudEvents: "1.0".
	SpecVersion string `json:"specversion"`
	// ID identifies the run: a random UUID. A record that is delivered twice has the same id.
	ID string `json:"id"`
	// Source is the URI of the program that made the record.
	Source string `json:"source"`
	// Type is the constant io.imagegate.decision.v1.
	Type string `json:"type"`
	// Subject is the digest of the image, "sha256:<hex>". It is missing if the run did not resolve
	// the image.
	Subject string `json:"subject,omitempty"`
	// Time is the end of the run.
	Time time.Time `json:"time"`
	// DataContentType is the media type of Data: "application/json".
	DataContentType string `json:"datacontenttype"`
	// DataSchema is the URI of the JSON Schema of Data.
	DataSchema string `json:"dataschema"`
	// Data is the run.
	Data Run `json:"data"`
}

// Run is what the record says about a run. Text may quote the image and is not sanitized for
// terminals.
type Run struct {
	// Command is the command of the run, such as "promote" or "check".
	Command string `json:"command"`
	// Outcome is passed, passedEarlier, overridden, signatureOnly, denied, unfinished or undecided,
	// as in the JSON report. Unfinished and undecided mean that something failed.
	Outcome string `json:"outcome"`
	// ExitCode is the exit code of the process. It is -1 if the process died and left none.
	ExitCode int `json:"exitCode"`
	// Why is the reason in one sentence.
	Why string `json:"why"`
	// Decision is passed or denied, as the policies decided. It is missing if the run made no
	// decision, or repeats an earlier one. An override does not change it.
	Decision string `json:"decision,omitempty"`
	// Error is why the run failed. A denial is not an error.
	Error *Error `json:"error,omitempty"`
	// Recovered means that the process died before it could deliver this record. The record was
	// made before the first tag was written, and any of Requested may have been written.
	Recovered bool `json:"recovered,omitempty"`
	// Started is the start of the run.
	Started time.Time `json:"started"`
	// DurationSeconds is the time from the start to the end of the run.
	DurationSeconds float64 `json:"durationSeconds"`
	// Actor is who ran the program, as far as the machine says.
	Actor Actor `json:"actor"`
	// Tool is the program that decided.
	Tool report.Tool `json:"tool"`
	// Image is the image in the staging registry, or in the approved registry for verify.
	Image Image `json:"image"`
	// Policy identifies the policies, in the order of evaluation.
	Policy Policy `json:"policy"`
	// Database is the vulnerability database.
	Database Database `json:"database"`
	// Evidence is the digest of the evidence that the policies evaluated, "sha256:<hex>": the SHA-256 of
	// the JSON report's value of "input" as compact JSON, with a line break at the end. It is missing
	// without a decision.
	Evidence string `json:"evidence,omitempty"`
	// EvaluatedAt is the time that the decision applies to. It is missing without a decision.
	EvaluatedAt time.Time `json:"evaluatedAt,omitzero"`
	// ValidUntil is when the decision can first change without a new image. It is missing if that
	// never happens, and without a pass.
	ValidUntil time.Time `json:"validUntil,omitzero"`
	// Counts are the numbers of problems, as in every format of the report.
	Counts Counts `json:"counts"`
	// Rules are the rules that blocked or warned.
	Rules []Rule `json:"rules"`
	// Exceptions are the exceptions that were used.
	Exceptions []Exception `json:"exceptions,omitempty"`
	// Override is the override that let a denied image through.
	Override *Override `json:"override,omitempty"`
	// Requested are the tags that the command line names.
	Requested []string `json:"requested,omitempty"`
	// Destinations are the tags that the run wrote or verified.
	Destinations []Destination `json:"destinations"`
	// Omitted counts entries that were removed from the lists above, because the log limits the size
	// of a record.
	Omitted int `json:"omitted,omitempty"`
}

// Error is why a run failed.
type Error struct {
	// Class is usage, registry, database, trust, interrupted, output or other.
	Class string `json:"class"`
	// Message is the text of the error, without secrets.
	Message string `json:"message"`
}

// Actor is who ran the program, as far as the machine says. It is not proof: a signature is.
type Actor struct {
	// User is the account of the operating system.
	User string `json:"user,omitempty"`
	// Host is the name of the machine.
	Host string `json:"host,omitempty"`
	// CI is the CI system, such as "github-actions".
	CI string `json:"ci,omitempty"`
	// Login is the user of the CI system who started the job.
	Login string `json:"login,omitempty"`
	// Job is the URL of the CI job.
	Job string `json:"job,omitempty"`
	// Commit is the commit that the CI job was started for.
	Commit string `json:"commit,omitempty"`
}

// Image is the image that the run was about.
type Image struct {
	// Reference is the reference as the user wrote it.
	Reference string `json:"reference"`
	// Repository is the repository of the reference, in canonical form.
	Repository string `json:"repository,omitempty"`
	// Digest is the digest of the image or index, "sha256:<hex>".
	Digest string `json:"digest,omitempty"`
	// Platforms are the images of the platforms that were evaluated.
	Platforms []Platform `json:"platforms,omitempty"`
}

// Platform is the image of one platform.
type Platform struct {
	// Platform is the platform, such as "linux/amd64".
	Platform string `json:"platform"`
	// Digest is the digest of the platform's image, "sha256:<hex>".
	Digest string `json:"digest"`
}

// Policy identifies the policies of the run.
type Policy struct {
	// File is the name of the policy file. Several names are joined by " + ".
	File string `json:"file,omitempty"`
	// Digest is the SHA-256 of the policy, or of all policies together.
	Digest string `json:"digest,omitempty"`
	// Files are all files, including files of exceptions, if there are several.
	Files []report.PolicyFile `json:"files,omitempty"`
}

// Database identifies the vulnerability database.
type Database struct {
	// Digest is the digest of the database, "sha256:<hex>".
	Digest string `json:"digest,omitempty"`
	// Built is the time when the database was built.
	Built time.Time `json:"built,omitzero"`
	// Schema is the version of the database's schema.
	Schema string `json:"schema,omitempty"`
	// Source is where the database came from.
	Source string `json:"source,omitempty"`
}

// Counts are the numbers of problems, as in every format of the report.
type Counts struct {
	// Blocking is the number of problems that deny the image.
	Blocking int `json:"blocking"`
	// Warnings is the number of problems that the policy only warns about.
	Warnings int `json:"warnings"`
	// Excepted is the number of problems that an exception covers.
	Excepted int `json:"excepted"`
	// NotAffected is the number of findings that a VEX statement removes.
	NotAffected int `json:"notAffected"`
}

// Rule is a rule that blocked or warned.
type Rule struct {
	// Name is the name of the rule, or the path of its key for a built-in rule.
	Name string `json:"name"`
	// Position is the place in the policy, as file:line. It is missing for a default of the program.
	Position string `json:"position,omitempty"`
	// Blocking and Warnings are the numbers of problems.
	Blocking int `json:"blocking"`
	Warnings int `json:"warnings"`
}

// Exception is an exception that was used.
type Exception struct {
	// ID is the vulnerability that the exception covers. It is missing for an exception to a rule.
	ID string `json:"id,omitempty"`
	// Rule is the rule that the exception applies to. It is missing if it applies to every rule.
	Rule string `json:"rule,omitempty"`
	// Package is the package that the exception is limited to.
	Package string `json:"package,omitempty"`
	// Position is the place of the exception, as file:line.
	Position string `json:"position,omitempty"`
	// Owner is the person or team that accepts the risk, and Reason is why.
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
	// Expires is the end of the exception.
	Expires time.Time `json:"expires"`
	// Covers is the number of problems that the exception covered.
	Covers int `json:"covers"`
}

// Override is the override that let a denied image through.
type Override struct {
	// Reason is why the image is needed in spite of the denial.
	Reason string `json:"reason"`
	// Approver is the person who approved, as stated by the person who ran imagegate.
	Approver string `json:"approver"`
	// Granted is the time of the run that promoted the image, and Expires the end of the override.
	Granted time.Time `json:"granted"`
	Expires time.Time `json:"expires"`
	// Covers is the number of violations that it covers.
	Covers int `json:"covers"`
}

// Destination is a tag in an approved registry that holds the image.
type Destination struct {
	// Reference is the approved tag.
	Reference string `json:"reference"`
	// Digest is the digest of the image under the tag.
	Digest string `json:"digest"`
	// State is "promoted", "already promoted", "verified" or "signature verified".
	State string `json:"state"`
	// Signer is the fingerprint of the key, or the identity, that signed.
	Signer string `json:"signer,omitempty"`
	// Statements are the digests of the signed statements, by predicate type and platform.
	Statements []report.Statement `json:"statements,omitempty"`
}

// Process has the facts about a run that its report does not contain.
type Process struct {
	// ID identifies the run.
	ID       string
	ExitCode int
	Actor    Actor
	// Requested are the tags that the command line names.
	Requested []string
}

// NewEvent returns the audit record of a run, from its report and its process.
func NewEvent(r report.Report, p Process) Event {
	v := r.Verdict()
	run := Run{
		Command: r.Command, Outcome: v.Outcome.String(), ExitCode: p.ExitCode, Why: v.Why,
		Started: r.Started, DurationSeconds: r.Finished.Sub(r.Started).Seconds(), Actor: p.Actor, Tool: r.Tool,
		Image:  Image{Reference: r.Input.Image.Reference, Repository: r.Input.Image.Repository, Digest: r.Input.Image.Digest},
		Policy: Policy{File: r.Policy.File, Digest: r.Policy.Digest, Files: r.Policy.Files},
		Database: Database{Digest: r.Input.Database.Digest, Built: r.Input.Database.Built,
			Schema: r.Input.Database.Schema, Source: r.Input.Database.Source},
		EvaluatedAt: r.EvaluatedAt, ValidUntil: v.Until,
		Counts:    Counts{Blocking: v.Counts.Blocking, Warnings: v.Counts.Warnings, Excepted: v.Counts.Excepted, NotAffected: v.Counts.NotAffected},
		Requested: p.Requested, Destinations: []Destination{},
	}
	if r.Decision != nil && !r.EvaluatedAt.IsZero() {
		run.Decision, run.Evidence = decisionOf(r), evidenceOf(r)
	}
	if r.Error != nil {
		run.Error = &Error{Class: string(r.Error.Class), Message: r.Error.Message}
	}
	for _, one := range r.Input.Platforms {
		run.Image.Platforms = append(run.Image.Platforms, Platform{one.Platform, one.Digest})
	}
	items := r.Items()
	run.Rules, run.Exceptions = rulesOf(items), exceptionsOf(items)
	if o := r.Override; o != nil {
		run.Override = &Override{Reason: o.Reason, Approver: o.Approver, Granted: o.Granted, Expires: o.Expires, Covers: len(o.Violations)}
	}
	for _, d := range r.Destinations {
		run.Destinations = append(run.Destinations, Destination{Reference: d.Reference, Digest: d.Digest, State: string(d.State),
			Signer: d.Signer, Statements: d.Statements})
	}
	return Event{SpecVersion: specVersion, ID: p.ID, Source: source, Type: Type, Subject: run.Image.Digest,
		Time: r.Finished, DataContentType: contentType, DataSchema: dataSchema, Data: run}
}

// These are the possible values of Run.Decision.
const (
	Passed = "passed"
	Denied = "denied"
)

func decisionOf(r report.Report) string {
	if r.Decision.Passed {
		return Passed
	}
	return Denied
}

// evidenceOf returns the digest of the evidence in a report, as Run.Evidence defines it.
func evidenceOf(r report.Report) string {
	hash := sha256.New()
	if err := json.NewEncoder(hash).Encode(r.Input); err != nil {
		return "" // the JSON report cannot be written either
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

// rulesOf returns the rules that blocked or warned, in the order of the items.
func rulesOf(items []report.Item) []Rule {
	rules := []Rule{}
	index := map[[2]string]int{}
	for i := range items {
		one := &items[i]
		if one.Status != report.Blocking && one.Status != report.Warning {
			continue
		}
		key := [2]string{one.Rule, place(one.Position)}
		at, ok := index[key]
		if !ok {
			at = len(rules)
			index[key] = at
			rules = append(rules, Rule{Name: key[0], Position: key[1]})
		}
		if one.Status == report.Blocking {
			rules[at].Blocking++
		} else {
			rules[at].Warnings++
		}
	}
	return rules
}

// exceptionsOf returns the exceptions that cover items, each once.
func exceptionsOf(items []report.Item) []Exception {
	var out []Exception
	index := map[policy.Position]int{}
	for i := range items {
		e := items[i].Exception
		if e == nil {
			continue
		}
		at, ok := index[e.Position]
		if !ok {
			at = len(out)
			index[e.Position] = at
			out = append(out, Exception{ID: e.ID, Rule: e.Rule, Package: e.Package, Position: place(e.Position), Owner: e.Owner, Reason: e.Reason, Expires: e.Expires})
		}
		out[at].Covers++
	}
	return out
}

func place(p policy.Position) string {
	if p == (policy.Position{}) {
		return ""
	}
	return p.String()
}
