package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/suggest"
	"github.com/imagegate/imagegate/promote"
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

// hint returns the usage line, or the flag that is missing before a file.
func (e *countError) hint() string {
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

// inputErrors are all missing or invalid inputs of a command.
type inputErrors []error

// add appends an error that is not nil.
func (e *inputErrors) add(err error) {
	if err != nil {
		*e = append(*e, err)
	}
}

// Error has one line for each input.
func (e inputErrors) Error() string { return errors.Join(e...).Error() }

// Unwrap returns the errors of the inputs.
func (e inputErrors) Unwrap() []error { return e }

// withDatabase adds the error of a database that cannot be opened, and returns all errors. Only a
// run that fails anyway opens the database for this.
func (e inputErrors) withDatabase(c *cli.Context) error {
	db, err := openDatabase(c)
	if err == nil {
		err = db.Close()
	}
	e.add(err)
	return e
}

// fileError is a file that the user named and that cannot be read.
type fileError struct {
	what, path string // such as "policy"
	err        error
}

func (e *fileError) Error() string { return fmt.Sprintf("reading the %s: %v", e.what, e.err) }
func (e *fileError) Unwrap() error { return e.err }

// hint names the file that was probably meant, or the command that writes such a file.
func (e *fileError) hint() string {
	near, missing := missingFile(e.path, e.err), errors.Is(e.err, fs.ErrNotExist)
	switch {
	case near != "":
		return "did you mean " + near + "?"
	case missing && e.what == "policy":
		return policyHint
	case missing && e.what == "key":
		return keyHint
	case errors.Is(e.err, syscall.EISDIR) && e.what == "policy":
		return "use --policy once for each file"
	}
	return ""
}

// inputHint returns the hint for a mistake in the command line or its files, or "".
func inputHint(err error) string {
	var (
		advised  interface{ hint() string }
		unproven *promote.VerifyError
	)
	switch {
	case errors.Is(err, errNoPolicy) && exists("policy.yaml"):
		return "use --policy policy.yaml, which is in this folder"
	case errors.Is(err, errNoPolicy):
		return policyHint
	case errors.Is(err, errNoSigningKey) && exists("cosign.key"):
		return "use --key cosign.key, which is in this folder"
	case errors.Is(err, errNoSigningKey):
		return keyHint
	case errors.As(err, &advised):
		return advised.hint()
	case errors.As(err, &unproven) && unproven.Unsigned:
		return "only a promoted image is signed: check the reference, or promote the image first"
	}
	return reference.HintOf(err)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// Hints about inputs that the user has to make first.
const (
	policyHint = `run "imagegate policy init", which writes policy.yaml`
	keyHint    = `run "imagegate key generate", which writes cosign.key and cosign.pub`
)

// missingFile returns the name of the file that the user probably meant by path, or "".
func missingFile(path string, err error) string {
	if !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	const most = 1000
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return ""
	}
	defer dir.Close()
	names, err := dir.Readdirnames(most)
	if err != nil {
		return ""
	}
	base := filepath.Base(path)
	slices.Sort(names)
	near := suggest.Nearest(base, names)
	// The extensions of YAML differ by more than a mistake.
	for _, ext := range []string{".yaml", ".yml"} {
		if other := strings.TrimSuffix(base, filepath.Ext(base)) + ext; other != base && slices.Contains(names, other) {
			near = other
		}
	}
	if near == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(path), near)
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
