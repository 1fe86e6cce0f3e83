package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/report"
)

// otherCommands maps the commands of similar programs to this program's.
var otherCommands = flags.Advice{
	"scan": "check", "test": "check or policy test", "image": "check", "gate": "check", "evaluate": "check",
	"sign": "promote", "attest": "promote", "copy": "promote", "cp": "promote", "push": "promote", "release": "promote",
	"validate": "verify or policy lint", "compare": "report diff",
	"generate-key-pair": "key generate", "keygen": "key generate", "public-key": "key public", "download": "db update",
}

// otherFlags maps the flags of similar programs to what a user of this program needs.
var otherFlags = flags.Advice{
	"format": "use --output FORMAT", "f": "use --output FORMAT", "out": "use --output FORMAT=FILE", "file": "use --output FORMAT=FILE",
	"output-file": "use --output FORMAT=FILE", "json": "use --output json",
	"severity": severityAdvice, "fail-on": severityAdvice, "fail-on-severity": severityAdvice, "severity-cutoff": severityAdvice, "min-severity": severityAdvice,
	"exit-code": "a denial always exits with code 2", "ignore-unfixed": `use "fix: available" in a rule of the policy`, "only-fixed": `use "fix: available" in a rule of the policy`,
	"ignore": "use exceptions in the policy", "ignorefile": "use exceptions in the policy", "skip-db-update": `only "imagegate db update" updates the database`,
	"username": loginAdvice, "user": loginAdvice, "u": loginAdvice, "password": loginAdvice, "creds": loginAdvice, "token": loginAdvice,
	"insecure": "use --insecure-registry HOST for a registry without TLS", "plain-http": "use --insecure-registry HOST",
	"skip-tls-verify": tlsAdvice, "tls-verify": tlsAdvice, "insecure-skip-tls-verify": tlsAdvice, "allow-insecure-registry": tlsAdvice,
	"verbose": "progress is shown unless --quiet is given", "debug": "progress is shown unless --quiet is given",
	"force": "a tag that must move to another digest needs --move-tag", "identity": "use --certificate-identity", "issuer": "use --certificate-oidc-issuer",
}

const (
	severityAdvice = "the policy decides what blocks: use severity in a rule"
	loginAdvice    = `imagegate reads the credentials of "docker login" and of credential helpers`
	tlsAdvice      = "set SSL_CERT_FILE to the CA certificate of the registry, or use --insecure-registry HOST for a registry without TLS"
)

// warnOfVariables warns of variables that look like this program's and have no effect.
func warnOfVariables(app *cli.App, w io.Writer) {
	known := append(flags.Variables(app.Commands), cacheKeyVariable)
	for _, warning := range flags.UnknownVariables(os.Environ(), variablePrefix, known) {
		fmt.Fprintln(w, "imagegate: warning: "+report.Sanitize(warning))
	}
}

// countError is a wrong number of arguments.
type countError struct {
	command *cli.Command
	want    string
	args    []string
}

func (e *countError) Error() string {
	return fmt.Sprintf("%s: want %s, got %d arguments", e.command.FullName(), e.want, len(e.args))
}

// Hint returns the usage line, or the flag that is missing before a file.
func (e *countError) Hint() string {
	for _, a := range e.args {
		ext := filepath.Ext(a)
		_, err := os.Stat(a)
		takesPolicy := slices.Contains(flags.Names(e.command.Flags), "--policy")
		if err == nil && takesPolicy && (ext == ".yaml" || ext == ".yml") {
			return fmt.Sprintf("for the policy in %s, use --policy %s", a, a)
		}
	}
	return fmt.Sprintf("usage: %s %s [flags]", e.command.HelpName, e.command.ArgsUsage)
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

// instant parses a time: a date, which means its start in UTC, a time, or a duration after now.
func instant(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	var after flags.Duration
	if after.Set(s) == nil {
		return now.Add(after.Get()).UTC().Truncate(time.Second), nil
	}
	return time.Time{}, errors.New("want a date such as 2026-12-31, a time such as 2026-12-31T12:00:00Z, or a duration from now such as 7d")
}
