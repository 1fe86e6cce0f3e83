package cli

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/policy"
)

// parseOverride parses the --override flags of a command line.
func parseOverride(t *testing.T, args ...string) (*policy.Override, error) {
	t.Helper()
	set := flag.NewFlagSet("promote", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	if err := newOverrideFlag().Apply(set); err != nil {
		t.Fatal(err)
	}
	var given []string
	for _, a := range args {
		given = append(given, "--override", a)
	}
	if err := set.Parse(given); err != nil {
		return nil, err
	}
	return askedOverride(cli.NewContext(nil, set, nil))
}

func TestOverrideIsSpelledOutInFull(t *testing.T) {
	want := policy.Override{Reason: "late, but needed", Approver: "oncall@example.com", Expires: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)}
	for name, args := range map[string][]string{
		"quoted":   {`"reason=late, but needed",approver=oncall@example.com,expires=2026-12-31`},
		"repeated": {`"reason=late, but needed"`, "approver=oncall@example.com", "expires=2026-12-31T00:00:00Z"},
		"offset":   {`expires=2026-12-31T01:00:00+01:00,"reason=late, but needed",approver=oncall@example.com`},
	} {
		if got, err := parseOverride(t, args...); err != nil || *got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := parseOverride(t); got != nil || err != nil {
		t.Errorf("without the flag: %+v, %v", got, err)
	}
	if got, err := parseOverride(t, "reason=a=b,approver=x,expires=2026-12-31"); err != nil || got.Reason != "a=b" {
		t.Errorf("with an equals sign: %+v, %v", got, err)
	}
}

func TestUnclearOverrideIsRefused(t *testing.T) {
	const rest = ",approver=x,expires=2026-12-31"
	for arg, want := range map[string]string{
		"":                                 "key=value",
		"reason":                           "not a key=value pair",
		"reason=late, but needed" + rest:   "in double quotes",
		"reason=" + rest:                   "reason is empty",
		"reason= " + rest:                  "reason is empty",
		"reason=a,reason=b" + rest:         "reason appears twice",
		"Reason=a" + rest:                  "unknown key",
		"reason=a,until=2026-12-31" + rest: "unknown key",
		"reason=a\nreason=b":               "one line",
		"approver=x,expires=2026-12-31":    "reason is missing",
		"reason=a,expires=2026-12-31":      "approver is missing",
		"reason=a,approver=x":              "expires is missing",
		"reason=a,approver=x,expires=24":   "must be a date",
	} {
		if got, err := parseOverride(t, arg); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", arg, got, err, want)
		}
	}
}

// TestNoOverrideComesFromTheEnvironment checks that the flags for overrides have no environment
// variables. A leftover variable would let an image through without a review.
func TestNoOverrideComesFromTheEnvironment(t *testing.T) {
	flags := 0
	for _, c := range newApp(Streams{}).Commands {
		for _, f := range c.Flags {
			if name := f.Names()[0]; strings.Contains(name, "override") {
				flags++
				if from := f.(cli.DocGenerationFlag).GetEnvVars(); len(from) > 0 {
					t.Errorf("%s --%s is read from %v", c.Name, name, from)
				}
			}
		}
	}
	if flags != 2 {
		t.Errorf("%d flags about overrides", flags)
	}
}
