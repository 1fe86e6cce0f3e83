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

// DefaultMarkdownBytes is the default limit of a report in Markdown. A comment on a pull request may
// have 65,536 characters, and a job summary 1 MiB; GitHub drops a longer one.
const DefaultMarkdownBytes = 60000

// markdownReserve is kept for the line that says how much is left out.
const markdownReserve = 300

// Markdown writes the verdict, what to do and the results, what blocks first, for a job summary or a
// comment on a pull request. It stops at the limit and says how many results it leaves out. A result
// has any status, and a problem is one that blocks, as in the sentence of the verdict. The
// first line is the comment <!-- imagegate -->, so that a job can find its own earlier comment.
//
// All text from outside is in code spans. There it is neither markup nor a link nor a mention of a
// user.
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

// maxCommand is the maximum length of an instruction, in characters. A command that is cut is of no
// use, and one for twenty packages has several hundred.
const maxCommand = 1000

// page is Markdown up to a limit in bytes.
type page struct {
	out   bytes.Buffer
	limit int
}

// add writes text if it fits as a whole.
func (p *page) add(text string) bool {
	if p.out.Len()+len(text) > p.limit {
		return false
	}
	p.out.WriteString(text)
	return true
}

// markdownHead returns the heading, the reason and the facts about the run. The heading is underlined:
// at the start of a line, Azure Pipelines takes two number signs for a command.
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

// remedies lists the first things to do about what blocks.
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

// table lists the results of one status, as many as fit, and returns their number. It names the
// platforms of a result that not all of the platforms have.
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

// code returns text as a code span in a table.
func code(s string) string {
	s = strings.NewReplacer("`", "'", "|", `\|`).Replace(s)
	if s == "" {
		return "` `"
	}
	return "`" + s + "`"
}

var sentences = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ,;:.'()-]*$`)

// prose returns a sentence of this program as it is, and any other text as a code span.
func prose(s string) string {
	if s = clean(s); sentences.MatchString(s) && !strings.Contains(s, "www.") {
		return s
	}
	return code(s)
}
