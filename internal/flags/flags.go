// Package flags adds features to urfave/cli: flags may follow arguments, and an error about a
// mistyped command, flag or variable suggests the correct name.
//
// [Arrange] prepares a command line for the parser. [Unknown], [UnknownCommand] and
// [UnknownVariables] explain names that do not exist. The package contains no names of imagegate's
// commands: it reads the command tree.
package flags

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// Find returns the command with this name or alias, or nil.
func Find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// Walk follows the command names at the start of args. args does not include the program name. Walk
// returns the commands, outermost first, and the rest of args.
func Walk(commands []*cli.Command, args []string) (path []*cli.Command, rest []string) {
	for len(args) > 0 {
		c := Find(commands, args[0])
		if c == nil {
			break
		}
		path, args, commands = append(path, c), args[1:], c.Subcommands
	}
	return path, args
}

// Names returns the names of all flags, with dashes.
func Names(flags []cli.Flag) []string {
	var out []string
	for _, f := range flags {
		for _, name := range f.Names() {
			out = append(out, Dashed(name))
		}
	}
	return out
}

// Dashed returns a flag name as users write it: "-q" or "--quiet".
func Dashed(name string) string {
	if utf8.RuneCountInString(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// IsBool reports whether a flag takes no value.
func IsBool(f cli.Flag) bool {
	_, ok := f.(*cli.BoolFlag)
	return ok
}

// lookup returns the flag that an argument names, and whether the argument also contains the value
// after "=".
func lookup(flags []cli.Flag, arg string) (f cli.Flag, inline bool) {
	if len(arg) < 2 || arg[0] != '-' || arg == "--" {
		return nil, false
	}
	name, _, inline := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f, inline
		}
	}
	return nil, inline
}

// Arrange moves the flags of a command line before its arguments, because the parser stops at the
// first argument. args begins with the program's name. An error describes a mistake that the parser
// would misread: a missing value, a value after a flag that takes none, a dash that is not ASCII,
// or a flag before the command.
func Arrange(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	path, rest := Walk(app.Commands, args[1:])
	if len(path) == 0 {
		return args, misplaced(app, rest)
	}
	known := path[len(path)-1].Flags
	var flags, operands []string
	for i := 0; i < len(rest); i++ {
		a := rest[i]
		if a == "--" {
			operands = append(operands, rest[i+1:]...)
			break
		}
		if err := checkDash(a); err != nil {
			return nil, err
		}
		if len(a) < 2 || a[0] != '-' {
			operands = append(operands, a)
			continue
		}
		flags = append(flags, a)
		f, inline := lookup(known, a)
		if err := checkValue(known, f, a, inline, rest[i+1:]); err != nil {
			return nil, err
		}
		if f != nil && !inline && !IsBool(f) {
			i++
			flags = append(flags, rest[i])
		}
	}
	out := append(slices.Clone(args[:1+len(path)]), flags...)
	if len(operands) > 0 {
		out = append(append(out, "--"), operands...)
	}
	return out, nil
}

// checkValue returns an error if the flag f needs a value and has none, or if it takes none and
// seems to have one. next has the arguments after the flag.
func checkValue(known []cli.Flag, f cli.Flag, arg string, inline bool, next []string) error {
	switch {
	case f == nil:
		return nil
	case IsBool(f) && inline:
		name, value, _ := strings.Cut(arg, "=")
		if _, err := strconv.ParseBool(value); err != nil {
			return fmt.Errorf("%s=%s: the flag takes no value: use %s, or %s=false", name, value, name, name)
		}
	case IsBool(f):
		if len(next) > 0 && (next[0] == "true" || next[0] == "false") {
			return fmt.Errorf("%s %s: the flag takes no value: use %s, or %s=false", arg, next[0], arg, arg)
		}
	case !inline && len(next) == 0:
		return fmt.Errorf("%s needs a value", arg)
	case !inline:
		if other, _ := lookup(known, next[0]); other != nil {
			return fmt.Errorf("%s needs a value, and the flag %s follows it", arg, next[0])
		}
	}
	return nil
}

// dashes are the Unicode dashes that editors and web pages write instead of "-".
const dashes = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"

// checkDash returns an error for an argument that begins with a Unicode dash instead of "-", as in
// a command copied from a web page.
func checkDash(arg string) error {
	name := strings.TrimLeft(arg, dashes+"-")
	if arg == name || !strings.ContainsAny(arg[:len(arg)-len(name)], dashes) {
		return nil
	}
	name, _, _ = strings.Cut(name, "=")
	return fmt.Errorf("%q begins with a dash that is not \"-\": did you mean %s?", arg, Dashed(name))
}

// misplaced returns an error if args begins with a flag that belongs after the command name.
func misplaced(app *cli.App, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if own, _ := lookup(app.Flags, args[0]); own != nil || len(args[0]) < 2 || args[0][0] != '-' || isHelp(args[0]) {
		return nil
	}
	for _, a := range args[1:] {
		c := Find(app.Commands, a)
		if c == nil {
			continue
		}
		flag, _, _ := strings.Cut(args[0], "=")
		return fmt.Errorf("the flag %s must follow the command: use %s %s ... %s", flag, app.Name, c.Name, flag)
	}
	return nil
}

// isHelp reports whether an argument is a help flag, which every command has.
func isHelp(arg string) bool {
	return slices.Contains([]string{"-h", "--help", "-v", "--version", "-help", "-version"}, arg)
}
