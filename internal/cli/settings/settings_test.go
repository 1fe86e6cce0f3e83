package settings

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/flags"
)

// values are the flags that the action of the command sees.
type values map[string]any

// run runs a small program in the working folder. It returns the flags that the action of the
// program sees, and the text on standard error.
func run(t *testing.T, args ...string) (got values, stderr string, err error) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	var w bytes.Buffer
	text := func(name, variable, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: []string{variable}, Usage: usage}
	}
	gate := []cli.Flag{
		&cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"IMAGEGATE_POLICY"}, Usage: "read `FILE`"},
		text("key", "IMAGEGATE_KEY", "use `KEY`"), text("certificate-identity", "IMAGEGATE_CERTIFICATE_IDENTITY", "trust `SUBJECT`"),
		&cli.BoolFlag{Name: "keyless", EnvVars: []string{"IMAGEGATE_KEYLESS"}},
		&cli.GenericFlag{Name: "max-age", Value: &flags.Duration{}, EnvVars: []string{"IMAGEGATE_MAX_AGE"}, Usage: "refuse older than `DURATION`"},
		&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"IMAGEGATE_OUTPUT"}, Usage: "write `FORMAT[=FILE]`"},
		text("color", "IMAGEGATE_COLOR", "`WHEN`"), text("progress", "IMAGEGATE_PROGRESS", "`MODE`"), text("log-format", "IMAGEGATE_LOG_FORMAT", "`FORMAT`"),
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"IMAGEGATE_QUIET"}},
		&cli.BoolFlag{Name: "allow-override"},
	}
	action := func(c *cli.Context) error {
		got = values{}
		for _, f := range c.Command.Flags {
			name := f.Names()[0]
			if _, ok := f.(*cli.GenericFlag); ok {
				continue
			}
			if v, ok := c.Value(name).(cli.StringSlice); ok && len(v.Value()) > 0 {
				got[name] = v.Value()
			} else if c.IsSet(name) && !ok && name != "config" && name != "no-config" {
				got[name] = c.Value(name)
			}
		}
		return nil
	}
	app := &cli.App{Name: "gate", HideHelp: true, Writer: &w, ErrWriter: &w, SliceFlagSeparator: "\n", ExitErrHandler: func(*cli.Context, error) {},
		Commands: []*cli.Command{
			{Name: "check", Flags: gate, Action: action},
			{Name: "db", Subcommands: []*cli.Command{{Name: "update", Action: action, Flags: []cli.Flag{text("url", "IMAGEGATE_DB_URL", "`URL`")}}}},
			{Name: "version", Action: action, Flags: []cli.Flag{gate[9]}},
			{Name: "explain", Action: action, Flags: []cli.Flag{gate[0], &cli.StringSliceFlag{Name: "output", Usage: "write `FORMAT[=FILE]`"}}},
		}}
	Add(app, &w, func(where, usage, value string) error {
		if strings.Contains(value, "SECRET") {
			return errors.New(where + ": a secret")
		}
		return nil
	})
	err = app.RunContext(t.Context(), append([]string{"gate"}, args...))
	return got, w.String(), err
}

