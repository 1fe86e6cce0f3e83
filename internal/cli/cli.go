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
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/suggest"
	"github.com/imagegate/imagegate/internal/supervise"
)

// Streams are the standard streams of a process.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer

	child *supervise.Child // nil in a process without a parent
}

// Run executes one command line, with the program name first, and returns the exit code of the
// process. Reports go to Out. Progress, hints and errors go to Err.
func Run(ctx context.Context, args []string, s Streams) (code int) {
	// Go exits with code 2 after a panic, which is the code for a denied image.
	defer func() {
		if p := recover(); p != nil {
			code = finish(ctx, s.Err, fault(p))
		}
	}()
	if err := tidyVariables(); err != nil {
		return finish(ctx, s.Err, err)
	}
	app := newApp(s)
	if err := refuseSecrets(app, args); err != nil {
		return finish(ctx, s.Err, err)
	}
	err := app.RunContext(ctx, intersperse(app, args))
	return finish(ctx, s.Err, err)
}

// variablePrefix is the prefix of all environment variables of imagegate.
const variablePrefix = "IMAGEGATE_"

// tidyVariables unsets variables of imagegate that are blank. CI systems set a blank variable for
// an input that is not given, and the flag library would take it for a value. tidyVariables also
// removes blank lines around a list with one value per line, because YAML block texts end with a
// line break.
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
			err = os.Setenv(name, strings.ReplaceAll(trimmed, "\r\n", "\n"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newApp(s Streams) *cli.App {
	app := &cli.App{
		Name:      "imagegate",
		Usage:     "promote container images only if they pass a policy",
		UsageText: "imagegate COMMAND [flags] [arguments]",
		Version:   tool().Version,
		Description: "Takes an image from a staging registry, generates its SBOM, matches it against a\n" +
			"vulnerability database and evaluates a policy. Only on a pass it signs the image, attests\n" +
			"the evidence and copies the image to the approved registry, and writes the tag last.\n\n" + exitCodesHelp,
		Reader: s.In, Writer: s.Out, ErrWriter: s.Err,
		HideHelpCommand: true,
		// A variable for a repeatable flag has one value per line. A comma does not separate
		// values, because a file name can contain one.
		SliceFlagSeparator: "\n",
		// The function classify alone determines the exit code, not the ExitCode method of an
		// error.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsageError,
		Action:         noSuchCommand,
		Commands:       []*cli.Command{promoteCommand(s), checkCommand(s), verifyCommand(s), explainCommand(s), reportCommand(s), policyCommand(s), dbCommand(s), cacheCommand(s), keyCommand(s)},
	}
	prepare(app.Commands)
	return app
}

// prepare sets the fields that are the same for all commands.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		c.Description = strings.TrimSpace(c.Description + "\n\n" + exitCodesHelp)
		if c.Action == nil {
			c.Action = noSuchCommand
		}
		prepare(c.Subcommands)
	}
}

// onUsageError returns a usage error. For an unknown flag, it suggests a similar flag.
func onUsageError(c *cli.Context, err error, _ bool) error {
	_, unknown, ok := strings.Cut(err.Error(), "flag provided but not defined: -")
	if !ok {
		return usageError{err}
	}
	flags := c.App.Flags
	if c.Command != nil {
		flags = c.Command.Flags
	}
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	unknown = strings.TrimLeft(unknown, "-")
	return usagef("unknown flag --%s%s", unknown, didYouMean("--", suggest.Nearest(unknown, names)))
}

// didYouMean returns the end of an error about an unknown name: a suggestion, or "" if near is
// empty.
func didYouMean(prefix, near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s%s?", prefix, near)
}

// noSuchCommand is the action of a command group without a subcommand. It prints the group's help
// and returns a usage error.
func noSuchCommand(c *cli.Context) error {
	name, known := c.Args().First(), c.App.Commands
	if c.Command != nil && len(c.Command.Subcommands) > 0 {
		known = c.Command.Subcommands
	}
	switch name {
	case "":
	case "help":
		return cli.ShowSubcommandHelp(c)
	case "version":
		cli.ShowVersion(c)
		return nil
	default:
		var names []string
		for _, k := range known {
			names = append(names, k.Names()...)
		}
		if near := suggest.Nearest(name, names); near != "" {
			return usagef("unknown command %q%s", name, didYouMean("", near))
		}
		return usagef("unknown command %q: see %q", name, c.App.Name+" --help")
	}
	if err := cli.ShowSubcommandHelp(c); err != nil {
		return err
	}
	return usageError{errors.New("no command given")}
}

// tool describes this build in statements and reports. It reads the versions of the linked
// components from the binary itself.
func tool() gate.Tool {
	t := gate.Tool{Name: "imagegate", Version: "devel", URI: "https://github.com/imagegate/imagegate", Components: map[string]string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return t
	}
	if info.Main.Path != "" {
		t.URI = "https://" + info.Main.Path
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		t.Version = v
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/anchore/syft":
			t.Components["syft"] = dep.Version
		case "github.com/anchore/grype":
			t.Components["grype"] = dep.Version
		case "github.com/sigstore/cosign/v2":
			t.Components["cosign"] = dep.Version
		}
	}
	t.Build = buildID()
	return t
}

// intersperse moves flags before arguments, because the flag parser stops at the first argument. So
// users can give flags and arguments in any order.
func intersperse(app *cli.App, args []string) []string {
	commands, flags := app.Commands, app.Flags
	at := 1
	for ; at < len(args); at++ {
		c := find(commands, args[at])
		if c == nil {
			break
		}
		commands, flags = c.Subcommands, c.Flags
	}
	if at > len(args) {
		return args
	}
	takesValue := map[string]bool{}
	for _, f := range flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			takesValue[name] = !isBool
		}
	}
	var first, rest []string
	for i := at; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case len(a) > 1 && a[0] == '-':
			first = append(first, a)
			name := strings.TrimLeft(a, "-")
			if takesValue[name] && i+1 < len(args) {
				i++
				first = append(first, args[i])
			}
		default:
			rest = append(rest, a)
		}
	}
	out := append(append([]string{}, args[:at]...), first...)
	if len(rest) > 0 && at > 1 {
		out = append(out, "--")
	}
	return append(out, rest...)
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// arguments returns the positional arguments. Fewer than least or more than most arguments are a
// usage error; a negative most means no limit.
func arguments(c *cli.Context, least, most int, names string) ([]string, error) {
	args := c.Args().Slice()
	if len(args) < least || most >= 0 && len(args) > most {
		return nil, usagef("%s: want %s, got %d arguments", c.Command.FullName(), names, len(args))
	}
	for i, a := range args {
		if strings.TrimSpace(a) == "" { // the argument may come from a shell variable that is not set
			return nil, usagef("%s: argument %d is empty", c.Command.FullName(), i+1)
		}
	}
	return args, nil
}

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
