package cli

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/suggest"
)

//go:embed policies/*.yaml
var profileFiles embed.FS

// profiles are the policies that "policy init" writes, the default first. Each is a file in the
// folder policies.
var profiles = []string{"starter", "strict", "audit"}

func policyInitCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "write a policy to begin with",
		ArgsUsage: "[FILE]",
		Description: "FILE is policy.yaml if not given, and \"-\" is standard output. No existing file is overwritten.\n" +
			"The comments in it say what each choice is for. The profiles:\n" +
			"  starter  deny what is critical, and what is high for two weeks with a fix\n" +
			"  strict   deny what is high at once, images that run as root, and credentials\n" +
			"  audit    warn of all that and deny nothing for it: for the first weeks",
		Flags: []cli.Flag{&cli.StringFlag{Name: "profile", Value: profiles[0],
			Usage: "write the policy of the `PROFILE`: " + strings.Join(profiles, ", ")}},
		Action: func(c *cli.Context) error { return runPolicyInit(c, s) },
	}
}

func runPolicyInit(c *cli.Context, s Streams) error {
	args, err := arguments(c, 0, 1, "at most one FILE")
	if err != nil {
		return err
	}
	data, err := profilePolicy(c.String("profile"))
	if err != nil {
		return err
	}
	file := "policy.yaml"
	if len(args) == 1 {
		file = args[0]
	}
	if file == "-" {
		_, err := s.Out.Write(data)
		return err
	}
	err = disk.WriteNew(file, 0o644, data)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usagef("%q exists: not overwritten", file)
	case err != nil:
		return fmt.Errorf("writing the policy: %w", err)
	}
	fmt.Fprintf(s.Out, "wrote %s; see what it does with \"imagegate check IMAGE --policy %[1]s\"\n", report.Sanitize(file))
	return nil
}

// profilePolicy returns the policy file of a profile.
func profilePolicy(name string) ([]byte, error) {
	if slices.Contains(profiles, name) {
		return profileFiles.ReadFile("policies/" + name + ".yaml")
	}
	suggestion := ""
	if near := suggest.Nearest(name, profiles); near != "" {
		suggestion = fmt.Sprintf(": did you mean %q?", near)
	}
	return nil, usagef("unknown profile %q, want one of %s%s", name, strings.Join(profiles, ", "), suggestion)
}
