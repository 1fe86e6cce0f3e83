package help

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// Man writes the page as a manual page for section 1, in the macros that groff, mandoc and BusyBox
// support.
func (p Page) Man(w io.Writer, version string) error {
	m := &troff{}
	title := strings.ReplaceAll(p.Name, " ", "-")
	m.macro(".TH %s 1 \"\" %s %s", quoted(strings.ToUpper(title)), quoted("imagegate "+version), quoted("imagegate manual"))
	m.section("NAME")
	m.text(title + " - " + p.Summary)
	m.section("SYNOPSIS")
	m.bold(p.Usage)
	if text := strings.TrimSpace(p.Brief + "\n\n" + p.Details); text != "" {
		m.section("DESCRIPTION")
		m.description(text)
	}
	if len(p.Commands) > 0 {
		m.section("COMMANDS")
	}
	for _, g := range p.Commands {
		m.macro(".SS %s", quoted(g.Title))
		for _, r := range g.Rows {
			m.item(r.Name, r.Text+", see "+title+"-"+r.Name+"(1)")
		}
	}
	if len(p.Flags) > 0 {
		m.section("OPTIONS")
	}
	for _, g := range p.Flags {
		m.macro(".SS %s", quoted(g.Title))
		for _, f := range g.Flags {
			text := f.Text
			if f.Variable != "" {
				text += ". Variable: " + f.Variable
			}
			m.item(strings.TrimSpace(f.Heading()), text)
		}
	}
	m.section("EXIT STATUS")
	m.description(exitCodes())
	if len(p.Examples) > 0 {
		m.section("EXAMPLES")
		for _, e := range p.Examples {
			m.paragraph()
			m.text(strings.ToUpper(e.Comment[:1]) + e.Comment[1:] + ":")
			m.verbatim(e.Lines)
		}
	}
	m.seeAlso(p)
	_, err := w.Write(m.Bytes())
	return err
}

// Manuals calls write with the file name and the content of each manual page: one for imagegate
// itself, and one for every command. It stops at the first error, and returns it.
func Manuals(app *cli.App, write func(name string, page []byte) error) error {
	var failed error
	Walk(app, func(p Page) {
		var out bytes.Buffer
		if failed == nil {
			failed = p.Man(&out, app.Version)
		}
		if failed == nil {
			failed = write(p.ManName(), out.Bytes())
		}
	})
	return failed
}

// ManName returns the file name of the manual page, such as "imagegate-check.1".
func (p Page) ManName() string { return strings.ReplaceAll(p.Name, " ", "-") + ".1" }

// exitCodes returns the table of exit codes without its title.
func exitCodes() string { return strings.TrimPrefix(ExitCodes, "Exit codes:\n") }

// troff is a buffer for a manual page. Its methods escape text.
type troff struct{ bytes.Buffer }

// escapes replaces the characters that troff would interpret.
var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

func escaped(s string) string { return escapes.Replace(s) }

// quoted returns an escaped and quoted argument of a macro.
func quoted(s string) string { return `"` + strings.ReplaceAll(escaped(s), `"`, `\(dq`) + `"` }

func (m *troff) macro(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

func (m *troff) section(title string) { m.macro(".SH %s", quoted(title)) }

// paragraph begins a new paragraph, unless a section or another macro has just begun one.
func (m *troff) paragraph() {
	last := m.Bytes()
	last = last[bytes.LastIndexByte(last[:max(len(last)-1, 0)], '\n')+1:]
	if !bytes.HasPrefix(last, []byte(".S")) && !bytes.Equal(last, []byte(".PP\n")) {
		m.macro(".PP")
	}
}

// text writes one line. It escapes a dot at the start, which would begin a macro.
func (m *troff) text(s string) {
	s = escaped(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	m.WriteString(s + "\n")
}

func (m *troff) bold(s string) { m.macro(".B %s", quoted(s)) }

func (m *troff) item(term, text string) {
	m.macro(".TP")
	m.bold(term)
	m.text(text)
}

// description writes paragraphs of text. Lines that begin with two spaces are not wrapped or
// joined.
func (m *troff) description(s string) {
	var fixed []string
	flush := func() {
		if len(fixed) > 0 {
			m.verbatim(fixed)
		}
		fixed = nil
	}
	for line := range strings.SplitSeq(s, "\n") {
		switch {
		case strings.HasPrefix(line, "  "):
			fixed = append(fixed, line)
			continue
		case line == "":
			flush()
			m.paragraph()
		default:
			flush()
			m.text(line)
		}
	}
	flush()
}

// verbatim writes lines unchanged, without joining them.
func (m *troff) verbatim(lines []string) {
	m.paragraph()
	m.macro(".RS 2")
	m.macro(".nf")
	for _, line := range lines {
		m.text(line)
	}
	m.macro(".fi")
	m.macro(".RE")
}

func (m *troff) seeAlso(p Page) {
	if p.IsProgram {
		return
	}
	m.section("SEE ALSO")
	parent := p.Name[:strings.LastIndexByte(p.Name, ' ')]
	m.macro(".BR %s (1)", strings.ReplaceAll(escaped(strings.ReplaceAll(parent, " ", "-")), `"`, ""))
}
