package help

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// tree returns a small program with one group of commands.
func tree() *cli.App {
	return &cli.App{Name: "imagegate", Usage: "try", Commands: []*cli.Command{
		{Name: "check", Usage: "check an image", ArgsUsage: "IMAGE", Description: "Checks it.\n\nIMAGE is one of\n  oci:PATH   a folder", Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"X_POLICY"}, Usage: "evaluate the policy in `FILE`"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"X_QUIET"}, Usage: "show no progress"},
			&cli.StringFlag{Name: "certificate-oidc-issuer-regexp", Usage: "require that the whole issuer matches `REGEXP`"},
			&cli.StringFlag{Name: "cache-max", Value: "1GB", DefaultText: "1GB", EnvVars: []string{"X_SIZE"}, Usage: "keep at most `SIZE`"},
			&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FORMAT[=FILE]`"},
		}},
		{Name: "db", Usage: "manage it", Subcommands: []*cli.Command{{Name: "update", Usage: "update it"}, {Name: "status", Usage: "show it"}}},
		{Name: "help", Usage: "help"},
		{Name: "secret", Hidden: true},
	}}
}

func pageOf(t *testing.T, names ...string) Page {
	t.Helper()
	app := tree()
	var path []*cli.Command
	next := app.Commands
	for _, name := range names {
		for _, c := range next {
			if c.Name == name {
				path, next = append(path, c), c.Subcommands
				break
			}
		}
	}
	return PageOf(app, path)
}

// TestTextIsGroupedAndWrapped checks the complete help text of a command at a width of 60 columns.
func TestTextIsGroupedAndWrapped(t *testing.T) {
	p := pageOf(t, "check")
	p.Brief, p.Examples = "Checks the image against the policy and writes to no registry at all.", []Example{{"the image", []string{`imagegate check a \`, "-p b"}}}
	var out bytes.Buffer
	if err := p.Text(&out, TextOptions{Width: 60, Details: true, Prefix: "X_"}); err != nil {
		t.Fatal(err)
	}
	const want = `Check an image.

Usage: imagegate check IMAGE --policy FILE [FLAGS]

Checks the image against the policy and writes to no
registry at all.

Checks it.

IMAGE is one of
  oci:PATH   a folder

Examples:
  # the image
  imagegate check a \
    -p b

Required:
  -p, --policy FILE  evaluate the policy in FILE

Output:
  -q, --quiet                 show no progress
  -o, --output FORMAT[=FILE]  write FORMAT[=FILE]

Signing and trust:
      --certificate-oidc-issuer-regexp REGEXP
    require that the whole issuer matches REGEXP

Cache and network:
      --cache-max SIZE  keep at most SIZE (default: 1GB)

Variables: X_POLICY sets --policy, X_SIZE sets --cache-max,
           and so on for each flag except --output,
           --certificate-oidc-issuer-regexp.
Exit codes: 0 is success, 2 is a denial, every other code is
            an error: imagegate help exit-codes
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestHelpOfTheProgram checks that the help of imagegate itself lists the groups of commands and
// the exit codes.
func TestHelpOfTheProgram(t *testing.T) {
	var out bytes.Buffer
	if err := pageOf(t).Text(&out, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Usage: imagegate COMMAND", "Images:\n  check  check an image\n", "Setup:\n  db  manage it\n", "130  interrupted"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
	if strings.Contains(out.String(), "secret") {
		t.Error("a hidden command is shown")
	}
}

// TestMissingNamesFlagsWithoutAGroup checks that Missing reports a flag that pages.go does not
// list.
func TestMissingNamesFlagsWithoutAGroup(t *testing.T) {
	app := tree()
	app.Commands[0].Flags = append(app.Commands[0].Flags, &cli.BoolFlag{Name: "novel"})
	app.Commands = append(app.Commands, &cli.Command{Name: "fresh"})
	if diff := cmp.Diff([]string{"imagegate check --novel has no group", "imagegate fresh has no examples"}, Missing(app)); diff != "" {
		t.Error(diff)
	}
}

// TestHelpShowsNoValueOfAVariable checks that help shows the real default of a flag. In one
// process, the flag library would otherwise show the value of a variable that an earlier command
// has read.
func TestHelpShowsNoValueOfAVariable(t *testing.T) {
	t.Setenv("X_SIZE", "s3cret")
	app := tree()
	app.HideHelp, app.Commands[0].HideHelp = true, true
	app.Commands[0].Action = func(c *cli.Context) error {
		if c.String("cache-max") != "s3cret" {
			t.Error("the variable has no effect")
		}
		return nil
	}
	if err := app.RunContext(t.Context(), []string{"imagegate", "check"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := PageOf(app, app.Commands[:1]).Text(&out, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "s3cret") || !strings.Contains(out.String(), "(default: 1GB)") {
		t.Error(out.String())
	}
}

func TestAsked(t *testing.T) {
	for line, want := range map[string]string{"--help": "", "check -h": "check", "db update a --help": "db update", "check --policy --help": "check"} {
		path, ok := Asked(tree(), append([]string{"imagegate"}, strings.Fields(line)...))
		var names []string
		for _, c := range path {
			names = append(names, c.Name)
		}
		if !ok || strings.Join(names, " ") != want {
			t.Errorf("%s: %q, %v", line, names, ok)
		}
	}
	for _, line := range []string{"", "check", "check -- --help", "help"} {
		if _, ok := Asked(tree(), append([]string{"imagegate"}, strings.Fields(line)...)); ok {
			t.Errorf("%s", line)
		}
	}
}

// TestManualPageIsEscaped checks that troff cannot take any text of a command for a troff request.
func TestManualPageIsEscaped(t *testing.T) {
	p := pageOf(t, "check")
	p.Brief = ".de it's a back\\slash\n'quote\n  .nf fixed - line"
	var out bytes.Buffer
	if err := p.Man(&out, "1.2"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`.TH "IMAGEGATE\-CHECK" 1`, `\&.de it\(aqs a back\eslash`, "\n\\(aqquote\n", "  .nf fixed \\- line\n", `.B "\-p, \-\-policy FILE"`, ". Variable: X_POLICY", ".SH \"SEE ALSO\"\n.BR imagegate (1)\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
	if p.ManName() != "imagegate-check.1" {
		t.Error(p.ManName())
	}
}

// TestEnvironmentListsEveryVariable checks that the help about environment variables lists every
// variable.
func TestEnvironmentListsEveryVariable(t *testing.T) {
	var out bytes.Buffer
	if err := Environment(&out, tree(), 100); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "X_POLICY  --policy of check: evaluate the policy in FILE") || strings.Count(out.String(), "X_") != 3 {
		t.Error(out.String())
	}
}

// TestCandidates checks the completions of the last word of each line. A dot stands for an empty
// word.
func TestCandidates(t *testing.T) {
	c := Completer{App: tree(),
		Flags:     map[string]Values{"--policy": {Kind: Files, Extensions: []string{"yaml"}}, "--output": {Words: []string{"text", "json", "json="}}},
		Arguments: map[string]Values{"imagegate check": {Words: []string{"oci:"}}, "imagegate help": {Words: []string{"exit-codes"}}}}
	for line, want := range map[string]string{
		".":                     "check db help :none",
		"c":                     "check :none",
		"db .":                  "update status :none",
		"db s":                  "status :none",
		"db update .":           ":none",
		"unknown .":             ":none",
		"check --p":             "--policy :none",
		"check --h":             "--help :none",
		"check --policy .":      ":files yaml",
		"check -p a":            ":files yaml",
		"check --policy=a":      ":files yaml",
		"check -o j":            "json json= :none",
		"check --output=t":      "--output=text :none",
		"check -o json=r":       ":files",
		"check -q .":            "oci: :none",
		"check oci:dir":         ":files",
		"check -- -":            ":none",
		"check image --quiet .": "oci: :none",
		"help d":                "db :none",
		"help e":                "exit-codes :none",
		"help db s":             "status :none",
	} {
		words := strings.Fields(line)
		if words[len(words)-1] == "." {
			words[len(words)-1] = ""
		}
		var out bytes.Buffer
		if err := c.Complete(&out, words); err != nil {
			t.Fatal(err)
		}
		var got []string
		for one := range strings.Lines(out.String()) {
			word, _, _ := strings.Cut(strings.TrimSuffix(one, "\n"), "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, strings.Join(got, " "), want)
		}
	}
	if got, _ := c.Candidates(nil); len(got) != 3 {
		t.Errorf("without words: %v", got)
	}
}

// TestPowerShellQuotesCandidates checks that the PowerShell script quotes candidates. Without
// quotes, a word such as "@policy.yaml" would be the splatting operator.
func TestPowerShellQuotesCandidates(t *testing.T) {
	script, err := Script("powershell")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`-notmatch '(.*)'\) \{`).FindSubmatch(script)
	if m == nil {
		t.Fatal("no pattern for words without quotes")
	}
	special := regexp.MustCompile(strings.ReplaceAll(string(m[1]), "''", "'"))
	for word, want := range map[string]bool{"@a": true, "a b": true, "a'b": true, "$a": true, "{platform}": true, "a,b": true,
		"--policy": false, "json=": false, "oci:": false, "a@b": false, "linux/amd64": false} {
		if special.MatchString(word) != want {
			t.Errorf("%q is quoted: %v", word, !want)
		}
	}
	inserted := regexp.MustCompile(`CompletionResult\]::new\(([^,]*),`).FindAllSubmatch(script, -1)
	if len(inserted) != 2 || string(inserted[0][1]) != "(& $quoted $word)" || !bytes.Contains(script, []byte(`$path.StartsWith('@')) { $path = & $quoted $path }`)) {
		t.Errorf("%q is inserted", inserted)
	}
}

func TestScriptOfEachShell(t *testing.T) {
	for _, shell := range Shells {
		script, err := Script(shell)
		if err != nil || !bytes.Contains(script, []byte(CompleteCommand)) {
			t.Errorf("%s: %v", shell, err)
		}
	}
	if _, err := Script("../help.go"); err == nil {
		t.Error("a file outside the folder is read")
	}
}
