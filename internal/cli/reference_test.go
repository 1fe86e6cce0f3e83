package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/help"
)

var update = flag.Bool("update", false, "write docs/cli.md")

// TestCommandReferenceIsCurrent checks that docs/cli.md has the current help of every command. The
// prose check of docs/cli.md therefore covers the help texts, too.
func TestCommandReferenceIsCurrent(t *testing.T) {
	const file = "../../docs/cli.md"
	want := commandReference()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("docs/cli.md is not what --help says (%v): run \"go test ./internal/cli -run Reference -update\"", err)
	}
}

func commandReference() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Commands\n\nThis page has the complete help of every command. `go test ./internal/cli -run Reference -update`\n"+
		"generates this page.\n\n"+
		"The column \"variable\" names the environment variable that sets the flag. A flag on the command line\n"+
		"takes precedence. A variable for a repeatable flag has one value per line.\n\n```\n%s\n```\n", help.ExitCodes)
	help.Walk(newApp(Streams{}), func(p help.Page) {
		if !p.IsProgram {
			_ = p.Markdown(&out) // a buffer has no errors
		}
	})
	return out.Bytes()
}

// TestHelpFitsTheTerminal checks that help is at most 80 columns wide, that each page has all its
// sections, that every flag has a group, and that every command has examples.
func TestHelpFitsTheTerminal(t *testing.T) {
	app := newApp(Streams{})
	for _, missing := range help.Missing(app) {
		t.Error(missing)
	}
	help.Walk(app, func(p help.Page) {
		for _, width := range []int{0, 80, 100} {
			for _, details := range []bool{false, true} {
				var out bytes.Buffer
				if err := p.Text(&out, help.TextOptions{Width: width, Details: details, Prefix: variablePrefix}); err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(out.String()) {
					if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > max(width, 80) {
						t.Errorf("%s: %d columns: %s", p.Name, n, line)
					}
				}
				if !strings.Contains(out.String(), "\nUsage: "+p.Name) || strings.Contains(out.String(), "\n\n\n") {
					t.Errorf("%s: %s", p.Name, &out)
				}
			}
		}
	})
}

// TestExamplesAreAccepted checks that the parser accepts every example in the help and the manual
// pages, and that each example has the required flags of its command.
func TestExamplesAreAccepted(t *testing.T) {
	tried := 0
	help.Walk(newApp(Streams{}), func(p help.Page) {
		for _, e := range p.Examples {
			for _, line := range exampleLines(e) {
				tried++
				if err := parses(t, line); err != nil {
					t.Errorf("%s: %s: %v", p.Name, line, err)
				}
			}
		}
	})
	if tried < 40 {
		t.Errorf("only %d examples", tried)
	}
}

// exampleLines returns the command lines of an example, with continued lines joined and shell
// syntax removed.
func exampleLines(e help.Example) []string {
	var out []string
	joined := strings.ReplaceAll(strings.Join(e.Lines, "\n"), "\\\n", "")
	for line := range strings.SplitSeq(joined, "\n") {
		line, _, _ = strings.Cut(line, " | ")
		line, _, _ = strings.Cut(line, " >")
		line = strings.TrimSuffix(strings.TrimPrefix(line, "source <("), ")")
		out = append(out, line)
	}
	return out
}

// parses returns the error of parsing a command line. The commands are replaced with an action that
// only counts the arguments.
func parses(t *testing.T, line string) error {
	app := newApp(Streams{Out: io.Discard, Err: io.Discard})
	var words []string
	for i, part := range strings.Split(line, "'") { // every second part is quoted
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	path, _ := flags.Walk(app.Commands, words[1:])
	if len(path) == 0 || len(path[len(path)-1].Subcommands) > 0 {
		return errors.New("no command")
	}
	c := path[len(path)-1]
	c.Action = func(c *cli.Context) error {
		names := strings.Fields(c.Command.ArgsUsage)
		most := len(names)
		if strings.HasSuffix(c.Command.ArgsUsage, "...]") || strings.HasSuffix(c.Command.ArgsUsage, "...") || c.Command.Name == "help" || c.Command.Name == "man" {
			most = 9
		}
		if c.NArg() > most || c.NArg() < len(names) && !strings.Contains(c.Command.ArgsUsage, "[") {
			return fmt.Errorf("%d arguments for %q", c.NArg(), c.Command.ArgsUsage)
		}
		for _, choice := range help.Required(c.Command.HelpName) {
			if !slices.ContainsFunc(choice, func(name string) bool { return c.IsSet(strings.TrimLeft(name, "-")) }) {
				return fmt.Errorf("none of %v", choice)
			}
		}
		return nil
	}
	arranged, err := flags.Arrange(app, words)
	if err != nil {
		return err
	}
	return app.RunContext(t.Context(), arranged)
}

// TestEveryFlagCompletes checks that shell completion suggests values for each flag that takes a
// file, a folder or one of a few words.
func TestEveryFlagCompletes(t *testing.T) {
	app := newApp(Streams{})
	values := completer(app)
	free := []string{"SUBJECT", "REGEXP", "URL", "TIME", "DURATION", "SIZE", "NAME", "SHA256", "APPROVED", "HOST[:PORT]", "REPOSITORY", "TAG", "ID", "CODE", "reason=TEXT,approver=NAME,expires=TIME"}
	help.Walk(app, func(p help.Page) {
		for _, g := range p.Flags {
			for _, f := range g.Flags {
				if _, known := values.Flags[f.Names[0]]; !known && f.Value != "" && !slices.Contains(free, f.Value) {
					t.Errorf("%s %s %s does not complete", p.Name, f.Names[0], f.Value)
				}
			}
		}
	})
	for name := range values.Arguments {
		if path, rest := flags.Walk(app.Commands, strings.Fields(name)[1:]); len(rest) > 0 || len(path) == 0 {
			t.Errorf("%s is not a command", name)
		}
	}
}

// TestManualPagesAreClean checks every manual page with "mandoc -T lint".
func TestManualPagesAreClean(t *testing.T) {
	linter, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc is not installed")
	}
	help.Walk(newApp(Streams{}), func(p help.Page) {
		var page bytes.Buffer
		if err := p.Man(&page, "1.0"); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), linter, "-Tlint", "-W", "warning")
		cmd.Stdin = &page
		out, _ := cmd.Output() // a message is an error too
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "missing date") { // pages of one version are equal
				t.Errorf("%s: %s", p.Name, line)
			}
		}
	})
}
