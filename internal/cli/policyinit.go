package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/report"
)

//go:embed policyinit.yaml
var firstPolicy []byte

func policyInitCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "write a policy to begin with",
		ArgsUsage: "[FILE]",
		Description: "FILE is policy.yaml if not given, and \"-\" is standard output. No existing file is overwritten.\n" +
			"The comments in it say what each choice is for.",
		Action: func(c *cli.Context) error { return runPolicyInit(c, s) },
	}
}

func runPolicyInit(c *cli.Context, s Streams) error {
	args, err := arguments(c, 0, 1, "at most one FILE")
	if err != nil {
		return err
	}
	file := "policy.yaml"
	if len(args) == 1 {
		file = args[0]
	}
	if file == "-" {
		_, err := s.Out.Write(firstPolicy)
		return err
	}
	err = disk.WriteNew(file, 0o644, firstPolicy)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usagef("%q exists: not overwritten", file)
	case err != nil:
		return fmt.Errorf("writing the policy: %w", err)
	}
	fmt.Fprintf(s.Out, "wrote %s; see what it does with \"imagegate check IMAGE --policy %[1]s\"\n", report.Sanitize(file))
	return nil
}
