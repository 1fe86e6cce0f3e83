// Package help presents the help of all commands: as text for a terminal, as a section of the
// command reference, and as a manual page. It also completes command lines in shells.
//
// [PageOf] describes one command. It combines the command's flags with the content of pages.go: the
// required flags, the groups of flags and the examples. [Page.Text], [Page.Markdown] and [Page.Man]
// render the page. [Completer.Candidates] returns the completions of a partial command line, and
// [Script] returns the script that a shell loads.
package help

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/flags"
)

// Page is the help of one command, or of imagegate itself.
type Page struct {
	// Name is the full name, such as "imagegate db update".
	Name string
	// Summary is one line that begins with an imperative, without a full stop.
	Summary string
	// Usage is the command line with its required arguments and flags.
	Usage string
	// Brief says in about two sentences what the command does. Details is the rest of the
	// description. Lines that begin with two spaces are examples or lists and keep their form.
	Brief, Details string
	Examples       []Example
	// Commands are the subcommands in groups. Flags are the flags in groups.
	Commands []CommandGroup
	Flags    []FlagGroup
	// IsProgram is true for the page of imagegate itself, which also lists the exit codes.
	IsProgram bool
}

// Example is a command that works as printed, apart from the names in it.
type Example struct {
	Comment string
	// Lines are the lines of the command. A line that ends with a backslash continues on the next
	// one.
	Lines []string
}

// CommandGroup is a group of commands under a title.
type CommandGroup struct {
	Title string
	Rows  []Row
}

// Row is a name and its description.
type Row struct{ Name, Text string }

// FlagGroup is a group of flags under a title.
type FlagGroup struct {
	Title string
	Flags []Flag
}

// Flag is one flag.
type Flag struct {
	Names []string // the names with dashes, the long name first
	Value string   // the name of the value; empty for a flag without a value
	Text  string   // the description, which begins with an imperative
	// Variable is the environment variable, or "".
	Variable string
}

// Heading returns the names of a flag and of its value, as in "-p, --policy FILE".
func (f Flag) Heading() string {
	names := slices.Clone(f.Names)
	slices.SortStableFunc(names, func(a, b string) int { return len(a) - len(b) })
	out := strings.Join(names, ", ")
	if len(names) == 1 {
		out = "    " + out // aligned with the flags that have a short name
	}
	if f.Value != "" {
		out += " " + f.Value
	}
	return out
}

// placeholder matches the name of the value in a flag's usage text, which is in backquotes.
var placeholder = regexp.MustCompile("`([^`]+)`")

// PageOf returns the page of the command at the end of path or, if path is empty, of imagegate
// itself.
func PageOf(app *cli.App, path []*cli.Command) Page {
	name := app.Name
	for _, c := range path {
		name += " " + c.Name
	}
	extra := pages[name]
	if len(path) == 0 {
		brief, details := cutParagraph(app.Description)
		return Page{Name: name, Summary: app.Usage, Usage: name + " COMMAND [ARGUMENTS] [FLAGS]", Brief: brief, Details: details,
			Examples: extra.examples, Commands: groupCommands(app.Commands), IsProgram: true}
	}
	c := path[len(path)-1]
	p := Page{Name: name, Summary: c.Usage, Examples: extra.examples, Brief: extra.brief, Details: c.Description}
	if p.Brief == "" {
		p.Brief, p.Details = cutParagraph(c.Description)
	}
	if len(c.Subcommands) > 0 {
		p.Usage = name + " COMMAND [FLAGS]"
		p.Commands = []CommandGroup{{"Commands", rows(c.Subcommands)}}
		return p
	}
	p.Flags = groupFlags(c.Flags, extra.required)
	p.Usage = strings.Join(strings.Fields(name+" "+c.ArgsUsage+" "+required(p.Flags, extra.required)+" [FLAGS]"), " ")
	return p
}

// cutParagraph separates the first paragraph of a text from the rest. If that paragraph introduces
// a list, the list belongs to it.
func cutParagraph(text string) (first, rest string) {
	first, rest, _ = strings.Cut(text, "\n\n")
	if i := strings.Index(first, "\n  "); i >= 0 {
		return "", text
	}
	return first, rest
}

// required returns the required flags for a usage line. Alternative flags are joined by a bar.
func required(groups []FlagGroup, choices [][]string) string {
	var out []string
	for _, choice := range choices {
		var alternatives []string
		for _, name := range choice {
			for _, g := range groups {
				for _, f := range g.Flags {
					if slices.Contains(f.Names, name) {
						alternatives = append(alternatives, strings.TrimSpace(name+" "+f.Value))
					}
				}
			}
		}
		part := strings.Join(alternatives, " | ")
		if len(alternatives) > 1 {
			part = "(" + part + ")"
		}
		out = append(out, part)
	}
	return strings.Join(out, " ")
}

// groupFlags sorts flags into the groups of pages.go. The group of required flags comes first.
// choices has the required flags, as in Required.
func groupFlags(all []cli.Flag, choices [][]string) []FlagGroup {
	needed := slices.Concat(choices...)
	byTitle := map[string][]Flag{}
	for _, f := range all {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		described := describe(f, documented)
		title := titleOf(described)
		if slices.ContainsFunc(described.Names, func(n string) bool { return slices.Contains(needed, n) }) {
			title = requiredTitle
		}
		byTitle[title] = append(byTitle[title], described)
	}
	var out []FlagGroup
	for _, title := range titles() {
		if len(byTitle[title]) > 0 {
			out = append(out, FlagGroup{title, byTitle[title]})
		}
	}
	return out
}

