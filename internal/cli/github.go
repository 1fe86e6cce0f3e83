package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/github"
	"github.com/imagegate/imagegate/internal/report"
)

func reportGitHubCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "github",
		Usage:     "write the outputs, the summary and the annotations of a step of GitHub Actions",
		ArgsUsage: "REPORT.json",
		Description: "For the end of a step that ran imagegate. Adds the outputs to the file GITHUB_OUTPUT and the\n" +
			"summary to the file GITHUB_STEP_SUMMARY, and prints the annotations. If REPORT.json does not\n" +
			"exist, the run failed, and the reason comes from --log. The exit code is 0, unless the report\n" +
			"does not agree with --code.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "code", Value: -1, DefaultText: "none", Usage: "use `CODE` as the exit code of the run"},
			&cli.StringFlag{Name: "command", Usage: "name the command `NAME`, if the report is missing"},
			&cli.StringFlag{Name: "image", Usage: "name the image `NAME`, if the report is missing"},
			&cli.StringFlag{Name: "log", Usage: "read the reason of a failure from `FILE`, the standard error of the run, if the report is missing"},
			&cli.StringSliceFlag{Name: "file", Usage: "add `OUTPUT=PATH` to the outputs, with an empty value if the file PATH does not exist. Repeatable"}},
		Action: func(c *cli.Context) error { return runReportGitHub(c, s) },
	}
}

func runReportGitHub(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one REPORT.json")
	if err != nil {
		return err
	}
	step := github.Step{ExitCode: c.Int("code"), Workspace: os.Getenv("GITHUB_WORKSPACE")}
	if step.ExitCode < 0 {
		return exit.Usagef("no exit code given: use --code CODE")
	}
	if step.Dir, err = os.Getwd(); err != nil {
		return err
	}
	if step.Report, err = reportOrFailure(c, args[0]); err != nil {
		return err
	}
	for _, flag := range c.StringSlice("file") {
		name, path, _ := strings.Cut(flag, "=")
		if _, err := os.Stat(path); err != nil {
			path = ""
		}
		step.Files = append(step.Files, github.Output{Name: name, Value: path})
	}
	// The outputs come last: without them, the decision of the step is an error.
	if err := appendSummary(step); err != nil {
		return err
	}
	if err := appendOutputs(step); err != nil {
		return err
	}
	if _, err := io.WriteString(s.Out, step.Annotations()); err != nil {
		return err
	}
	if !step.Agrees() {
		return fmt.Errorf("the report %q does not confirm the exit code %d", args[0], step.ExitCode)
	}
	return nil
}

// reportOrFailure reads a report. If the file does not exist, reportOrFailure returns the report of a
// failed run with the reason in the log.
func reportOrFailure(c *cli.Context, path string) (report.Report, error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return readReport(path)
	}
	var log []byte
	if file := c.String("log"); file != "" {
		var err error
		if log, err = readBounded("log", file, report.MaxJSON); err != nil {
			return report.Report{}, err
		}
	}
	return github.Failed(c.String("command"), c.String("image"), c.Int("code"), log), nil
}

func appendOutputs(step github.Step) error {
	file := os.Getenv("GITHUB_OUTPUT")
	if file == "" {
		return exit.Usagef("GITHUB_OUTPUT is not set: the command runs in a step of GitHub Actions")
	}
	text, err := github.FormatOutputs(step.Outputs(), "imagegate-"+rand.Text())
	if err != nil {
		return err
	}
	return appendFile(file, []byte(text))
}

// appendSummary adds the summary, if the runner shows summaries. The summary leaves room for the text
// that the step already wrote.
func appendSummary(step github.Step) error {
	file := os.Getenv("GITHUB_STEP_SUMMARY")
	if file == "" {
		return nil
	}
	limit := github.MaxSummary
	if info, err := os.Stat(file); err == nil {
		limit -= int(min(info.Size(), github.MaxSummary))
	}
	text, err := step.Summary(limit)
	if err != nil {
		return fmt.Errorf("writing the job summary: %w", err)
	}
	return appendFile(file, text)
}

func appendFile(path string, data []byte) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
