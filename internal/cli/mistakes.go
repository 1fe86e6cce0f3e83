package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/report"
)

// warnOfVariables warns about IMAGEGATE_ variables that have no effect, such as misspelled ones.
func warnOfVariables(app *cli.App, w io.Writer) {
	known := append(flags.Variables(app.Commands), cacheKeyVariable)
	for _, warning := range flags.UnknownVariables(os.Environ(), variablePrefix, known) {
		fmt.Fprintln(w, "imagegate: warning: "+report.Sanitize(warning))
	}
}

// withDatabase adds the error of opening the vulnerability database to inputs, and returns all of
// them. It is called only for a run that fails anyway, so that one run reports every missing input.
func withDatabase(c *cli.Context, inputs exit.Inputs) error {
	db, err := openDatabase(c)
	if err == nil {
		err = db.Close()
	}
	inputs.Add(err)
	return inputs
}

// notGiven returns the usage error for a required input that no flag names. If file, the default
// name, exists in the working folder, the hint suggests it. Otherwise the hint is the given one.
func notGiven(message, flag, file, hint string) error {
	if _, err := os.Stat(file); err == nil {
		hint = fmt.Sprintf("use %s %s, which is in this folder", flag, file)
	}
	return exit.Usage(exit.WithHint(errors.New(message), hint))
}