func describe(f cli.Flag, documented cli.DocGenerationFlag) Flag {
	usage := documented.GetUsage()
	out := Flag{Names: flags.Names([]cli.Flag{f}), Text: placeholder.ReplaceAllString(usage, "$1")}
	if m := placeholder.FindStringSubmatch(usage); m != nil {
		out.Value = m[1]
	}
	// Use the default text only: after parsing, the flag's other fields may have the value of the
	// environment variable, which may be a secret.
	if text, ok := f.(*cli.StringFlag); ok && text.DefaultText != "" {
		out.Text += fmt.Sprintf(" (default: %s)", text.DefaultText)
	}
	if variables := documented.GetEnvVars(); len(variables) > 0 {
		out.Variable = variables[0]
	}
	return out
}

func rows(commands []*cli.Command) []Row {
	var out []Row
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, Row{c.Name, c.Usage})
		}
	}
	return out
}

// groupCommands sorts the commands of imagegate into the groups of pages.go.
func groupCommands(commands []*cli.Command) []CommandGroup {
	left := rows(commands)
	var out []CommandGroup
	for _, g := range commandGroups {
		var group []Row
		for _, name := range g.names {
			if i := slices.IndexFunc(left, func(r Row) bool { return r.Name == name }); i >= 0 {
				group = append(group, left[i])
				left = slices.Delete(left, i, i+1)
			}
		}
		if g.title == otherTitle {
			group = append(left, group...)
		}
		out = append(out, CommandGroup{g.title, group})
	}
	return out
}

// Variables returns the line about environment variables in the help of a command. It returns "" if
// no flag has a variable. The line shows one variable as an example, each variable that is not
// named after its flag, and the flags without a variable.
func (p Page) Variables(prefix string) string {
	var first, without, odd []string
	for _, g := range p.Flags {
		for _, f := range g.Flags {
			switch f.Variable {
			case "":
				without = append(without, f.Names[0])
			case variableOf(prefix, f.Names[0]):
				first = append(first, fmt.Sprintf("%s sets %s", f.Variable, f.Names[0]))
			default:
				odd = append(odd, fmt.Sprintf("%s sets %s", f.Variable, f.Names[0]))
			}
		}
	}
	if len(first)+len(odd) == 0 {
		return ""
	}
	out := strings.Join(append(first[:min(1, len(first))], odd...), ", ")
	if len(first) > 1 {
		out += ", and so on for each flag"
	}
	if len(first) > 1 && len(without) > 0 {
		out += " except " + strings.Join(without, ", ")
	}
	return out + "."
}

func variableOf(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(strings.TrimLeft(flag, "-"), "-", "_"))
}

// Required returns the required flags of a command, by its full name. One flag of each inner list
// must be given.
func Required(name string) [][]string { return pages[name].required }

// Missing returns a message for each flag that is in no group of pages.go, and for each command
// without examples. A test requires that there are none.
func Missing(app *cli.App) []string {
	var out []string
	Walk(app, func(p Page) {
		if len(p.Examples) == 0 && len(p.Commands) == 0 {
			out = append(out, p.Name+" has no examples")
		}
		for _, g := range p.Flags {
			for _, f := range g.Flags {
				if g.Title == otherTitle {
					out = append(out, p.Name+" "+f.Names[0]+" has no group")
				}
			}
		}
	})
	return out
}

// Asked reports whether a command line has a help flag, and returns the command that the help is
// about. args begins with the name of the program.
func Asked(app *cli.App, args []string) (path []*cli.Command, ok bool) {
	path, rest := flags.Walk(app.Commands, args[min(1, len(args)):])
	for _, a := range rest {
		switch a {
		case "--":
			return nil, false
		case "-h", "--help", "-help":
			return path, true
		}
	}
	return nil, false
}

// Environment writes the environment variables of all commands, with the flags that they set. If
// several commands have a flag, the description comes from the first one.
func Environment(w io.Writer, app *cli.App, width int) error {
	byName := map[string]Row{}
	collect := func(p Page) {
		for _, g := range p.Flags {
			for _, f := range g.Flags {
				if _, known := byName[f.Variable]; f.Variable != "" && !known {
					byName[f.Variable] = Row{f.Variable, fmt.Sprintf("%s of %s: %s", f.Names[0], strings.TrimPrefix(p.Name, app.Name+" "), f.Text)}
				}
			}
		}
	}
	Walk(app, func(p Page) { collect(p) })
	t := &text{width: bounded(width)}
	t.paragraph("", "Each variable sets one flag, in every command that has the flag. A flag on the command line takes precedence. A variable for a repeatable flag has one value per line. An empty variable counts as not set.")
	t.blank()
	var all []Row
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	t.rows(all)
	_, err := io.WriteString(w, t.String())
	return err
}

// Walk calls visit with the page of imagegate itself, and then with the page of every command that
// is not hidden.
func Walk(app *cli.App, visit func(Page)) {
	var walk func(path, next []*cli.Command)
	walk = func(path, next []*cli.Command) {
		visit(PageOf(app, path))
		for _, c := range next {
			if !c.Hidden {
				walk(append(slices.Clone(path), c), c.Subcommands)
			}
		}
	}
	walk(nil, app.Commands)
}
