package formats

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/imagegate/imagegate/internal/hostile"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// longName is as long as a manifest allows a name to be, and more.
var longName = strings.Repeat("long name ", 1<<20/10)

// hostileReport is a denied report with a problem of each status for each text of the corpus.
func hostileReport() report.Report {
	r := report.Report{Tool: report.Tool{Name: "imagegate", Version: "v0.1.0"}, Command: "check", Started: now, Finished: now, Input: image("linux/amd64"),
		Decision: &policy.Decision{}, Destinations: []report.Destination{}}
	for _, s := range append([]string{longName}, hostile.Texts...) {
		f := finding(s, evidence.SeverityHigh, s, s, s)
		f.Aliases, f.Description, f.URL, f.Package.PURL = []string{s}, s, s, s
		f.Package.Found = []evidence.Location{{Path: s}}
		v := policy.Violation{Kind: policy.KindVulnerability, Rule: s, Position: policy.Position{File: s, Line: 1}, Platform: s, Message: s, Finding: &f}
		other := policy.Violation{Kind: policy.KindPackage, Rule: s, Platform: s, Message: s, Package: &f.Package}
		if len(s) == len(longName) {
			r.Decision.Violations = append(r.Decision.Violations, v)
			continue
		}
		r.Decision.Violations = append(r.Decision.Violations, v, other)
		r.Decision.Warnings = append(r.Decision.Warnings, v, other)
		r.Decision.Excepted = append(r.Decision.Excepted, policy.Excepted{Violation: v, Exception: policy.Exception{Reason: s, Owner: s, Expires: now.Add(time.Hour)}})
		r.Decision.NotAffected = append(r.Decision.NotAffected, policy.NotAffected{Violation: v,
			Statement: evidence.VEXStatement{ID: s, Status: evidence.VEXNotAffected, Justification: s, Impact: s, Author: s, Document: s}})
	}
	r.Cautions = hostile.Texts
	return r
}

// TestHostileTextIsHarmless writes the corpus in every format, and looks at the written bytes and at
// the texts that a reader of the format gets.
func TestHostileTextIsHarmless(t *testing.T) {
	reports := map[string]report.Report{"a problem for each text": hostileReport()}
	for i, text := range hostile.Texts {
		reports[fmt.Sprintf("text %d: %q", i, text)] = hostile.Report(text, now)
	}
	for _, f := range reportFormats() {
		t.Run(f.Name, func(t *testing.T) {
			for name, r := range reports {
				data, err := write(t, f, r)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				checkBytes(t, name, data)
				if most := 8 << 20; len(data) > most && f.Name != "json" {
					t.Errorf("%s: %d bytes", name, len(data))
				}
				check, ok := checks[f.Name]
				if !ok {
					check = jsonTexts
				}
				check(t, name, data)
			}
		})
	}
}

// checkBytes fails if the output has bytes that a terminal or CI system interprets as a command.
func checkBytes(t *testing.T, name string, data []byte) {
	t.Helper()
	if !utf8.Valid(data) {
		t.Errorf("%s: invalid UTF-8", name)
	}
	for _, r := range string(data) {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%s: unprintable %U", name, r)
		}
	}
	if bytes.Contains(data, []byte("##")) {
		t.Errorf("%s: a command of Azure Pipelines or TeamCity", name)
	}
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("::")) {
			t.Errorf("%s: a command of GitHub: %.100q", name, line)
		}
	}
}

// checks are the functions that look for hostile texts in the output of a format, by the name of the
// format. A format without an entry is JSON.
var checks = map[string]func(t *testing.T, name string, data []byte){
	"text":     func(*testing.T, string, []byte) {}, // checkBytes covers terminals
	"json":     func(*testing.T, string, []byte) {}, // lossless: its readers get the text as it was
	"csv":      csvTexts,
	"html":     htmlTexts,
	"junit":    xmlTexts,
	"markdown": markdownTexts,
}

var (
	markup = regexp.MustCompile(`(?m)!\[|\]\(|<[A-Za-z/!?]|^\s*\[[^\]]+\]:`)
	span   = regexp.MustCompile("`[^`\n]*`")
	link   = regexp.MustCompile("\\[`[^`\n]*`\\]\\(https?://[^ ()<>]+\\)")
	pipe   = regexp.MustCompile(`(^|[^\\])\|`)
)

