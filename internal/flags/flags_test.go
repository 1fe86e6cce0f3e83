package flags

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// tree returns the command tree of a small test program.
func tree() *cli.App {
	check := []cli.Flag{
		&cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"GATE_POLICY"}},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"GATE_QUIET"}},
		&cli.GenericFlag{Name: "max-age", Value: &Duration{}},
	}
	return &cli.App{Name: "gate", Commands: []*cli.Command{
		{Name: "check", Flags: check},
		{Name: "db", Subcommands: []*cli.Command{{Name: "update", Flags: []cli.Flag{&cli.StringFlag{Name: "url", EnvVars: []string{"GATE_DB_URL"}}}}, {Name: "status"}}},
		{Name: "cache", Subcommands: []*cli.Command{{Name: "status"}}},
		{Name: "secret", Hidden: true},
	}}
}

// TestFlagsMayFollowArguments checks that Arrange moves flags that follow arguments in front of
// them.
func TestFlagsMayFollowArguments(t *testing.T) {
	for in, want := range map[string]string{
		"gate":                           "gate",
		"gate --version":                 "gate --version",
		"gate -h":                        "gate -h",
		"gate other -x":                  "gate other -x",
		"gate check A -q B":              "gate check -q -- A B",
		"gate check A -p x --max-age 1d": "gate check -p x --max-age 1d -- A",
		"gate check --policy=x A":        "gate check --policy=x -- A",
		"gate check --quiet=false A":     "gate check --quiet=false -- A",
		"gate check -- --odd -q":         "gate check -- --odd -q",
		"gate check -p - A":              "gate check -p - -- A",
		"gate db update A --url u":       "gate db update --url u -- A",
		"gate db none --url u":           "gate db --url -- none u", // An unknown flag is treated as a flag without a value.
	} {
		got, err := Arrange(tree(), strings.Fields(in))
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	if got, err := Arrange(tree(), nil); got != nil || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestMisreadFlagsAreRefused checks that Arrange refuses mistakes that the parser would silently
// misread.
func TestMisreadFlagsAreRefused(t *testing.T) {
	for in, want := range map[string]string{
		"gate check A -p":         "-p needs a value",
		"gate check --policy":     "--policy needs a value",
		"gate check --policy -q":  "--policy needs a value, and the flag -q follows it",
		"gate check A -q true":    "-q true: the flag takes no value: use -q, or -q=false",
		"gate check --quiet=yes":  "--quiet=yes: the flag takes no value: use --quiet",
		"gate check –policy x":    "did you mean --policy?",
		"gate check —p=x":         "did you mean -p?",
		"gate --policy x check A": "the flag --policy must follow the command: use gate check ... --policy",
		"gate -q check A":         "the flag -q must follow the command",
	} {
		if got, err := Arrange(tree(), strings.Fields(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
}

// TestUnknownNamesAreExplained checks the suggestions in errors about unknown commands and flags.
func TestUnknownNamesAreExplained(t *testing.T) {
	app := tree()
	advice := Advice{"scan": "check", "format": "use --output"}
	command := func(parent string, known []*cli.Command, name string) error {
		return UnknownCommand(parent, known, app.Commands, name, advice)
	}
	for want, err := range map[string]error{
		`unknown command "chekc": did you mean check?`:                      command("gate", app.Commands, "chekc"),
		`unknown command "scan": did you mean check?`:                       command("gate", app.Commands, "scan"),
		`unknown command "update": did you mean db update?`:                 command("gate", app.Commands, "update"),
		`unknown command "status": did you mean db status or cache status?`: command("gate", app.Commands, "status"),
		`unknown command "secrt": see "gate --help"`:                        command("gate", app.Commands, "secrt"),
		`unknown command "xyzzy": see "gate db --help"`:                     command("gate db", app.Commands[1].Subcommands, "xyzzy"),
		`unknown flag --polcy: did you mean --policy?`:                      Unknown(app.Commands[0].Flags, "--polcy", advice),
		`unknown flag --format: use --output`:                               Unknown(app.Commands[0].Flags, "format", advice),
		`unknown flag -x`:                                                   Unknown(app.Commands[0].Flags, "-x", advice),
	} {
		if err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestVariablesWithoutEffect checks that UnknownVariables warns about a misspelled variable, and
// not about a known variable or a variable of another program.
func TestVariablesWithoutEffect(t *testing.T) {
	known := Variables(tree().Commands)
	if diff := cmp.Diff([]string{"GATE_DB_URL", "GATE_POLICY", "GATE_QUIET"}, known); diff != "" {
		t.Error(diff)
	}
	got := UnknownVariables([]string{"GATE_POLCY=secret", "GATE_POLICY=x", "OTHER=y", "GATE_NOTHING_LIKE_IT=z",
		"GATE_PORT=tcp://10.0.0.1:80", "GATE_PORT_80_TCP=x", "GATE_SERVICE_HOST=x", "GATE_SERVICE_PORT_HTTP=x"}, "GATE_", known)
	want := []string{"the environment variable GATE_NOTHING_LIKE_IT has no effect",
		"the environment variable GATE_POLCY has no effect: did you mean GATE_POLICY?"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDurationHasThePolicySyntax checks that Duration accepts the units of policy files, and
// refuses a number without a unit.
func TestDurationHasThePolicySyntax(t *testing.T) {
	for text, want := range map[string]time.Duration{"1d": 24 * time.Hour, "1w2d12h": 228 * time.Hour, "36h": 36 * time.Hour} {
		var d Duration
		if err := d.Set(text); err != nil || d.Get() != want || d.String() == "" {
			t.Errorf("%s: %v, %v", text, d.Get(), err)
		}
	}
	var d Duration
	if d.String() != "" {
		t.Errorf("%q", d.String())
	}
	for _, text := range []string{"7", "", "-1h", "0", "tomorrow"} {
		if err := d.Set(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestCountOfArguments(t *testing.T) {
	command := &cli.Command{Name: "check", HelpName: "imagegate check", ArgsUsage: "IMAGE"}
	for n, want := range []string{"got 0 arguments", "got 1 argument", "got 2 arguments"} {
		err := &CountError{Command: command, Want: "one IMAGE", Args: make([]string, n)}
		if got := err.Error(); got != "check: expected one IMAGE, "+want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := err.Hint(); got != "usage: imagegate check IMAGE [flags]" {
			t.Errorf("hint %q", got)
		}
	}
}
