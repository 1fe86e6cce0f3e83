package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
)

// convertFlag is --output for "report convert". Like answerFlag, it has no environment variable.
var convertFlag = &cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the report as `FORMAT[=FILE]`: " + report.List(formats.ReportNames()) + ". Repeatable (default: text)"}

func convertCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "write a JSON report in other formats",
		ArgsUsage: "REPORT.json",
		Description: "Each report is the same as if the original run had written it. The exit code is 0 whether or\n" +
			"not the image passed.",
		Flags:  []cli.Flag{convertFlag},
		Action: func(c *cli.Context) error { return runReportConvert(c, s) },
	}
}

func reportSchemaCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:        "schema",
		Usage:       "print the JSON Schema of JSON reports",
		Description: "The schema describes version " + report.Schema + " of the report, which has \"schema\": \"" + report.Schema + "\".",
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			_, err := s.Out.Write(report.JSONSchema())
			return err
		},
	}
}

func runReportConvert(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one REPORT.json")
	if err != nil {
		return err
	}
	for _, flag := range c.StringSlice("output") {
		name, _, _ := strings.Cut(flag, "=")
		if f, ok := formats.ByName(name); ok && f.Document != nil {
			return exit.Usagef("--output %s: a report has no SBOM: check the image with --output %s=FILE", name, name)
		}
	}
	targets, err := output.ParseTargets(c.StringSlice("output"), formats.ReportNames(), args[0])
	if err != nil {
		return err
	}
	for _, t := range targets {
		if err := t.CheckDocument("convert"); err != nil {
			return err
		}
	}
	r, err := readReport(args[0])
	if err != nil {
		return err
	}
	failed := make([]error, len(targets))
	for i, t := range targets {
		failed[i] = convert(s, t, r)
	}
	return errors.Join(failed...)
}

// convert writes r to one target. If the format cannot express r, convert removes the file of an
// earlier run and returns a usage error.
func convert(s Streams, t output.Target, r report.Report) error {
	format, _ := formats.ByName(t.Format)
	if err := format.Check(r); err != nil {
		return exit.Usage(errors.Join(fmt.Errorf("the %s report is not written: %w", t.Format, err), t.Remove()))
	}
	var out bytes.Buffer
	if err := format.Write(&out, r, formats.Options{}); err != nil {
		return err
	}
	if err := t.Put(s.Out, out.Bytes()); err != nil {
		return fmt.Errorf("writing the %s report: %w", t.Format, err)
	}
	return nil
}