// inRepository creates a repository with a configuration file, makes it the working folder, and
// returns the path of the file.
func inRepository(t *testing.T, content string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	path := filepath.Join(dir, "imagegate.yaml")
	if content != "" {
		writeFile(t, path, content)
	}
	return path
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFlagThenVariableThenFile checks, for each type of flag, that a flag takes precedence over a
// variable, and a variable over the file.
func TestFlagThenVariableThenFile(t *testing.T) {
	const file = "policy: [a.yaml, b.yaml]\noutput: json\ncolor: never\nquiet: true\n"
	for name, c := range map[string]struct {
		variables map[string]string
		args      []string
		want      values
	}{
		"file": {want: values{"policy": []string{"a.yaml", "b.yaml"}, "output": []string{"json"}, "color": "never", "quiet": true}},
		"variables": {variables: map[string]string{"IMAGEGATE_POLICY": "v.yaml", "IMAGEGATE_COLOR": "always", "IMAGEGATE_QUIET": "false"},
			want: values{"policy": []string{"v.yaml"}, "output": []string{"json"}, "color": "always", "quiet": false}},
		"flags": {variables: map[string]string{"IMAGEGATE_POLICY": "v.yaml"}, args: []string{"-p", "f.yaml", "-o", "text", "--color", "auto", "--quiet=false"},
			want: values{"policy": []string{"f.yaml"}, "output": []string{"text"}, "color": "auto", "quiet": false}},
		"alias": {args: []string{"-q=false"}, want: values{"policy": []string{"a.yaml", "b.yaml"}, "output": []string{"json"}, "color": "never", "quiet": false}},
	} {
		t.Run(name, func(t *testing.T) {
			inRepository(t, "")
			writeFile(t, "gate.yaml", file)
			for k, v := range c.variables {
				t.Setenv(k, v)
			}
			got, _, err := run(t, append([]string{"check", "--config", "gate.yaml"}, c.args...)...)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

// TestFlagReplacesTheAlternativeInTheFile checks that a flag on the command line replaces the keys
// in the file that exclude it. For example, a key in the file must not be trusted in addition to an
// identity on the command line.
func TestFlagReplacesTheAlternativeInTheFile(t *testing.T) {
	for args, c := range map[string]struct {
		file string
		want values
	}{
		"--keyless":                 {"key: a.key", values{"keyless": true}},
		"--keyless=false":           {"key: a.key", values{"keyless": false, "key": "a.key"}},
		"--key=b.key":               {"keyless: true", values{"key": "b.key"}},
		"--certificate-identity=me": {"key: a.pub", values{"certificate-identity": "me"}},
		"--key=b.pub":               {"certificate-identity: me", values{"key": "b.pub"}},
		"--progress=plain":          {"quiet: true", values{"progress": "plain"}},
	} {
		inRepository(t, "")
		writeFile(t, "gate.yaml", c.file)
		got, _, err := run(t, "check", "--config=gate.yaml", args)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", args, err, diff)
		}
	}
}

// TestFoundFileNeverChoosesThePolicy checks that a found file with a policy key stops the run,
// because the file can be part of the change under review.
func TestFoundFileNeverChoosesThePolicy(t *testing.T) {
	file := inRepository(t, "color: never\npolicy: weak.yaml\n")
	got, _, err := run(t, "check", "-p", "policy.yaml")
	if got != nil || err == nil || !strings.Contains(err.Error(), file+`:2:1: "policy" cannot be in a file that imagegate finds by itself`) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestFoundFileNeverRemovesTheTextReport checks that the text report stays if a found file sends
// every report to a file, and that the user's --output replaces both.
func TestFoundFileNeverRemovesTheTextReport(t *testing.T) {
	for file, want := range map[string][]string{
		"output: json=r.json":               {"text", "json=r.json"},
		"output: [json=r.json, text=a.txt]": {"text", "json=r.json", "text=a.txt"},
		"output: [json=r.json, text]":       {"json=r.json", "text"},
		"output: json":                      {"json"}, // the verdict is on standard error
	} {
		inRepository(t, file+"\n")
		got, _, err := run(t, "check")
		if diff := cmp.Diff(values{"output": want}, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", file, err, diff)
		}
		if got, _, err = run(t, "check", "-o", "json=mine.json"); err != nil || cmp.Diff(values{"output": []string{"json=mine.json"}}, got) != "" {
			t.Errorf("%s: the flag does not replace the file: %v, %v", file, got, err)
		}
		writeFile(t, "named.yaml", "output: json=r.json\n")
		if got, _, err = run(t, "check", "--config", "named.yaml"); err != nil || cmp.Diff(values{"output": []string{"json=r.json"}}, got) != "" {
			t.Errorf("a named file: %v, %v", got, err)
		}
	}
}

// TestFileIsChosen checks which file is read: the one named by the flag, the one named by the
// variable, or the one found in the repository.
func TestFileIsChosen(t *testing.T) {
	for name, c := range map[string]struct {
		named, none string // variables
		args        []string
		want        string // the value of --color, or the error
	}{
		"found":              {want: "never"},
		"variable":           {named: "v.yaml", want: "auto"},
		"flag":               {named: "v.yaml", args: []string{"--config", "f.yaml"}, want: "always"},
		"none":               {args: []string{"--no-config"}, want: "<nil>"},
		"none, by variable":  {none: "true", want: "<nil>"},
		"flag over none":     {none: "1", args: []string{"--config", "f.yaml"}, want: "always"},
		"no flag over named": {named: "v.yaml", args: []string{"--no-config"}, want: "<nil>"},
		"both flags":         {args: []string{"--no-config", "--config", "f.yaml"}, want: "--config and --no-config cannot be used together"},
		"both variables":     {named: "v.yaml", none: "true", want: "--config and --no-config cannot be used together"},
		"empty":              {args: []string{"--config", ""}, want: "--config is empty"},
		"missing":            {args: []string{"--config", "g.yaml"}, want: `reading configuration "g.yaml"`},
	} {
		t.Run(name, func(t *testing.T) {
			inRepository(t, "color: never\n")
			writeFile(t, "v.yaml", "color: auto\n")
			writeFile(t, "f.yaml", "color: always\n")
			for variable, value := range map[string]string{namedVariable: c.named, noneVariable: c.none} {
				if value != "" {
					t.Setenv(variable, value)
				}
			}
			got, _, err := run(t, append([]string{"check"}, c.args...)...)
			color, ok := got["color"].(string)
			switch {
			case err != nil && strings.Contains(err.Error(), c.want):
			case err != nil || ok && color != c.want || !ok && c.want != "<nil>":
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// TestRunSaysWhichFileItRead checks the message about the configuration file, and that a found file
// cannot turn the message off.
func TestRunSaysWhichFileItRead(t *testing.T) {
	found := inRepository(t, "quiet: true\n")
	line := "imagegate: configuration: " + found + "\n"
	writeFile(t, "loud.yaml", "color: never\n")
	writeFile(t, "quiet.yaml", "quiet: true\n")
	writeFile(t, "json.yaml", "log-format: json\n")
	writeFile(t, "red\x1b[31m.yaml", "color: never\n")
	for args, want := range map[string]string{
		"check":                              line, // the change under review cannot hide its file
		"check --quiet":                      "",
		"check --progress quiet":             "",
		"check --no-config":                  "",
		"check --config loud.yaml":           "imagegate: configuration: loud.yaml\n",
		"check --config quiet.yaml":          "",
		"check --config json.yaml":           `"msg":"configuration","file":"json.yaml","found":false}`,
		"check --log-format json":            `"file":"` + found + `","found":true}`,
		"check --config red\x1b[31m.yaml -q": "",
		"version":                            "", // no key applies to it
	} {
		_, stderr, err := run(t, strings.Fields(args)...)
		if err != nil || want == "" && stderr != "" || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") > 1 {
			t.Errorf("%s: %q, %v, want %q", args, stderr, err, want)
		}
	}
	if _, stderr, err := run(t, "check", "--config", "red\x1b[31m.yaml"); err != nil || strings.ContainsRune(stderr, '\x1b') {
		t.Errorf("%q, %v", stderr, err)
	}
}

// TestKeysOfOtherCommandsAreIgnored checks that one file can serve all commands. The flag --output
// of explain has its own formats and no variable, so the key output does not set it.
func TestKeysOfOtherCommandsAreIgnored(t *testing.T) {
	inRepository(t, "")
	writeFile(t, "gate.yaml", "policy: a.yaml\noutput: sarif\ndb-url: https://mirror.example\n")
	for args, want := range map[string]values{
		"db update": {"url": "https://mirror.example"},
		"explain":   {"policy": []string{"a.yaml"}},
		"check":     {"policy": []string{"a.yaml"}, "output": []string{"sarif"}},
	} {
		got, _, err := run(t, append(strings.Fields(args), "--config", "gate.yaml")...)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", args, err, diff)
		}
	}
}

// TestInvalidValueHasALine checks that the errors for an invalid value and for a secret state the
// position in the file, and that the secret is not shown.
func TestInvalidValueHasALine(t *testing.T) {
	inRepository(t, "")
	for content, want := range map[string]string{
		"color: never\nmax-age: 7\n":    `gate.yaml:2:1: "max-age": "7" is not a duration`,
		"color: never\nkey: aSECRETb\n": `gate.yaml:2:1: a secret`,
		"allow-override: true\n":        `gate.yaml:1:1: "allow-override" cannot be in a configuration file`,
		"no-config: true\n":             `gate.yaml:1:1: unknown key "no-config"`,
	} {
		writeFile(t, "gate.yaml", content)
		if got, _, err := run(t, "check", "--config", "gate.yaml"); got != nil || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v, %v", content, got, err)
		}
	}
}
