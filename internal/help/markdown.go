package help

import (
	"bytes"
	"io"
	"strings"
)

// Markdown writes the page as a section of the command reference.
func (p Page) Markdown(w io.Writer) error {
	var out bytes.Buffer
	line := func(s ...string) { out.WriteString(strings.Join(s, "") + "\n") }
	line("\n## ", p.Name, "\n")
	line(strings.ToUpper(p.Summary[:1]), p.Summary[1:], ".")
	if len(p.Commands) == 0 {
		line("\n```\n", p.Usage, "\n```")
	}
	for _, text := range []string{p.Brief, p.Details} {
		if text = strings.TrimSpace(text); text != "" {
			line("\n", fenced(text))
		}
	}
	if len(p.Examples) > 0 {
		line("\n```sh")
		for _, e := range p.Examples {
			line("# ", e.Comment)
			for i, l := range e.Lines {
				if i > 0 && strings.HasSuffix(e.Lines[i-1], `\`) {
					l = "  " + l
				}
				line(l)
			}
		}
		line("```")
	}
	if len(p.Flags) > 0 {
		line("\n| flag | what it does | variable |\n|---|---|---|")
	}
	for _, g := range p.Flags {
		line("| **", g.Title, "** | | |")
		for _, f := range g.Flags {
			names, variable := "`"+strings.Join(f.Names, "`, `")+"`", ""
			if f.Value != "" {
				names = strings.TrimSuffix(names, "`") + " " + f.Value + "`"
			}
			if f.Variable != "" {
				variable = "`" + f.Variable + "`"
			}
			line("| ", names, " | ", strings.ReplaceAll(f.Text, "|", "\\|"), " | ", variable, " |")
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// fenced puts indented lines, which are examples, into Markdown code blocks.
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
