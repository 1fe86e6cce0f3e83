package cli

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/suggest"
)

//go:embed policies/*.yaml
var profileFiles embed.FS

// profiles are the names of the policies that "policy init" can write. The first one is the
// default. Each is a file in the embedded folder policies.
var profiles = []string{"starter", "strict", "audit"}

func policyInitCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "write a first policy",
		ArgsUsage: "[FILE]",
		Description: "Writes a policy with comments that explain each choice. Default FILE: policy.yaml. The FILE \"-\"\n" +
			"means standard output. An existing file is not overwritten. These profiles exist:\n" +
			"  starter  denies critical findings, and high findings two weeks after their fix\n" +
			"  strict   denies critical and high findings, secrets, and root as the user\n" +
			"  audit    only warns about what strict denies; for the first weeks",
		Flags: []cli.Flag{&cli.StringFlag{Name: "profile", Value: profiles[0], DefaultText: profiles[0],
			Usage: "write the policy of the profile `PROFILE`: " + strings.Join(profiles, ", ")}},
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
		return exit.Usagef("%q already exists and is not overwritten", file)
	case err != nil:
		return fmt.Errorf("writing the policy: %w", err)
	}
	fmt.Fprintf(s.Out, "wrote %s; try it with \"imagegate check IMAGE --policy %[1]s\"\n", report.Sanitize(file))
	return nil
}

// profilePolicy returns the policy file of a profile.
func profilePolicy(name string) ([]byte, error) {
	if slices.Contains(profiles, name) {
		return profileFiles.ReadFile("policies/" + name + ".yaml")
	}
	return nil, exit.Usagef("unknown profile %q: expected one of %s%s", name, strings.Join(profiles, ", "), flags.DidYouMean(suggest.Nearest(name, profiles)))
}
