// Package github presents a run of imagegate in a step of GitHub Actions.
//
// A [Step] is the run: its report, its exit code, and where the checkout is. [Step.Outputs] are the
// values that later steps of a workflow use, [Step.Summary] is the Markdown of the job summary, and
// [Step.Annotations] are the workflow commands that mark the blocking rules in the policy.
//
// All three take the result from [Step.Decision]. It needs both the report and the exit code: if they
// do not agree, the decision is an error, never a pass.
package github

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
)

// Step is a step of a workflow that ran imagegate.
type Step struct {
	// Report is the report of the run. See [Failed] for a run that wrote none.
	Report report.Report
	// ExitCode is the exit code of the run.
	ExitCode int
	// Files are the outputs with the paths of written reports. A file that does not exist is an
	// output with an empty path.
	Files []Output
	// Workspace is the root folder of the checkout, and Dir the folder that imagegate ran in. Both
	// are absolute. Without Workspace, annotations name no file.
	Workspace, Dir string
}

// Decision is the result of a step in one word.
type Decision string

// The decisions.
const (
	// Error means that the decision is missing, or that the run failed after the decision.
	Error  Decision = "error"
	Denied Decision = "denied"
	Passed Decision = "passed"
	// Overridden means that the image was denied, and an override let it through.
	Overridden Decision = "overridden"
	// Signed means that only a signature was verified, as requested.
	Signed Decision = "signed"
)

// The exit codes of imagegate that state a decision. failure replaces them if the report does not
// agree.
const (
	passed  = 0
	failure = 1
	denied  = 2
)

// Decision returns the decision that both the report and the exit code state, or Error.
func (s Step) Decision() Decision {
	outcome := s.Report.Outcome()
	switch {
	case s.ExitCode == denied && outcome == report.Denied:
		return Denied
	case s.ExitCode != passed:
		return Error
	case outcome == report.Passed, outcome == report.PassedEarlier:
		return Passed
	case outcome == report.Overridden:
		return Overridden
	case outcome == report.SignatureOnly:
		return Signed
	}
	return Error
}

// Code returns the exit code for the step. It is ExitCode, or 1 if ExitCode states a decision that the
// report does not confirm.
func (s Step) Code() int {
	if s.Decision() == Error && (s.ExitCode == passed || s.ExitCode == denied) {
		return failure
	}
	return s.ExitCode
}

// Agrees reports whether the report confirms the exit code.
func (s Step) Agrees() bool { return s.Code() == s.ExitCode }

// Output is an output of a step.
type Output struct{ Name, Value string }

// Outputs returns the outputs of the step. The digest and the approved references are set only for a
// run that a later step may rely on: "verify" must have succeeded, and an approved reference needs a
// decision that let the image through. The counts are empty if the run made no decision.
func (s Step) Outputs() []Output {
	decision, counts := s.Decision(), s.Report.Counts()
	through := decision == Passed || decision == Overridden || decision == Signed
	var digest, approved, built string
	if s.Report.Command != "verify" || through {
		digest = s.digest()
	}
	if through {
		approved = s.approved()
	}
	if at := s.Report.Input.Database.Built; !at.IsZero() {
		built = at.UTC().Format(time.RFC3339)
	}
	count := func(n int) string {
		if s.Report.Decision == nil {
			return "" // 0 would mean that the image was evaluated
		}
		return strconv.Itoa(n)
	}
	files := slices.Clone(s.Files)
	for i, f := range files {
		// A run without a decision writes no SARIF report: the file is from the caller or an earlier run.
		if f.Name == "sarif" && decision == Error {
			files[i].Value = ""
		}
	}
	return append([]Output{
		{"decision", string(decision)},
		{"exit-code", strconv.Itoa(s.Code())},
		{"summary", report.Summary(s.Report)},
		{"digest", digest},
		{"approved", approved},
		{"blocking", count(counts.Blocking)},
		{"warnings", count(counts.Warnings)},
		{"excepted", count(counts.Excepted)},
		{"not-affected", count(counts.NotAffected)},
		{"database-built", built},
	}, files...)
}

var (
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// repositoryPattern accepts the characters of a registry with a port, also an IPv6 address, and
	// of a path.
	repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$`)
)

// digest returns the digest of the image, or "".
func (s Step) digest() string {
	found := s.Report.Input.Image.Digest
	if found == "" && len(s.Report.Destinations) > 0 {
		found = s.Report.Destinations[0].Digest
	}
	if !digestPattern.MatchString(found) {
		return ""
	}
	return found
}

// approved returns the references by digest in the approved registries, one on each line.
func (s Step) approved() string {
	var references []string
	for _, d := range s.Report.Destinations {
		if repositoryPattern.MatchString(d.Repository) && digestPattern.MatchString(d.Digest) {
			references = append(references, d.Repository+"@"+d.Digest)
		}
	}
	return strings.Join(references, "\n")
}
