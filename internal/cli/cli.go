// Package cli is the command line: flags, environment, terminal and exit
// codes.
//
// [Run] is the way in. Each command has a file; each reads its flags, builds
// what packages gate and promote need, calls them, and hands one report to the
// writers of package report. Nothing is decided here: the exit code is a
// function of the error that a command returns, and of nothing else.
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
	"github.com/imagegate/imagegate/internal/supervise"
)

// Streams are the three of a process.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer

	child *supervise.Child // nil in a process without a parent
}

// Run executes one command line, program name first, and returns the exit
// code of the process. Reports go to Out; progress, hints and errors to Err.
func Run(ctx context.Context, args []string, s Streams) (code int) {
	// Go ends a program that panics with 2, which would say that an image was denied.
	defer func() {
		if p := recover(); p != nil {
			code = finish(ctx, s.Err, fault(p))
		}
	}()
	if err := unsetEmpty(); err != nil {
		return finish(ctx, s.Err, err)
	}
	app := newApp(s)
	if err := refuseSecrets(app, args); err != nil {
		return finish(ctx, s.Err, err)
	}
	err := app.RunContext(ctx, intersperse(app, args))
	return finish(ctx, s.Err, err)
}

// variablePrefix is how the names of all variables of this program begin.
const variablePrefix = "IMAGEGATE_"

// unsetEmpty unsets the variables of this program that are empty or blank. CI systems set a
// variable to nothing for an input that is not given; the flag library would take that for a value.
func unsetEmpty() error {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, variablePrefix) && strings.TrimSpace(value) == "" {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func newApp(s Streams) *cli.App {
	app := &cli.App{
		Name:      "imagegate",
		Usage:     "let container images through only if they pass a policy",
		UsageText: "imagegate COMMAND [flags] [arguments]",
		Version:   tool().Version,
		Description: "Takes an image from a staging registry, makes its SBOM, matches it against a\n" +
			"vulnerability database, judges the evidence by a policy and, only on a pass, signs it,\n" +
			"attests the evidence and copies it to the approved registry, with the tag last.\n\n" + exitCodesHelp,
		Reader: s.In, Writer: s.Out, ErrWriter: s.Err,
		HideHelpCommand: true,
		// Exit codes come from one table, not from whatever error happens to
		// have an ExitCode method.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsageError,
		Action:         noSuchCommand,
		Commands:       []*cli.Command{promoteCommand(s), checkCommand(s), verifyCommand(s), explainCommand(s), reportCommand(s), policyCommand(s), dbCommand(s), cacheCommand(s), keyCommand(s)},
	}
	prepare(app.Commands)
	return app
}

// prepare gives every command what all have in common.
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

func onUsageError(_ *cli.Context, err error, _ bool) error { return usageError{err} }

// noSuchCommand is what a group of commands does by itself.
func noSuchCommand(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		return usagef("unknown command %q: see %q", name, c.App.Name+" --help")
	}
	if err := cli.ShowSubcommandHelp(c); err != nil {
		return err
	}
	return usageError{errors.New("a command is missing")}
}

// tool is this build, as it is named in statements and reports. The versions
// are those that were linked, read from the binary itself.
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

// intersperse moves flags before arguments, so that both may be written in any
// order: the flag parser stops at the first argument.
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

// arguments returns the positional arguments, between min and max of them; max
// below zero means any number.
func arguments(c *cli.Context, least, most int, names string) ([]string, error) {
	args := c.Args().Slice()
	if len(args) < least || most >= 0 && len(args) > most {
		return nil, usagef("%s: want %s, got %d arguments", c.Command.FullName(), names, len(args))
	}
	return args, nil
}

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
