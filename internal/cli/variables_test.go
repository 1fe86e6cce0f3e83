package cli

import (
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/flags"
)

// TestEmptyVariableIsNotAValue checks that an empty variable means the default, for every flag of
// every command. The test reads the flags from the commands, so that new flags are covered.
func TestEmptyVariableIsNotAValue(t *testing.T) {
	variables := []string{cacheKeyVariable}
	for c := range leaves(newApp(Streams{}).Commands, nil) {
		for _, f := range c.Flags {
			if documented, ok := f.(cli.DocGenerationFlag); ok {
				variables = append(variables, documented.GetEnvVars()...)
			}
		}
	}
	if len(variables) < 20 {
		t.Fatalf("only %d variables are tried", len(variables))
	}
	for _, blank := range []string{"", " ", "\n", "\t \r\n"} {
		for _, v := range variables {
			t.Setenv(v, blank)
		}
		if code := Run(t.Context(), []string{"imagegate", "--version"}, Streams{Out: io.Discard, Err: io.Discard}); code != exit.OK {
			t.Errorf("exit code %d", code)
		}
		for _, v := range variables {
			if value, ok := os.LookupEnv(v); ok {
				t.Errorf("%s is %q for the flags", v, value)
			}
		}
	}
}

// TestVariableWithAValueIsKept checks that tidyVariables keeps a variable that has a value, and
// does not touch empty variables of other programs.
func TestVariableWithAValueIsKept(t *testing.T) {
	t.Setenv("IMAGEGATE_OUTPUT", "json")
	t.Setenv("COSIGN_PASSWORD", "")
	if err := tidyVariables(); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("IMAGEGATE_OUTPUT") != "json" {
		t.Error("a value is lost")
	}
	if _, ok := os.LookupEnv("COSIGN_PASSWORD"); !ok {
		t.Error("the empty password of a key is lost")
	}
}

// TestFileNameMayHaveAComma checks that a file name may have a comma. Each value of a repeatable
// flag is one file name, and a variable has one value per line.
func TestFileNameMayHaveAComma(t *testing.T) {
	for name, c := range map[string]struct {
		variable string
		args     []string
		want     []string
	}{
		"flag":                   {"", []string{"--policy", "policy,strict.yaml"}, []string{"policy,strict.yaml"}},
		"flags":                  {"", []string{"-p", "a.yaml", "-p", "b,c.yaml"}, []string{"a.yaml", "b,c.yaml"}},
		"variable":               {"policy,strict.yaml", nil, []string{"policy,strict.yaml"}},
		"variable with lines":    {"a.yaml\nb.yaml\n", nil, []string{"a.yaml", "b.yaml"}},
		"with blank lines":       {"\n  a.yaml\r\n\n\tb.yaml \n", nil, []string{"a.yaml", "b.yaml"}},
		"flag replaces variable": {"a.yaml", []string{"-p", "b.yaml"}, []string{"b.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, file := range []string{"a.yaml", "b.yaml"} {
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("IMAGEGATE_POLICY", c.variable)
			if err := tidyVariables(); err != nil {
				t.Fatal(err)
			}
			var got []string
			app := newApp(Streams{Out: io.Discard, Err: io.Discard})
			flags.Find(app.Commands, "check").Action = func(c *cli.Context) error {
				got = c.StringSlice("policy")
				return nil
			}
			args := append([]string{"imagegate", "check"}, append(c.args, "image")...)
			if err := refuseSecrets(app, args); err != nil {
				t.Fatal(err)
			}
			if err := app.RunContext(t.Context(), args); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestListsAreNotKeys checks that a variable with several ordinary values is not taken for a key, also
// if a value names nothing that exists.
func TestListsAreNotKeys(t *testing.T) {
	for variable, value := range map[string]string{
		"IMAGEGATE_INSECURE_REGISTRY": "registry.example:5000\nlocalhost:5001\nmirror.example",
		"IMAGEGATE_POLICY":            "missing.yaml\npolicies/other.yml",
		"IMAGEGATE_OUTPUT":            "text\njson=report.json",
		"IMAGEGATE_VEX":               "none.json\nalso.json",
	} {
		t.Setenv(variable, value)
	}
	if err := refuseSecrets(newApp(Streams{Out: io.Discard, Err: io.Discard}), []string{"imagegate", "check", "image"}); err != nil {
		t.Error(err)
	}
}
