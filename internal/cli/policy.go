package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/lint"
)

func policyCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "policy",
		Usage: "work with policy files",
		Subcommands: []*cli.Command{
			policyInitCommand(s),
			{
				Name:      "lint",
				Usage:     "report errors in policy files, and parts that have no effect",
				ArgsUsage: "FILE...",
				Description: "The exit code is 3 if there are errors, and 0 if there are only warnings. Warnings are about\n" +
					"rules that never decide, rules that contradict each other, and exceptions that expire soon.",
				Action: func(c *cli.Context) error { return runPolicyLint(c, s) },
			},
			policyTestCommand(s),
			policyPrintCommand(s),
			{
				Name:        "schema",
				Usage:       "print the JSON Schema of policy files, for editors",
				Description: "To use the schema in a YAML editor, write this comment as the first line of the policy:\n  # yaml-language-server: $schema=policy.schema.json",
				Action:      func(c *cli.Context) error { return runPolicySchema(c, s) },
			},
		},
	}
}

func runPolicyLint(c *cli.Context, s Streams) error {
	files, err := arguments(c, 1, -1, "at least one FILE")
	if err != nil {
		return err
	}
	var failed []error
	var valid policy.Set
	now := time.Now()
	for _, file := range files {
		p, err := loadPolicy(file)
		if err == nil {
			err = p.Validate(now)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		valid = append(valid, p)
	}
	for _, w := range lint.Set(valid, now) {
		fmt.Fprintf(s.Out, "%s: warning: %s\n", report.Sanitize(w.Position.String()), report.Sanitize(w.Message))
	}
	for _, p := range valid {
		fmt.Fprintf(s.Out, "%s: valid, %d rules, %d exceptions\n", report.Sanitize(p.File), len(p.Rules), len(p.Exceptions))
	}
	return errors.Join(failed...)
}

func runPolicySchema(c *cli.Context, s Streams) error {
	if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	_, err := s.Out.Write(policy.Schema())
	return err
}
