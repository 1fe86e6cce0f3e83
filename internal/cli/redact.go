package cli

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/formats"
	secrets "github.com/imagegate/imagegate/internal/redact"
)

// addressFlags matches the usage text of flags that take a URL or a pattern of URLs. Such a URL may
// contain a password, because it is redacted before it is printed.
var addressFlags = regexp.MustCompile("`(URL|REGEXP|SUBJECT)`")

// refuseSecrets returns an error if a flag, variable or argument contains a key or a token instead
// of a name. It runs first, so that messages never quote the secret. The path of an existing file
// is always accepted.
func refuseSecrets(app *cli.App, args []string) error {
	path, rest := flags.Walk(app.Commands, args[min(1, len(args)):])
	known := app.Flags
	if len(path) > 0 {
		known = path[len(path)-1].Flags
	}
	usages := usagesOf(known)
	name := ""
	for _, a := range rest {
		value := a
		if flag, v, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "-") && !secrets.IsSecret(flag) {
			name, value = strings.TrimLeft(flag, "-"), v
		}
		where := "an argument"
		if _, known := usages[name]; known {
			where = "--" + name
		}
		if err := refuseSecret(where, usages[name], value); err != nil {
			return err
		}
		if name = ""; strings.HasPrefix(a, "-") && !strings.Contains(a, "=") {
			name = strings.TrimLeft(a, "-")
		}
	}
	for _, f := range known {
		if documented, ok := f.(cli.DocGenerationFlag); ok {
			for _, variable := range documented.GetEnvVars() {
				for _, value := range valuesOf(f, os.Getenv(variable)) {
					if err := refuseSecret(variable, documented.GetUsage(), value); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// valuesOf splits the value of a variable into the values of its flag f. For a repeatable flag,
// each line is one value if every line is clearly a file, an output format or a URL. Otherwise the
// whole text is one value, because it may be a key or a document.
func valuesOf(f cli.Flag, value string) []string {
	lines := strings.Split(value, "\n")
	if _, repeatable := f.(*cli.StringSliceFlag); repeatable && !slices.ContainsFunc(lines, isUnclear) {
		return lines
	}
	return []string{value}
}

// listed matches the usual values of lists: a registry, or the name of a policy or report that need not
// exist. A user name with a password does not match, because a port has only digits.
var listed = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})|[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+|[A-Za-z0-9._/-]{1,200}\.(ya?ml|json))$`)

// isUnclear reports whether a line is neither a file, an output format, a URL nor a usual value of a
// list.
func isUnclear(line string) bool {
	if listed.MatchString(line) {
		return false
	}
	name, _, _ := strings.Cut(line, "=")
	if _, known := formats.ByName(name); known {
		return false
	}
	if u, err := url.Parse(line); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return false
	}
	_, err := os.Lstat(line)
	return err != nil
}

func usagesOf(known []cli.Flag) map[string]string {
	usages := map[string]string{}
	for _, f := range known {
		if documented, ok := f.(cli.DocGenerationFlag); ok {
			for _, name := range f.Names() {
				usages[name] = documented.GetUsage()
			}
		}
	}
	return usages
}

// refuseSecret returns a secretError if the value of one flag, variable or argument looks like a
// secret. where names the flag, and usage is its usage text.
func refuseSecret(where, usage, value string) error {
	// Redact is not used here: the value of a secret variable may be an ordinary word that is also
	// part of a name.
	address := secrets.URLs(value) != value && !addressFlags.MatchString(usage)
	// A brace usually begins a JSON document with a key, so PlatformMark is removed before the
	// check.
	if !address && !secrets.IsSecret(strings.ReplaceAll(value, output.PlatformMark, "")) {
		return nil
	}
	if len(value) <= secrets.MaxName {
		if _, err := os.Lstat(value); err == nil {
			return nil
		}
	}
	return exit.Usage(&secretError{where: where, size: len(value)})
}

// secretError is the error for a secret given instead of a name. It does not contain the secret.
type secretError struct {
	where string
	size  int
}

// Hint says where to store the secret instead.
func (e *secretError) Hint() string {
	return "flags take the name of a file, not its content: save the content to a file that only you can read"
}

func (e *secretError) Error() string {
	return fmt.Sprintf("%s: the value (%d bytes, not shown) looks like a key, a token, a document or a URL with a password", e.where, e.size)
}
