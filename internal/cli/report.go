package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/filekind"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/suggest"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/explain"
)

// answerFlag is --output for commands that read reports. It has no environment variable: if
// IMAGEGATE_OUTPUT is set for check, the result would overwrite the report.
var answerFlag = &cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the result as `FORMAT[=FILE]`: " + report.List(report.ResultNames(report.ExplainFormats)) + ". Repeatable (default: text)"}

func explainCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "explain why a report blocks a vulnerability or applies a rule",
		ArgsUsage: "ID",
		Description: "ID is the id or an alias of a vulnerability, or the name of a rule. Without --policy, imagegate\n" +
			"reads the policy files that the report names. They must not have changed since the run.",
		Flags: []cli.Flag{policyFlag, answerFlag,
			&cli.StringFlag{Name: "report", Usage: "read the JSON report in `FILE`"}},
		Action: func(c *cli.Context) error { return runExplain(c, s) },
	}
}

func reportCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "report",
		Usage: "work with JSON reports",
		Subcommands: []*cli.Command{{
			Name:        "diff",
			Usage:       "compare two reports",
			ArgsUsage:   "BEFORE.json AFTER.json",
			Description: "The exit code is 0 whether or not the reports differ.",
			Flags:       []cli.Flag{answerFlag},
			Action:      func(c *cli.Context) error { return runReportDiff(c, s) },
		}, convertCommand(s), reportGitHubCommand(s), reportSchemaCommand(s)},
	}
}

func runExplain(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one ID")
	if err != nil {
		return err
	}
	targets, err := output.ParseTargets(c.StringSlice("output"), report.ResultNames(report.ExplainFormats),
		append(c.StringSlice("policy"), c.String("report"))...)
	if err != nil {
		return err
	}
	if c.String("report") == "" {
		return exit.Usagef("no report given: use --report FILE with the JSON report of a run")
	}
	r, err := readReport(c.String("report"))
	if err != nil {
		return err
	}
	policies, err := policiesOf(c, r.Policy.File)
	if err != nil {
		return err
	}
	judged, err := r.Snapshot()
	if err != nil {
		return exit.Usage(fmt.Errorf("%q: %w", c.String("report"), err))
	}
	if judged.Policy != policies.Digest() && len(c.StringSlice("policy")) == 0 {
		return exit.Usagef("the policy %s has changed since the report was made: use --policy with the version of that time (%s)", r.Policy.File, r.Policy.Digest)
	}
	if judged.Policy != policies.Digest() {
		return exit.Usagef("the report was made with the policy %s (%s), but --policy gives %s: use the same policies in the same order",
			r.Policy.File, r.Policy.Digest, policies.Digest())
	}
	explanations := explain.Entries(policies, judged.Input, judged.Decision, args[0], judged.At)
	if len(explanations) == 0 {
		return exit.Usagef("%q is neither a vulnerability in the report nor the name of a rule that applies to the report%s",
			args[0], flags.DidYouMean(explainable(judged.Decision, args[0])))
	}
	return writeAnswer(s, targets, report.ExplainResult{Query: args[0], Image: r.Input.Image, EvaluatedAt: r.EvaluatedAt, Policy: r.Policy, Explanations: explanations},
		report.ExplainFormats)
}

// policiesOf returns the policies given with --policy. Without the flag, it loads the files that a
// report or audit record names, joined by " + ". The caller must compare the digest of the policies
// with the recorded one.
func policiesOf(c *cli.Context, files string) (policy.Set, error) {
	if len(c.StringSlice("policy")) > 0 || files == "" {
		return loadPolicies(c)
	}
	var set policy.Set
	for path := range strings.SplitSeq(files, " + ") {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			return nil, exit.Usagef("the report was made with the policy %s, which is not here: use --policy FILE", path)
		}
		p, err := loadPolicy(path)
		if err != nil {
			return nil, withoutContent(path, err)
		}
		set = append(set, p)
	}
	return set, nil
}

// withoutContent removes file content from the error of a policy file that a report or record
// names. A forged record could otherwise show the content of any file on this machine.
func withoutContent(path string, err error) error {
	var invalid *policy.ParseError
	if !errors.As(err, &invalid) {
		return err
	}
	return exit.Usagef("the file %q, which the report or record names, is not a valid policy (%s): --policy FILE reads a policy with all errors",
		path, invalid.Problems[0].Position)
}

// explainable returns the rule in a decision whose name is closest to id, or "". A built-in rule
// has the path of its policy key, such as "distribution.notCovered". explainable never suggests a
// vulnerability, because a similar number is an unrelated vulnerability.
func explainable(d policy.Decision, id string) string {
	var names []string
	for _, violations := range [][]policy.Violation{d.Violations, d.Warnings} {
		for _, v := range violations {
			names = append(names, v.Rule)
		}
	}
	for _, name := range names {
		if strings.HasSuffix(strings.ToLower(name), "."+strings.ToLower(id)) {
			return name
		}
	}
	return suggest.Nearest(id, names)
}

func runReportDiff(c *cli.Context, s Streams) error {
	args, err := arguments(c, 2, 2, "BEFORE.json and AFTER.json")
	if err != nil {
		return err
	}
	targets, err := output.ParseTargets(c.StringSlice("output"), report.ResultNames(report.DiffFormats), args...)
	if err != nil {
		return err
	}
	before, err := readReport(args[0])
	if err != nil {
		return err
	}
	after, err := readReport(args[1])
	if err != nil {
		return err
	}
	comparison, err := report.Diff(before, after)
	if err != nil {
		return exit.Usage(err)
	}
	return writeAnswer(s, targets, comparison,
		report.DiffFormats)
}

// readReport reads a JSON report from a file that the user named.
func readReport(path string) (report.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return report.Report{}, exit.Usage(&exit.FileError{What: "report", Path: path, Err: err})
	}
	defer f.Close()
	var start bytes.Buffer
	r, err := report.ReadJSON(io.TeeReader(f, &start))
	if err != nil {
		return report.Report{}, exit.Usage(filekind.Explain(path, start.Bytes(), filekind.Report, fmt.Errorf("%q: %w", path, err)))
	}
	return r, nil
}

// writeAnswer writes v to each target in the target's format.
func writeAnswer[T any](s Streams, targets []output.Target, v T, formats []report.ResultFormat[T]) error {
	for _, t := range targets {
		i := slices.IndexFunc(formats, func(f report.ResultFormat[T]) bool { return f.Name == t.Format })
		var out bytes.Buffer
		if err := formats[i].Write(&out, v); err != nil {
			return err
		}
		if err := t.Put(s.Out, out.Bytes()); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	}
	return nil
}
