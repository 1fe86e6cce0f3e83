// Package cli is the command line: flags, environment, terminal and exit codes.
//
// [Run] is the entry point. Each command has a file. A command reads its flags, sets up packages
// gate and promote, calls them, and passes one report to the writers in package report. This
// package makes no decisions about images. The exit code depends only on the error that a command
// returns.
package cli

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/buildinfo"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/cli/settings"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/help"
	"github.com/imagegate/imagegate/internal/report"
)

// Streams are the standard streams of a process.
type Streams = output.Streams

// Run executes one command line, with the program name first, and returns the exit code of the
// process. Reports go to Out. Progress, hints and errors go to Err.
func Run(ctx context.Context, args []string, s Streams) (code int) {
	// Go exits with code 2 after a panic, which is the code for a denied image.
	defer func() {
		if p := recover(); p != nil {
			code = exit.Finish(ctx, s.Err, exit.Panic(p))
		}
	}()
	if err := tidyVariables(); err != nil {
		return exit.Finish(ctx, s.Err, err)
	}
	app := newApp(s)
	if len(args) > 1 && args[1] == help.CompleteCommand {
		return exit.Finish(ctx, s.Err, completer(app).Complete(s.Out, args[2:]))
	}
	if path, asked := help.Asked(app, args); asked {
		return exit.Finish(ctx, s.Err, showHelp(app, path, false))
	}
	if err := refuseSecrets(app, args); err != nil {
		return exit.Finish(ctx, s.Err, err)
	}
	warnOfVariables(app, s.Err)
	arranged, err := flags.Arrange(app, args)
	if err != nil {
		return exit.Finish(ctx, s.Err, exit.Usage(err))
	}
	return exit.Finish(ctx, s.Err, loginsOf(app).Explain(app.RunContext(ctx, arranged)))
}

// variablePrefix is the prefix of all environment variables of imagegate.
const variablePrefix = "IMAGEGATE_"

// tidyVariables unsets variables of imagegate that are blank. CI systems set a blank variable for
// an input that is not given, and the flag library would take it for a value. tidyVariables also
// removes blank lines and indentation from a list with one value per line, because a text in YAML
// may have both.
func tidyVariables() error {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, variablePrefix) {
			continue
		}
		var err error
		switch trimmed := strings.TrimSpace(value); {
		case trimmed == "":
			err = os.Unsetenv(name)
		case strings.ContainsAny(value, "\r\n"):
			err = os.Setenv(name, strings.Join(linesOf(trimmed), "\n"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linesOf returns the lines of a text without blank lines, and without the spaces around each line.
func linesOf(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func newApp(s Streams) *cli.App {
	app := &cli.App{
		Name:    "imagegate",
		Usage:   "promote container images only if they pass a policy",
		Version: tool().Version,
		Description: "Takes an image from a staging registry, generates its SBOM, matches it against a\n" +
			"vulnerability database and evaluates a policy. Only on a pass it signs the image, attests\n" +
			"the evidence and copies the image to the approved registry, and writes the tag last.",
		Reader: s.In, Writer: s.Out, ErrWriter: s.Err,
		Metadata: map[string]any{loginsKey: &exit.Logins{}},
		HideHelp: true, // help.Asked finds help flags, so the library needs none
		// A file name may have a comma. Variables have one value per line.
		SliceFlagSeparator: "\n",
		// classify alone determines the exit code. This handler keeps the flag library from exiting
		// with the result of an error's ExitCode method.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsageError,
		Action:         noSuchCommand,
		Commands: []*cli.Command{promoteCommand(s), checkCommand(s), verifyCommand(s), explainCommand(s), replayCommand(s), reportCommand(s), policyCommand(s), dbCommand(s), cacheCommand(s), keyCommand(s), doctorCommand(s),
			completionCommand(s), manCommand(s), helpCommand(), versionCommand(s), verifyReleaseCommand(s)},
	}
	prepare(app.Commands)
	settings.Add(app, s.Err, refuseSecret)
	return app
}

// prepare sets the fields that all commands have in common.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelp = true
		if c.Action == nil {
			c.Action = noSuchCommand
		} else if !slices.Contains(c.Flags, cli.Flag(quietFlag)) {
			c.Flags = append(c.Flags, quietFlag)
		}
		prepare(c.Subcommands)
	}
}

// onUsageError returns an error of the flag parser as a usage error. For an unknown flag, the error
// suggests a similar flag.
func onUsageError(c *cli.Context, err error, _ bool) error {
	_, unknown, ok := strings.Cut(err.Error(), "flag provided but not defined: -")
	if !ok {
		return exit.Usage(err)
	}
	known := c.App.Flags
	if c.Command != nil {
		known = c.Command.Flags
	}
	return exit.Usage(flags.Unknown(known, unknown, help.OtherFlags))
}

// noSuchCommand is the action of a command group without a subcommand. It prints the group's help
// and returns a usage error.
func noSuchCommand(c *cli.Context) error {
	app := c.App
	var path []*cli.Command
	known, parent := app.Commands, app.Name
	if slices.Contains(app.Commands, c.Command) {
		path, known, parent = []*cli.Command{c.Command}, c.Command.Subcommands, c.Command.HelpName
	}
	switch name := c.Args().First(); name {
	case "":
		if err := showHelp(app, path, false); err != nil {
			return err
		}
		return exit.Usage(errors.New("no command given"))
	case "help":
		return showHelp(app, path, true)
	default:
		return exit.Usage(flags.UnknownCommand(parent, known, app.Commands, name, help.OtherCommands))
	}
}

// tool describes this build in statements and reports.
func tool() gate.Tool {
	info := buildinfo.Read()
	path, _ := os.Executable() // after an error, path is "", which gives a unique ID
	return gate.Tool{Name: "imagegate", Version: info.Version, URI: info.URI, Components: info.Components, Build: buildinfo.ID(path, time.Now())}
}

// reportTool describes this build in reports.
func reportTool() report.Tool {
	t := tool()
	return report.Tool{Name: t.Name, Version: t.Version, Components: t.Components}
}

func userAgent() string { return tool().Name + "/" + tool().Version }

// arguments returns the positional arguments. Fewer than least or more than most arguments are a
// usage error; a negative most means no limit.
func arguments(c *cli.Context, least, most int, names string) ([]string, error) {
	args := c.Args().Slice()
	if len(args) < least || most >= 0 && len(args) > most {
		return nil, exit.Usage(&flags.CountError{Command: c.Command, Want: names, Args: args})
	}
	for i, a := range args {
		if strings.TrimSpace(a) == "" { // probably a shell variable that is not set
			return nil, exit.Usagef("%s: argument %d is empty", c.Command.FullName(), i+1)
		}
	}
	return args, nil
}
