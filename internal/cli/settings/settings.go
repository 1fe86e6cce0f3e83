// Package settings gives flags the values of a configuration file, if neither the command line nor a
// variable sets them.
//
// [Add] adds the flags --config and --no-config to the commands. Package config reads the file.
package settings

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/config"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/report"
)

const (
	namedName, namedVariable = "config", "IMAGEGATE_CONFIG"
	noneName, noneVariable   = "no-config", "IMAGEGATE_NO_CONFIG"
)

// ownFlags returns new objects of the flags that select the configuration file. A flag object keeps
// the value of its variable, so they cannot be shared between programs.
func ownFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: namedName, EnvVars: []string{namedVariable},
			Usage: "read the values of flags from the configuration `FILE` (default: " + config.Name + " in this folder or a parent folder; a file found this way can set only a few keys)"},
		&cli.BoolFlag{Name: noneName, EnvVars: []string{noneVariable}, Usage: "read no configuration file"},
	}
}

// Check returns an error for a value that a flag must not have, such as a key instead of a file
// name. where and usage describe the flag.
type Check func(where, usage, value string) error

// Add makes each command of app read the configuration file, if the file can set one of the
// command's flags other than --quiet, which all commands have. Messages go to w.
func Add(app *cli.App, w io.Writer, check Check) {
	addTo(app.Commands, func(c *cli.Context) error { return apply(c, Keys(app.Commands), w, check) })
}

func addTo(commands []*cli.Command, before cli.BeforeFunc) {
	for _, c := range commands {
		if slices.ContainsFunc(keysOf(c.Flags), func(k config.Key) bool { return k.Variable != "" && k.Name != "quiet" }) {
			c.Flags = append(slices.Clip(c.Flags), ownFlags()...)
			c.Before = before
		}
		addTo(c.Subcommands, before)
	}
}

// apply sets the flags of the command from the configuration file, unless the command line or a
// variable sets them.
func apply(c *cli.Context, keys []config.Key, w io.Writer, check Check) error {
	file, err := load(c, keys, w)
	if err != nil || file == nil {
		return err
	}
	quiet := isQuiet(c)
	for _, v := range chosen(c, file.Values) {
		f := flagOf(c.Command.Flags, v.Key.Name)
		for _, text := range texts(v, file.Found) {
			if err := check(config.At(v.Position), usageOf(f), text); err != nil {
				return err
			}
			if err := c.Set(f.Names()[0], text); err != nil {
				return exit.Usage(fmt.Errorf("%s: %q: %w", config.At(v.Position), v.Key.Name, err))
			}
		}
	}
	if !quiet && (file.Found || !isQuiet(c)) { // a found file cannot hide that it was read
		announce(c, w, file)
	}
	return nil
}

// texts returns the values to set for one key of the file. If a found file sends every report to a
// file, texts adds the text report on standard output: a change under review must not hide its
// result.
func texts(v config.Value, found bool) []string {
	toFile := func(s string) bool { return strings.Contains(s, "=") }
	if found && v.Key.Form == config.Output && !slices.ContainsFunc(v.Texts, func(s string) bool { return !toFile(s) }) {
		return append([]string{"text"}, v.Texts...)
	}
	return v.Texts
}

// load reads the configuration file. It returns nil if there is none.
func load(c *cli.Context, keys []config.Key, w io.Writer) (*config.File, error) {
	named, err := choice(c)
	if err != nil || named == "" && c.Bool(noneName) {
		return nil, err
	}
	o := config.Options{Named: named, Keys: keys, Warn: func(s string) {
		fmt.Fprintln(w, "imagegate: warning: "+report.Sanitize(exit.Redact(s)))
	}}
	if o.Dir, err = os.Getwd(); err != nil && named == "" {
		return nil, nil //nolint:nilerr // the working folder was removed
	}
	o.Home, _ = os.UserHomeDir() // without a home folder, the search only has its other limits
	file, err := config.Load(o)
	if err != nil {
		return nil, exit.Usage(err)
	}
	return file, nil
}

// choice returns the path given with --config or its variable, or "" if the user named no file. A
// flag takes precedence over a variable, also between --config and --no-config.
func choice(c *cli.Context) (string, error) {
	named := c.String(namedName)
	if !c.IsSet(namedName) {
		return "", nil
	}
	if named == "" {
		return "", exit.Usage(errors.New("--config is empty: use --config FILE, or --no-config"))
	}
	if !c.Bool(noneName) {
		return named, nil
	}
	byVariable, _ := strconv.ParseBool(os.Getenv(noneVariable))
	switch namedByVariable := named == os.Getenv(namedVariable); {
	case namedByVariable == byVariable:
		return "", exit.Usage(errors.New("--config and --no-config cannot be used together"))
	case namedByVariable:
		return "", nil
	}
	return named, nil
}

// chosen returns the values whose flag, and its alternatives, are set neither on the command line
// nor by a variable.
func chosen(c *cli.Context, values []config.Value) []config.Value {
	replaces := func(name string) bool {
		f := flagOf(c.Command.Flags, name)
		return c.IsSet(name) && !(flags.IsBool(f) && !c.Bool(name)) // --keyless=false replaces nothing
	}
	var out []config.Value
	for _, v := range values {
		f := flagOf(c.Command.Flags, v.Key.Name)
		if f != nil && !slices.ContainsFunc(f.Names(), c.IsSet) && !slices.ContainsFunc(alternatives[v.Key.Name], replaces) {
			out = append(out, v)
		}
	}
	return out
}

// alternatives maps a key to the flags that replace it, because the command accepts only one of
// them, or because the flag would have no effect together with the key. For verify, this means that
// a key in the file is not trusted if the command line names an identity.
var alternatives = map[string][]string{
	"quiet":                          {"progress"},
	"key":                            {"keyless", "certificate-identity", "certificate-identity-regexp"},
	"keyless":                        {"key"},
	"certificate-identity":           {"certificate-identity-regexp", "key"},
	"certificate-identity-regexp":    {"certificate-identity", "key"},
	"certificate-oidc-issuer":        {"certificate-oidc-issuer-regexp", "key"},
	"certificate-oidc-issuer-regexp": {"certificate-oidc-issuer", "key"},
}

func isQuiet(c *cli.Context) bool { return c.Bool("quiet") || c.String("progress") == "quiet" }

// announce prints which configuration file was read.
func announce(c *cli.Context, w io.Writer, file *config.File) {
	path := report.Sanitize(exit.Redact(file.Path))
	if c.String("log-format") == "json" {
		slog.New(slog.NewJSONHandler(w, nil)).Info("configuration", "file", path, "found", file.Found)
		return
	}
	fmt.Fprintln(w, "imagegate: configuration: "+path)
}
