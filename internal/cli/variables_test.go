package cli

import (
	"io"
	"os"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestEmptyVariableIsNotAValue: an empty variable means the default, for every flag of every
// command. The test reads the flags from the commands, so that new flags are covered.
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
		if code := Run(t.Context(), []string{"imagegate", "--version"}, Streams{Out: io.Discard, Err: io.Discard}); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		for _, v := range variables {
			if value, ok := os.LookupEnv(v); ok {
				t.Errorf("%s is %q for the flags", v, value)
			}
		}
	}
}

// TestVariableWithAValueIsKept: and empty variables of other programs are kept too.
func TestVariableWithAValueIsKept(t *testing.T) {
	t.Setenv("IMAGEGATE_OUTPUT", "json")
	t.Setenv("COSIGN_PASSWORD", "")
	if err := unsetEmpty(); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("IMAGEGATE_OUTPUT") != "json" {
		t.Error("a value is lost")
	}
	if _, ok := os.LookupEnv("COSIGN_PASSWORD"); !ok {
		t.Error("the empty password of a key is lost")
	}
}