// checkText fails if a reader could take a text for markup or a control sequence.
func checkText(t *testing.T, name, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%s: unprintable %U in %.200q", name, r, text)
		}
	}
	if found := markup.FindString(text); found != "" {
		t.Errorf("%s: %q in %.200q", name, found, text)
	}
	if len(text) > 30000 {
		t.Errorf("%s: a text of %d bytes", name, len(text))
	}
}

func jsonTexts(t *testing.T, name string, data []byte) {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			checkText(t, name, v)
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			for key, one := range v {
				checkText(t, name, key)
				walk(one)
			}
		}
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	walk(v)
}

func csvTexts(t *testing.T, name string, data []byte) {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for _, row := range rows {
		for _, cell := range row {
			checkText(t, name, cell)
			if found := regexp.MustCompile(`[;\t] *"*[=+@-]`).FindString(cell); found != "" {
				t.Errorf("%s: a formula after a separator: %q", name, cell)
			}
			if first := strings.TrimLeft(cell, " \""); first != "" && strings.ContainsRune("=+-@\t\r\uff1d", []rune(first)[0]) {
				t.Errorf("%s: a formula: %q", name, cell)
			}
		}
	}
}

func xmlTexts(t *testing.T, name string, data []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		switch token := token.(type) {
		case xml.CharData:
			checkText(t, name, string(token))
		case xml.StartElement:
			for _, a := range token.Attr {
				checkText(t, name, a.Value)
			}
		case xml.Comment:
			t.Errorf("%s: a comment", name)
		}
	}
}

// htmlTexts checks that hostile text adds no element to an HTML page that loads or runs anything.
// Every link must lead to a place in the page or to an http or https address.
func htmlTexts(t *testing.T, name string, data []byte) {
	t.Helper()
	elements := map[string]int{}
	for tokens := html.NewTokenizer(bytes.NewReader(data)); tokens.Next() != html.ErrorToken; {
		token := tokens.Token()
		if token.Type != html.StartTagToken && token.Type != html.SelfClosingTagToken {
			continue
		}
		elements[token.Data]++
		for _, a := range token.Attr {
			isLink := strings.HasPrefix(a.Val, "#") || strings.HasPrefix(a.Val, "https://") || strings.HasPrefix(a.Val, "http://")
			isIcon := token.Data == "link" && strings.HasPrefix(a.Val, "data:image/svg+xml,")
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "style" || a.Key == "href" && !isLink && !isIcon {
				t.Errorf("%s: attribute %s=%.100q of %s", name, a.Key, a.Val, token.Data)
			}
		}
	}
	if elements["script"] != 2 || elements["style"] != 1 {
		t.Errorf("%s: %d scripts and %d styles", name, elements["script"], elements["style"])
	}
	for _, tag := range []string{"img", "iframe", "object", "embed", "form", "base", "video", "audio"} {
		if elements[tag] > 0 {
			t.Errorf("%s: an element %s", name, tag)
		}
	}
}

// markdownTexts checks that all hostile text in Markdown is inside code spans, and that every row
// of a table has the right number of columns.
func markdownTexts(t *testing.T, name string, data []byte) {
	t.Helper()
	text, ok := strings.CutPrefix(string(data), "<!-- imagegate -->\n")
	if !ok {
		t.Errorf("%s: no mark", name)
	}
	for line := range strings.Lines(text) {
		if strings.Count(line, "`")%2 != 0 {
			t.Errorf("%s: an open code span in %.300q", name, line)
		}
		if n := len(pipe.FindAllString(span.ReplaceAllStringFunc(line, func(s string) string { return strings.ReplaceAll(s, `\|`, "") }), -1)); n != 0 && n != 3 && n != 7 {
			t.Errorf("%s: %d columns in %.300q", name, n, line)
		}
		rest := span.ReplaceAllString(link.ReplaceAllString(line, ""), "")
		if found := regexp.MustCompile(`[<>\[\]@#*_~\\&=]|https?:|www\.`).FindString(rest); found != "" {
			t.Errorf("%s: %q outside a code span in %.300q", name, found, line)
		}
	}
}
