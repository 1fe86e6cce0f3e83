package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "write docs/cli.md")

// TestCommandReferenceIsCurrent checks that docs/cli.md has the current help of every command. The
// prose check reads docs/cli.md and therefore covers the texts of --help.
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
	fmt.Fprintf(&out, "# Commands\n\nThis page has the text of `--help` for every command. `go test ./internal/cli -run Reference -update`\n"+
		"writes it. Each flag with a variable can be set by that variable; the flag takes precedence. A\n"+
		"variable for a repeatable flag has one value per line.\n\n```\n%s\n```\n", exitCodesHelp)
	for _, c := range newApp(Streams{}).Commands {
		commandPage(&out, "imagegate", c)
	}
	return out.Bytes()
}

func commandPage(out *bytes.Buffer, parent string, c *cli.Command) {
	name := parent + " " + c.Name
	fmt.Fprintf(out, "\n## %s\n\n", name)
	fmt.Fprintf(out, "%s.\n", strings.ToUpper(c.Usage[:1])+c.Usage[1:])
	if len(c.Subcommands) == 0 {
		fmt.Fprintf(out, "\n```\n%s [flags] %s\n```\n", name, c.ArgsUsage)
	}
	if text := strings.TrimSpace(strings.ReplaceAll(c.Description, exitCodesHelp, "")); text != "" {
		fmt.Fprintf(out, "\n%s\n", fenced(text))
	}
	rows := 0
	for _, f := range c.Flags {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		if rows++; rows == 1 {
			out.WriteString("\n| flag | what it does | variable |\n|---|---|---|\n")
		}
		value := ""
		usage := documented.GetUsage()
		if m := placeholder.FindStringSubmatch(usage); m != nil {
			value = " " + m[1]
		}
		variable := ""
		if names := documented.GetEnvVars(); len(names) > 0 {
			variable = "`" + strings.Join(names, "`, `") + "`"
		}
		var names []string
		for _, n := range f.Names() {
			dashes := "--"
			if len(n) == 1 {
				dashes = "-"
			}
			names = append(names, dashes+n)
		}
		fmt.Fprintf(out, "| `%s%s` | %s | %s |\n", strings.Join(names, "`, `"), value, strings.ReplaceAll(usage, "|", "\\|"), variable)
	}
	for _, sub := range c.Subcommands {
		commandPage(out, name, sub)
	}
}

// placeholder matches the name of a flag's value in its usage text.
var placeholder = regexp.MustCompile("`([^`]+)`")

// fenced puts indented lines, which are examples, into a code block.
func fenced(text string) string {
	var out []string
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		indented := strings.HasPrefix(line, "  ")
		if indented != inside && (indented || strings.TrimSpace(line) != "") {
			if indented && len(out) > 0 && out[len(out)-1] != "" {
				out = append(out, "")
			}
			out = append(out, "```")
			if inside && line != "" {
				out = append(out, "")
			}
			inside = indented
		}
		out = append(out, line)
	}
	if inside {
		out = append(out, "```")
	}
	return strings.Join(out, "\n")
}
