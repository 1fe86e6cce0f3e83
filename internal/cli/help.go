package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/buildinfo"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/help"
	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/trust"
)

// showHelp prints the help of the command at path or, if path is empty, of imagegate itself.
func showHelp(app *cli.App, path []*cli.Command, details bool) error {
	return help.PageOf(app, path).Text(app.Writer, help.TextOptions{Width: observe.Width(app.Writer), Details: details, Prefix: variablePrefix})
}

func helpCommand() *cli.Command {
	return &cli.Command{
		Name:        "help",
		Usage:       "show the complete help of a command, the exit codes or the environment variables",
		ArgsUsage:   "[COMMAND|exit-codes|environment]",
		Description: "\"imagegate COMMAND --help\" prints a shorter help.",
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			switch strings.Join(args, " ") {
			case "exit-codes":
				_, err := fmt.Fprintln(c.App.Writer, help.ExitCodes)
				return err
			case "environment":
				return help.Environment(c.App.Writer, c.App, observe.Width(c.App.Writer))
			}
			path, err := commandPath(c.App, args)
			if err != nil {
				return err
			}
			return showHelp(c.App, path, true)
		},
	}
}

// commandPath returns the command that args name, with its parent commands first.
func commandPath(app *cli.App, args []string) ([]*cli.Command, error) {
	path, rest := flags.Walk(app.Commands, args)
	if len(rest) == 0 {
		return path, nil
	}
	known, parent := app.Commands, app.Name
	for _, c := range path {
		known, parent = c.Subcommands, parent+" "+c.Name
	}
	return nil, exit.Usage(flags.UnknownCommand(parent, known, app.Commands, rest[0], help.OtherCommands))
}

func versionCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "show the version of imagegate and of its components",
		Description: "Shows the version, the commit, the Go toolchain, the platform, the versions of syft, grype and\ncosign, and the schema of the vulnerability database that this build reads.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "write the version as JSON"}},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
				return err
			}
			return buildinfo.Read().Write(s.Out, vulndb.Schema(), c.Bool("json"))
		},
	}
}

func completionCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		ArgsUsage:   strings.Join(help.Shells, "|"),
		Description: "The script completes commands, flags, output formats, platforms and file names.",
		Action: func(c *cli.Context) error {
			args, err := arguments(c, 1, 1, "one shell: "+report.List(help.Shells))
			if err != nil {
				return err
			}
			script, err := help.Script(args[0])
			if err != nil {
				return exit.Usage(err)
			}
			_, err = s.Out.Write(script)
			return err
		},
	}
}

// completer returns the shell completion of app, which also completes the values of flags and
// arguments.
func completer(app *cli.App) help.Completer {
	policies := help.Values{Kind: help.Files, Extensions: []string{"yaml", "yml"}}
	reports := help.Values{Kind: help.Files, Extensions: []string{"json"}}
	file, folder := help.Values{Kind: help.Files}, help.Values{Kind: help.Folders}
	var outputs []string
	for _, name := range formats.Names() {
		outputs = append(outputs, name, name+"=")
	}
	image := help.Values{Words: []string{"oci:", "oci-archive:", "docker-archive:", "docker-daemon:"}}
	return help.Completer{App: app,
		Flags: map[string]help.Values{
			"--config": policies, "--policy": policies, "--vex": reports, "--report": reports, "--key": {Kind: help.Files, Extensions: []string{"key", "pub", "pem"}},
			"--output": {Words: outputs}, "--platform": {Words: platforms}, "--signature-format": {Words: []string{"legacy", "bundle", "both"}},
			"--log-format": {Words: []string{"text", "json"}}, "--progress": {Words: observe.Modes}, "--color": {Words: observe.Colors}, "--profile": {Words: profiles},
			"--require-predicate": {Words: trust.PredicateNames()},
			"--trusted-root":      reports, "--signing-config": reports, "--tuf-root": reports, "--identity-token": file, "--junit": file, "--to": file, "--audit-log": {Kind: help.Files, Words: []string{"syslog"}}, "--metrics-file": {Kind: help.Files, Extensions: []string{"prom"}},
			"--file": file, "--log": file,
			"--cache-dir": folder, "--archive-dir": folder, "--temp-dir": folder, "--evidence-dir": folder, "--dir": folder,
		},
		Arguments: map[string]help.Values{
			"imagegate check": image, "imagegate promote": image,
			"imagegate policy lint": policies, "imagegate policy test": policies, "imagegate policy init": policies,
			"imagegate report diff": reports, "imagegate replay": {Kind: help.Files, Extensions: []string{"json", "jsonl", "log"}}, "imagegate report convert": reports, "imagegate report github": reports, "imagegate key public": {Kind: help.Files, Extensions: []string{"key", "pem"}},
			"imagegate db import": {Kind: help.Files, Extensions: []string{"zst", "gz", "xz", "db"}}, "imagegate db build": folder,
			"imagegate completion": {Words: help.Shells}, "imagegate help": {Words: []string{"exit-codes", "environment"}},
		},
	}
}

// platforms are the platforms that shell completion suggests.
var platforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/riscv64", "linux/s390x", "windows/amd64"}

func manCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:        "man",
		Usage:       "print a manual page, or write all manual pages to a folder",
		ArgsUsage:   "[COMMAND]",
		Description: "Without COMMAND, prints the manual page of imagegate itself. \"man -l\" displays a page.",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "dir", Usage: "write the manual pages of all commands to files in `DIR`, such as imagegate-check.1"}},
		Action:      func(c *cli.Context) error { return runMan(c, s) },
	}
}

func runMan(c *cli.Context, s Streams) error {
	dir := c.String("dir")
	if dir == "" {
		path, err := commandPath(c.App, c.Args().Slice())
		if err != nil {
			return err
		}
		return help.PageOf(c.App, path).Man(s.Out, c.App.Version)
	}
	if _, err := arguments(c, 0, 0, "no COMMAND with --dir"); err != nil {
		return err
	}
	return help.Manuals(c.App, func(name string, page []byte) error {
		return disk.WriteBytes(filepath.Join(dir, name), 0o644, page)
	})
}
