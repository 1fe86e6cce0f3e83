package formats

import (
	"encoding/csv"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/imagegate/imagegate/internal/report"
)

// csvColumns are the columns of the CSV header. Add new columns at the end, because readers may use
// column numbers.
var csvColumns = []string{"record", "status", "severity", "id", "package", "version", "type", "fixed", "purl", "rule", "kind", "platforms", "path",
	"message", "note", "url", "blocking", "warnings", "excepted", "not_affected", "image", "digest"}

// CSV writes one line with the verdict and the counts, then one line for each result. A result can
// have any status. Only a blocking result counts as a problem, as in the sentence of the verdict.
func CSV(w io.Writer, r report.Report) error {
	out := csv.NewWriter(w)
	verdict := r.Verdict()
	n := verdict.Counts
	rows := [][]string{csvColumns, {"verdict", verdict.Word, "", "", "", "", "", "", "", "", "", "", "", clean(verdict.Why), "", "",
		strconv.Itoa(n.Blocking), strconv.Itoa(n.Warnings), strconv.Itoa(n.Excepted), strconv.Itoa(n.NotAffected), imageName(r), name(r.Input.Image.Digest)}}
	for _, p := range problems(r) {
		path := p.Path
		if path != "" {
			path = "/" + path
		}
		rows = append(rows, []string{"result", p.Status.String(), p.Severity(), p.ID, p.Name, p.Version, p.Type, p.Fixed, p.PURL, name(p.Item.Rule), name(string(p.Kind)),
			p.On(), path, p.Title, p.Note, p.URL(), "", "", "", "", "", ""})
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = plainCell(cell)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// inner matches a sign that would begin a cell, and therefore a formula, in a spreadsheet that uses
// a semicolon or a tab as the separator.
var inner = regexp.MustCompile("([;\t] *[\"']*)([=+@＝＋－＠-])")

// plainCell puts an apostrophe before a text that a spreadsheet would interpret as a formula.
// Full-width signs can begin a formula, too.
func plainCell(s string) string {
	s = inner.ReplaceAllString(s, "$1'$2")
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \"'"))
	if strings.ContainsRune("=+-@\t\r＝＋－＠", first) && s != "" {
		return "'" + s
	}
	return s
}
