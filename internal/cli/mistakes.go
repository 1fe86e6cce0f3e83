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

// warnOfVariables warns of variables that look like this program's and have no effect.
func warnOfVariables(app *cli.App, w io.Writer) {
	known := append(flags.Variables(app.Commands), cacheKeyVariable)
	for _, warning := range flags.UnknownVariables(os.Environ(), variablePrefix, known) {
		fmt.Fprintln(w, "imagegate: warning: "+report.Sanitize(warning))
	}
}

// withDatabase adds the error of a database that cannot be opened, and returns all errors. Only a
// run that fails anyway opens the database for this.
func withDatabase(c *cli.Context, inputs exit.Inputs) error {
	db, err := openDatabase(c)
	if err == nil {
		err = db.Close()
	}
	inputs.Add(err)
	return inputs
}

// notGiven is the error of an input that no flag names. The hint is the file with the default name,
// if there is one, or otherwise how to make it.
func notGiven(message, flag, file, hint string) error {
	if _, err := os.Stat(file); err == nil {
		hint = fmt.Sprintf("use %s %s, which is in this folder", flag, file)
	}
	return exit.Usage(exit.WithHint(errors.New(message), hint))
}
