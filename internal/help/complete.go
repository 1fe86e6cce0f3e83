package help

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/flags"
)

// CompleteCommand is the hidden command that the completion scripts call.
const CompleteCommand = "__complete"

// Shells are the shells that [Script] supports.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

//go:embed scripts
var scripts embed.FS

// Script returns the completion script for a shell. It returns an error for a shell that is not in
// Shells.
func Script(shell string) ([]byte, error) {
	if !slices.Contains(Shells, shell) {
		return nil, fmt.Errorf("unknown shell %q: must be %s", shell, strings.Join(Shells, ", "))
	}
	return scripts.ReadFile("scripts/" + shell)
}

// Values describes the possible values of a flag or an argument, for shell completion.
type Values struct {
	// Words are fixed values. A word that ends with "=" or ":" is completed with a file name.
	Words []string
	// Extensions limit the suggested files to names with one of these extensions, without the dot.
	// An empty list means all files.
	Extensions []string
	// Kind says whether files or folders are possible values, in addition to Words.
	Kind Kind
}

// Kind is the kind of values that can be completed.
type Kind int

// These are the kinds of values. The zero Kind means neither files nor folders.
const (
	NoFiles Kind = iota
	Files
	Folders
)

// Completer completes command lines of App.
type Completer struct {
	App *cli.App
	// Flags has the possible values of flags, by long name with dashes. The values of other flags
	// cannot be completed.
	Flags map[string]Values
	// Arguments has the possible values of arguments, by the full name of the command.
	Arguments map[string]Values
}

// Candidate is one possible completion: the word, and a description.
type Candidate struct{ Word, Text string }

// Complete writes the completions of a command line in the form that the completion scripts expect:
// one candidate a line, with a tab before its description. A last line says which files are also
// possible: ":none", ":files" with extensions, or ":folders". words begin after the name of the
// program. The last word is the one to complete, and may be empty.
func (c Completer) Complete(w io.Writer, words []string) error {
	candidates, values := c.Candidates(words)
	var out strings.Builder
	for _, one := range candidates {
		out.WriteString(one.Word)
		if one.Text != "" {
			out.WriteString("\t" + one.Text)
		}
		out.WriteString("\n")
	}
	switch values.Kind {
	case Files:
		out.WriteString(strings.TrimSpace(":files "+strings.Join(values.Extensions, " ")) + "\n")
	case Folders:
		out.WriteString(":folders\n")
	default:
		out.WriteString(":none\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// Candidates returns the possible completions of the last word. The returned Values say which files
// are also possible.
func (c Completer) Candidates(words []string) ([]Candidate, Values) {
	if len(words) == 0 {
		words = []string{""}
	}
	before, current := words[:len(words)-1], words[len(words)-1]
	path, rest := flags.Walk(c.App.Commands, before)
	name, known, commands := c.App.Name, []cli.Flag(nil), c.App.Commands
	for _, one := range path {
		name += " " + one.Name
		known, commands = one.Flags, one.Subcommands
	}
	if name == c.App.Name+" help" {
		return c.topics(rest, current), Values{}
	}
	onlyArguments := slices.Contains(rest, "--")
	switch {
	case onlyArguments:
		return c.values(c.Arguments[name], current)
	case len(rest) > 0 && c.takesValue(known, rest[len(rest)-1]) != "":
		return c.values(c.Flags[c.takesValue(known, rest[len(rest)-1])], current)
	case strings.HasPrefix(current, "-"):
		return c.flags(known, current)
	case len(commands) > 0 && len(rest) == 0:
		return matching(rowsAsCandidates(commands), current), Values{}
	case len(commands) > 0:
		return nil, Values{}
	}
	return c.values(c.Arguments[name], current)
}

// topics completes the arguments of "imagegate help", which are names of commands.
func (c Completer) topics(before []string, current string) []Candidate {
	path, _ := flags.Walk(c.App.Commands, before)
	if len(path) > 0 {
		return matching(rowsAsCandidates(path[len(path)-1].Subcommands), current)
	}
	all := rowsAsCandidates(c.App.Commands)
	for _, word := range c.Arguments[c.App.Name+" help"].Words {
		all = append(all, Candidate{Word: word})
	}
	return matching(all, current)
}

// takesValue returns the long name of the flag in word if its value is the next word, otherwise "".
func (c Completer) takesValue(known []cli.Flag, word string) string {
	for _, f := range known {
		names := flags.Names([]cli.Flag{f})
		if !flags.IsBool(f) && slices.Contains(names, word) {
			return names[0]
		}
	}
	return ""
}

// flags completes the name of a flag or, after "=", its value.
func (c Completer) flags(known []cli.Flag, current string) ([]Candidate, Values) {
	if name, value, ok := strings.Cut(current, "="); ok {
		long := c.takesValue(known, name)
		candidates, values := c.values(c.Flags[long], value)
		for i := range candidates {
			candidates[i].Word = name + "=" + candidates[i].Word
		}
		return candidates, values
	}
	var all []Candidate
	for _, f := range known {
		documented, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		text := describe(f, documented).Text
		for _, name := range flags.Names([]cli.Flag{f}) {
			all = append(all, Candidate{name, text})
		}
	}
	all = append(all, Candidate{"--help", "show help"})
	return matching(all, current), Values{}
}

// values completes a value. It also completes the file name after a word that ends with "=" or ":".
func (c Completer) values(v Values, current string) ([]Candidate, Values) {
	for _, word := range v.Words {
		if strings.HasSuffix(word, "=") || strings.HasSuffix(word, ":") {
			if strings.HasPrefix(current, word) {
				return nil, Values{Kind: Files}
			}
		}
	}
	var all []Candidate
	for _, word := range v.Words {
		all = append(all, Candidate{Word: word})
	}
	return matching(all, current), v
}

func rowsAsCandidates(commands []*cli.Command) []Candidate {
	var out []Candidate
	for _, r := range rows(commands) {
		out = append(out, Candidate{r.Name, r.Text})
	}
	return out
}

// matching returns the candidates that begin with current.
func matching(all []Candidate, current string) []Candidate {
	return slices.DeleteFunc(all, func(c Candidate) bool { return !strings.HasPrefix(c.Word, current) })
}
