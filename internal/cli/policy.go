package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/report"
)

func policyCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "policy",
		Usage: "work with policy files",
		Subcommands: []*cli.Command{{
			Name:        "lint",
			Usage:       "report every error in policy files, and what has no effect",
			ArgsUsage:   "FILE...",
			Description: "Errors end with code 3. Warnings, such as an exception that is about to expire, do not.",
			Action:      func(c *cli.Context) error { return runPolicyLint(c, s) },
		}},
	}
}

func runPolicyLint(c *cli.Context, s Streams) error {
	files, err := arguments(c, 1, -1, "at least one FILE")
	if err != nil {
		return err
	}
	var failed []error
	for _, file := range files {
		p, err := loadPolicy(file)
		if err == nil {
			err = p.Validate(time.Now())
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for _, w := range p.Lint(time.Now()) {
			fmt.Fprintf(s.Out, "%s: warning: %s\n", report.Sanitize(w.Position.String()), report.Sanitize(w.Message))
		}
		fmt.Fprintf(s.Out, "%s: valid, %d rules, %d exceptions\n", report.Sanitize(file), len(p.Rules), len(p.Exceptions))
	}
	return errors.Join(failed...)
}
