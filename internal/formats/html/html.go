// Package html writes a report as one HTML file that needs no network.
//
// [Write] renders everything except the list of findings with html/template, so that the page is
// complete without scripts: the verdict, remedies, dates, licenses, exceptions and evidence. The
// list of findings is JSON in the page. The script shows the rows that are in view, so that tens of
// thousands of findings stay fluid. Without scripts, a table lists what blocks.
//
// The page's policy (CSP) allows exactly one script and one style sheet, by hash, and forbids every
// request. All text in a report is hostile: it passes through [visible] and then html/template or
// encoding/json, and the script only ever sets text, never markup.
package html

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"sync"

	"github.com/imagegate/imagegate/internal/report"
)

var (
	//go:embed page/page.tmpl
	pageSource string
	//go:embed page/style.css
	style string
	//go:embed page/page.js
	script string
)

// templates parses the templates at the first use, because parsing would take a tenth of the time that
// imagegate needs to start.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{"instant": instant, "date": date, "number": thousands, "stamp": stamp}).Parse(pageSource))
})

// Write writes r as a complete HTML document. The result depends on r alone: the same report always
// gives the same bytes. Counts and verdict come from [report.Report.Verdict].
func Write(w io.Writer, r report.Report) error {
	b := bufio.NewWriterSize(w, 64<<10)
	p := newPage(r)
	err := write(b, p)
	if err == nil {
		err = b.Flush()
	}
	if err != nil {
		return fmt.Errorf("writing the HTML report: %w", err)
	}
	return nil
}

// write writes the parts of the document in order. Style and script are written outside the
// template, because the template would change them, and they would no longer match the hashes in
// the security policy.
func write(b *bufio.Writer, p *page) error {
	if err := renderPart(b, "head", p); err != nil {
		return err
	}
	fmt.Fprintf(b, "<style>%s</style>\n", style)
	if err := renderPart(b, "body", p); err != nil {
		return err
	}
	if err := writeData(b, p.data); err != nil {
		return err
	}
	fmt.Fprintf(b, "<script>%s</script>\n</body>\n</html>\n", script)
	return nil
}

// renderPart renders one part of the template and writes "##" as character references. If the page
// is printed to the log of a CI job, "##" could begin a command.
func renderPart(b *bufio.Writer, part string, p *page) error {
	var out bytes.Buffer
	if err := templates().ExecuteTemplate(&out, part, p); err != nil {
		return err
	}
	_, err := b.Write(bytes.ReplaceAll(out.Bytes(), []byte("##"), []byte("#&#35;")))
	return err
}

// writeData writes the findings as a JSON block that does not run. The encoder escapes "<", ">",
// "&" and the line separators of JavaScript, so that no text can end the block.
func writeData(b *bufio.Writer, d *data) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "<script type=\"application/json\" id=\"data\">%s\n</script>\n", report.EscapeJSON(data))
	return nil
}

// securityPolicy returns the content security policy of the page. It allows only the style sheet
// and the script of this package, and an icon in the page itself.
func securityPolicy() string {
	return fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; img-src data:; base-uri 'none'; form-action 'none'",
		hash(script), hash(style))
}

// hash returns the CSP source expression that allows the inline element with this text.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
