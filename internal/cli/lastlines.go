package cli

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/trust"
)

var detailsFlag = &cli.BoolFlag{Name: "details", EnvVars: []string{"IMAGEGATE_DETAILS"}, Usage: "list everything in the text report: each finding with its rule, and what does not block"}

// commandLine returns what the verdict takes from the command line.
func commandLine(c *cli.Context, command string, targets []target) report.CommandLine {
	line := report.CommandLine{Policies: c.StringSlice("policy"), Platform: c.String("platform")}
	for _, t := range targets {
		if t.format == "json" && t.file != "" {
			line.Report = t.file
		}
	}
	if command == "promote" {
		line.Approved = c.Args().Tail()
		line.Verify = verifyFlags(c)
	}
	return line
}

// verifyFlags returns the arguments of "imagegate verify" for an image that this command line
// promotes. Capitals stand for values that the command line does not have.
func verifyFlags(c *cli.Context) []string {
	var flags []string
	switch key := c.String("key"); {
	case c.Bool(keylessFlag.Name):
		flags = append(flags, "--certificate-identity", "SUBJECT", "--certificate-oidc-issuer", "ISSUER")
	case trust.IsKMS(key):
		flags = append(flags, "--key", key)
	default:
		public := strings.TrimSuffix(key, ".key") + ".pub"
		if _, err := os.Stat(public); err != nil {
			public = "PUBLIC_KEY"
		}
		flags = append(flags, "--key", public)
	}
	for _, file := range c.StringSlice("policy") {
		flags = append(flags, "--policy", file)
	}
	for _, host := range c.StringSlice(insecureFlag.Name) {
		flags = append(flags, "--"+insecureFlag.Name, host)
	}
	return flags
}

// textOptions returns the options of a text report on w: the lines are as wide as the terminal, and
// --color decides about colors.
func (o *output) textOptions(w io.Writer) report.TextOptions {
	options := o.text
	options.Width = observe.Width(w)
	options.Color, _ = observe.UseColor(o.color, os.Getenv, observe.IsTerminal(w, os.Getenv)) // an invalid value was refused
	return options
}

// lastLines writes the verdict to standard error if no text report shows it on the terminal. After a
// failure the error follows, which a text report on standard output does not repeat. A mistake on
// the command line needs no verdict, and structured logs have no room for one.
func (o *output) lastLines() {
	switch failure := o.report.Error; {
	case o.structured:
	case failure == nil && o.showsText():
	case failure != nil && failure.Class == report.ClassUsage:
	default:
		_ = o.textOptions(o.streams.Err).Verdict(o.streams.Err, o.report) // standard error may be closed
	}
}

// showsText reports whether a text report appears where standard error does.
func (o *output) showsText() bool {
	onOut := slices.ContainsFunc(o.targets, func(t target) bool { return t.format == "text" && t.file == "" })
	return onOut && (observe.Width(o.streams.Out) > 0 || observe.Width(o.streams.Err) == 0)
}
