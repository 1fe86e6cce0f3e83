package formats

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
)

// DefaultMarkdownBytes is the default maximum size of a report in Markdown. GitHub limits a pull
// request comment to 65,536 characters and a job summary to 1 MiB, and drops longer ones.
const DefaultMarkdownBytes = 60000

// markdownReserve is the space in bytes for the line that says how many results are left out.
const markdownReserve = 300

// Markdown writes a job summary or a pull request comment: the verdict, what to do, and the
// results, blocking ones first. It stops at the size limit and says how many results it leaves out.
// A result can have any status. Only a blocking result counts as a problem, as in the sentence of
// the verdict. The first line is the comment <!-- imagegate -->, so that a job can find its own
// earlier comment.
//
// All external text is in code spans. Inside a code span, it cannot become markup, a link or a
// mention of a user.
func Markdown(w io.Writer, r report.Report, o Options) error {
	limit := cmp.Or(o.MarkdownBytes, DefaultMarkdownBytes)
	verdict, all := r.Verdict(), problems(r)
	page := &page{limit: limit - markdownReserve}
	if !page.add(markdownHead(r, verdict)) {
		return fmt.Errorf("writing Markdown: the verdict does not fit into %d bytes", limit)
	}
	page.remedies(r, verdict)
	listed := 0
	for _, section := range []struct {
		status report.Status
		title  string
	}{{report.Blocking, "Blocking"}, {report.Warning, "Warnings"}, {report.Excepted, "Excepted"}, {report.NotAffected, "Not affected"}} {
		listed += page.table(section.title, section.status, all, len(r.Input.Platforms))
	}
	if listed < len(all) {
		fmt.Fprintf(&page.out, "\n%d of %d results are not listed here: %s. The JSON report has all of them.\n", len(all)-listed, len(all), countsText(verdict.Counts))
	}
	_, err := w.Write(page.out.Bytes())
	return err
}

// maxCommand is the maximum length of an instruction, in characters. A command for twenty packages
// has several hundred characters, and a shortened command would be useless.
const maxCommand = 1000

// page collects Markdown text up to a limit in bytes.
type page struct {
	out   bytes.Buffer
	limit int
}

// add writes text only if all of it fits, and reports whether it did.
func (p *page) add(text string) bool {
	if p.out.Len()+len(text) > p.limit {
		return false
	}
	p.out.WriteString(text)
	return true
}

// markdownHead returns the heading, the reason and the facts about the run. The heading is
// underlined instead of marked with "##", because Azure Pipelines takes "##" at the start of a line
// for a command.
func markdownHead(r report.Report, v report.Verdict) string {
	var b strings.Builder
	title := toolName + ": " + v.Word
	fmt.Fprintf(&b, "<!-- imagegate -->\n%s\n%s\n\n%s\n\n", title, strings.Repeat("-", len(title)), prose(v.Why))
	fmt.Fprintf(&b, "| | |\n|---|---|\n| Image | %s |\n", code(imageName(r)))
	for _, row := range [][2]string{{"Digest", r.Input.Image.Digest}, {"Policy", r.Policy.File}, {"Policy digest", r.Policy.Digest}} {
		if text := name(row[1]); text != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", row[0], code(text))
		}
	}
	for _, d := range r.Destinations {
		fmt.Fprintf(&b, "| %s | %s |\n", prose(string(d.State)), code(name(d.Reference)))
	}
	if !v.Until.IsZero() {
		fmt.Fprintf(&b, "| Valid until | %s |\n", v.Until.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "| Results | %s |\n", countsText(v.Counts))
	for _, c := range cautions(r) {
		fmt.Fprintf(&b, "| Caution | %s |\n", code(clip(c, maxName)))
	}
	return b.String()
}

// remedies writes the first instructions for fixing the blocking problems.
func (p *page) remedies(r report.Report, v report.Verdict) {
	const most = 20
	if v.Counts.Blocking == 0 || len(r.Remedies) == 0 {
		return
	}
	text := "\nWhat to do\n----------\n\n"
	for i, remedy := range r.Remedies {
		if i == most {
			text += fmt.Sprintf("- and %d more, in the JSON report\n", len(r.Remedies)-most)
			break
		}
		text += "- " + code(clip(clean(remedy.Do), maxCommand)) + "\n"
	}
	p.add(text)
}

// table writes a table of the results with one status, as many as fit, and returns how many it
// wrote. It names the platforms of a result unless all platforms of the image have it.
func (p *page) table(title string, status report.Status, all []problem, platforms int) int {
	total := 0
	for i := range all {
		if all[i].Status == status {
			total++
		}
	}
	title = fmt.Sprintf("%s (%d)", title, total)
	head := fmt.Sprintf("\n%s\n%s\n\n| severity | result | package | fixed in | rule | note |\n|---|---|---|---|---|---|\n", title, strings.Repeat("-", len(title)))
	listed := 0
	for i := range all {
		if all[i].Status != status {
			continue
		}
		line := tableRow(&all[i], platforms)
		if listed == 0 {
			line = head + line
		}
		if !p.add(line) {
			p.limit = 0 // a shorter line of a later result must not take its place
			break
		}
		listed++
	}
	return listed
}

func tableRow(p *problem, platforms int) string {
	what, pkg := code(clip(p.Title, maxName)), ""
	if p.Finding != nil {
		what, pkg = code(p.ID+cve(p.Finding)), code(p.Name+" "+p.Version)
		if url := p.URL(); url != "" {
			what = "[" + what + "](" + url + ")"
		}
	}
	fix := ""
	if p.Fixed != "" {
		fix = code(p.Fixed)
	}
	var notes []string
	if p.Note != "" {
		notes = append(notes, code(clip(p.Note, maxName)))
	}
	if n := len(p.Platforms); n > 0 && n < platforms {
		notes = append(notes, code("on "+clip(p.On(), maxName)))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", p.Severity(), what, pkg, fix, code(p.Rule), strings.Join(notes, "; "))
}

// code returns text as a code span that is safe in a Markdown table.
func code(s string) string {
	s = strings.NewReplacer("`", "'", "|", `\|`).Replace(s)
	if s == "" {
		return "` `"
	}
	return "`" + s + "`"
}

var sentences = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ,;:.'()-]*$`)

// prose returns a sentence of imagegate unchanged, and any other text as a code span.
func prose(s string) string {
	if s = clean(s); sentences.MatchString(s) && !strings.Contains(s, "www.") {
		return s
	}
	return code(s)
}
