package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// hidden replaces a secret in printed text.
const hidden = "***"

// secretVariables are environment variables that may hold secrets in CI. Other programs and
// libraries may quote their values in errors.
var secretVariables = []string{"COSIGN_PASSWORD", "VAULT_TOKEN", "SIGSTORE_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
	"ACTIONS_RUNTIME_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_JOB_JWT", "CI_REGISTRY_PASSWORD",
	"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "DOCKER_AUTH_CONFIG"}

// minSecret is the minimum length in bytes of a variable's value to count as a secret. Shorter
// values would match ordinary text.
const minSecret = 6

// redact removes secrets that must not reach a log or a report: user names, passwords and queries
// in URLs, and the values of secretVariables.
func redact(text string) string {
	for _, name := range secretVariables {
		if v := os.Getenv(name); len(v) >= minSecret {
			text = strings.ReplaceAll(text, v, hidden)
		}
	}
	return redactAddresses(text)
}

// redactAddresses removes the secrets from each URL in a text.
func redactAddresses(text string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "://")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		end := strings.IndexAny(rest, " \t\r\n\"'`<>")
		if end < 0 {
			end = len(rest)
		}
		out.WriteString("://" + redactAddress(rest[:end]))
		text = rest[end:]
	}
}

// redactAddress removes the secrets from a URL. a is the part after "://".
func redactAddress(a string) string {
	end := strings.IndexAny(a, "/?#")
	if end < 0 {
		end = len(a)
	}
	host := a[:end]
	_, port, _ := strings.Cut(host, ":")
	switch {
	case strings.Contains(host, "@"):
		a = hidden + a[strings.LastIndex(host, "@"):]
	case strings.Trim(port, "0123456789") != "" && strings.Contains(a, "@"):
		a = hidden + a[strings.LastIndex(a, "@"):] // a password with a slash
	}
	if address, query, ok := strings.Cut(a, "?"); ok && query != "" {
		a = address + "?" + hidden
	}
	return a
}

// secretForms match text that can only be a secret.
var secretForms = []*regexp.Regexp{
	regexp.MustCompile(`-----BEGIN |PRIVATE KEY|AGE-SECRET-KEY-|LS0tLS1CRUdJTi`), // the last is the first in base64
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ`),                            // a JSON Web Token
	regexp.MustCompile(`\b(gh[pousr]_|github_pat_|glpat-|xox[abp]-|hvs\.|AKIA)[A-Za-z0-9_-]{12,}`),
}

// encoded matches possible base64: a part of a value, or the whole value.
var encoded = regexp.MustCompile(`[A-Za-z0-9+_-]{36,}|^[A-Za-z0-9+][A-Za-z0-9+/]{39,}={0,2}$`)

// maxPlain is the maximum length in bytes of a flag's value. No path is longer.
const maxPlain = 4096

// isSecret reports whether a text looks like a key, a token or a document instead of a name.
func isSecret(v string) bool {
	for _, form := range secretForms {
		if form.MatchString(v) {
			return true
		}
	}
	_, named, _ := strings.Cut(v, "=") // as in json=FILE
	if strings.ContainsAny(v, "\r\n") || len(v) > maxPlain ||
		strings.HasPrefix(strings.TrimLeft(v, "- "), "{") || strings.HasPrefix(strings.TrimLeft(named, " "), "{") {
		return true
	}
	for _, run := range encoded.FindAllString(v, -1) {
		if isRandom(run) {
			return true
		}
	}
	return false
}

// isRandom distinguishes base64 from words and hexadecimal digests by how often the kind of
// character changes: three times in five characters in base64, less than two in CamelCase words
// with numbers.
func isRandom(s string) bool {
	changes, kinds := 0, map[int]int{}
	last := -1
	for _, r := range s {
		kind := kindOf(r)
		kinds[kind]++
		if kind != last {
			changes++
		}
		last = kind
	}
	return kinds[upper] >= 5 && kinds[lower] >= 5 && kinds[digit] >= 2 && kinds[other] <= len(s)/10 && changes*100 >= len(s)*47
}

const (
	upper = iota
	lower
	digit
	other
)

func kindOf(r rune) int {
	switch {
	case r >= 'A' && r <= 'Z':
		return upper
	case r >= 'a' && r <= 'z':
		return lower
	case r >= '0' && r <= '9':
		return digit
	}
	return other
}

// addressFlags matches the usage text of flags that take URLs or patterns of URLs. A password in
// such a URL is allowed, because the URL is redacted before it is printed.
var addressFlags = regexp.MustCompile("`(URL|REGEXP|SUBJECT)`")

// refuseSecrets returns an error if the command line has a key or a token in place of a name,
// before any message can quote it. The path of an existing file is always accepted.
func refuseSecrets(app *cli.App, args []string) error {
	commands, flags := app.Commands, app.Flags
	rest := args[min(1, len(args)):]
	for ; len(rest) > 0; rest = rest[1:] {
		c := find(commands, rest[0])
		if c == nil {
			break
		}
		commands, flags = c.Subcommands, c.Flags
	}
	usages := usagesOf(flags)
	name := ""
	for _, a := range rest {
		value := a
		if flag, v, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "-") && !isSecret(flag) {
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
	for _, f := range flags {
		if documented, ok := f.(cli.DocGenerationFlag); ok {
			for _, variable := range documented.GetEnvVars() {
				if err := refuseSecret(variable, documented.GetUsage(), os.Getenv(variable)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func usagesOf(flags []cli.Flag) map[string]string {
	usages := map[string]string{}
	for _, f := range flags {
		if documented, ok := f.(cli.DocGenerationFlag); ok {
			for _, name := range f.Names() {
				usages[name] = documented.GetUsage()
			}
		}
	}
	return usages
}

// refuseSecret checks the value of one flag, variable or argument.
func refuseSecret(where, usage, value string) error {
	// Not redact: the value of a secret variable may be an ordinary word in a name.
	address := redactAddresses(value) != value && !addressFlags.MatchString(usage)
	if !address && !isSecret(value) {
		return nil
	}
	if len(value) <= maxPlain {
		if _, err := os.Lstat(value); err == nil {
			return nil
		}
	}
	return usageError{&secretError{where: where, size: len(value)}}
}

// secretError means that a secret was given in place of a name. It does not contain the secret.
type secretError struct {
	where string
	size  int
}

func (e *secretError) Error() string {
	return fmt.Sprintf("%s: its value of %d bytes looks like a key, a token, a document or an address with a password (not shown)", e.where, e.size)
}
