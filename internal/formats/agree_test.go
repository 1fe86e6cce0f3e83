package formats

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	openvex "github.com/openvex/go-vex/pkg/vex"

	"github.com/imagegate/imagegate/internal/report"
)

// told is what a written report says when it is read back: the word of the verdict, the counts that
// it states, and the entries that it lists for each status.
type told struct {
	word           string
	stated, listed report.Counts
}

// readers parse a report in each format back into a told.
var readers = map[string]func(t *testing.T, data []byte) told{
	"json": func(t *testing.T, data []byte) told {
		r, err := report.ReadJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		v := r.Verdict()
		v.Counts.Packages = 0
		out := told{word: v.Word, stated: v.Counts}
		for _, i := range r.Items() {
			out.listed = add(out.listed, i.Status.String())
		}
		return out
	},
	"sarif": func(t *testing.T, data []byte) told {
		run := decode[sarifLog](t, data).Runs[0]
		number := func(key string) int { return int(run.Properties[key].(float64)) }
		out := told{word: run.Properties["verdict"].(string), stated: report.Counts{Blocking: number("blocking"), Warnings: number("warnings"), Excepted: number("excepted"), NotAffected: number("notAffected")}}
		for _, r := range run.Results {
			status := r.Properties["status"].(string)
			if want := map[string]string{"blocking": "error", "warning": "warning"}[status]; r.Level != want && (want != "" || r.Level != "note") || len(r.Suppressions) > 0 != (want == "") {
				t.Errorf("%s: level %s, %d suppressions", status, r.Level, len(r.Suppressions))
			}
			out.listed = add(out.listed, status)
		}
		return out
	},
	"gitlab": func(t *testing.T, data []byte) told {
		r := decode[gitLabReport](t, data)
		word, _, _ := strings.Cut(r.Scan.Messages[0].Value, ":")
		out := told{word: word, stated: countsIn(t, r.Scan.Messages[1].Value)}
		for _, v := range r.Vulnerabilities {
			out.listed = add(out.listed, v.Details["status"].Value)
		}
		return out
	},
	"codequality": func(t *testing.T, data []byte) told {
		issues := decode[[]codeIssue](t, data)
		word, _, _ := strings.Cut(issues[0].Description, ":")
		out := told{word: word, stated: countsIn(t, issues[0].Description)}
		for _, i := range issues[1:] {
			out.listed = add(out.listed, i.Status)
		}
		return out
	},
	"cyclonedx-vex": func(t *testing.T, data []byte) told {
		bom := decode[cdx.BOM](t, data)
		number := func(key string) int {
			n, err := strconv.Atoi(property(*bom.Metadata.Properties, key))
			if err != nil {
				t.Error(err)
			}
			return n
		}
		out := told{word: property(*bom.Metadata.Properties, "verdict"), stated: report.Counts{Blocking: number("blocking"), Warnings: number("warnings"), Excepted: number("excepted"), NotAffected: number("notAffected")}}
		for _, v := range *bom.Vulnerabilities {
			out.listed = add(out.listed, status(&v))
		}
		return out
	},
	"openvex": func(t *testing.T, data []byte) told {
		doc := decode[openvex.VEX](t, data)
		_, word, _ := strings.Cut(doc.Tooling, ", ")
		word, _, _ = strings.Cut(word, ":")
		out := told{word: word, stated: countsIn(t, doc.Tooling)}
		for _, s := range doc.Statements {
			status, _, _ := strings.Cut(s.StatusNotes, ":")
			out.listed = add(out.listed, status)
		}
		return out
	},
	"junit": func(t *testing.T, data []byte) told {
		doc := readJUnit(t, data)
		properties := map[string]string{}
		for _, p := range *doc.Suites[0].Properties {
			properties[p.Name] = p.Value
		}
		number := func(key string) int {
			n, err := strconv.Atoi(properties["imagegate."+key])
			if err != nil {
				t.Error(err)
			}
			return n
		}
		out := told{word: properties["imagegate.verdict"], stated: report.Counts{Blocking: number("blocking"), Warnings: number("warnings"), Excepted: number("excepted"), NotAffected: number("notAffected")}}
		for _, s := range doc.Suites[1:] {
			for _, c := range s.Testcases {
				switch {
				case c.Failure != nil:
					out.listed.Blocking++
				case c.Skipped != nil:
					out.listed = add(out.listed, c.Skipped.Type)
				case c.SystemOut != nil:
					out.listed.Warnings++
				}
			}
		}
		return out
	},
	"markdown": func(t *testing.T, data []byte) told {
		var out told
		section := ""
		for line := range strings.Lines(string(data)) {
			word, isTitle := strings.CutPrefix(line, "imagegate: ")
			switch {
			case isTitle && out.word == "":
				out.word = strings.TrimSpace(word)
			case strings.HasPrefix(line, "| Results |"):
				out.stated = countsIn(t, line)
			case sections[strings.Split(line, " (")[0]] != "":
				section = sections[strings.Split(line, " (")[0]]
			case section != "" && strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| severity"):
				out.listed = add(out.listed, section)
			}
		}
		return out
	},
	"html": func(t *testing.T, data []byte) told {
		var out told
		word := regexp.MustCompile(`<title>([A-Z ]+) ·`).FindSubmatch(data)
		if word != nil {
			out.word = strings.TrimSpace(string(word[1]))
		}
		tiles := map[string]*int{"blocking": &out.stated.Blocking, "warning": &out.stated.Warnings, "excepted": &out.stated.Excepted, "notAffected": &out.stated.NotAffected}
		for _, m := range regexp.MustCompile(`href="#status=(\w+)"><strong>([\d,]+)</strong>`).FindAllSubmatch(data, -1) {
			n, err := strconv.Atoi(strings.ReplaceAll(string(m[2]), ",", ""))
			if err != nil {
				t.Error(err)
			}
			*tiles[string(m[1])] = n
		}
		block := regexp.MustCompile(`(?s)id="data">(.*?)</script>`).FindSubmatch(data)
		for _, status := range decode[struct {
			Items struct{ Status []report.Status }
		}](t, block[1]).Items.Status {
			if status <= report.NotAffected { // other findings are not items
				out.listed = add(out.listed, status.String())
			}
		}
		return out
	},
	"csv": func(t *testing.T, data []byte) told {
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		number := func(at int) int {
			n, err := strconv.Atoi(rows[1][at])
			if err != nil {
				t.Error(err)
			}
			return n
		}
		out := told{word: rows[1][1], stated: report.Counts{Blocking: number(16), Warnings: number(17), Excepted: number(18), NotAffected: number(19)}}
		for _, row := range rows[2:] {
			out.listed = add(out.listed, row[1])
		}
		return out
	},
}

// sections maps the titles of the Markdown tables to statuses.
var sections = map[string]string{"Blocking": "blocking", "Warnings": "warning", "Excepted": "excepted", "Not affected": "notAffected"}

func add(c report.Counts, status string) report.Counts {
	switch status {
	case report.Blocking.String():
		c.Blocking++
	case report.Warning.String():
		c.Warnings++
	case report.Excepted.String():
		c.Excepted++
	case report.NotAffected.String():
		c.NotAffected++
	default:
		panic("unknown status " + status)
	}
	return c
}

var counted = regexp.MustCompile(`(\d+) blocking, (\d+) warnings, (\d+) excepted, (\d+) not affected`)

// countsIn parses the counts from a sentence that countsText wrote.
func countsIn(t *testing.T, text string) report.Counts {
	t.Helper()
	var c report.Counts
	if _, err := fmt.Sscanf(counted.FindString(text), "%d blocking, %d warnings, %d excepted, %d not affected", &c.Blocking, &c.Warnings, &c.Excepted, &c.NotAffected); err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return c
}

// checkAgreement writes a report in each format, reads it back, and compares it with the report.
func checkAgreement(t *testing.T, name string, r report.Report) {
	t.Helper()
	v := r.Verdict()
	all, vulnerabilities := v.Counts, report.Counts{}
	all.Packages = 0
	for _, i := range r.Items() {
		if i.Finding != nil {
			vulnerabilities = add(vulnerabilities, i.Status.String())
		}
	}
	for _, f := range reportFormats() {
		reader, ok := readers[f.Name]
		if !ok {
			if f.Name != "text" {
				t.Fatalf("no reader for %s", f.Name)
			}
			continue
		}
		data, err := write(t, f, r)
		if err != nil {
			if r.Decision != nil && !strings.Contains(err.Error(), "OpenVEX") {
				t.Errorf("%s: %s is not written: %v", name, f.Name, err)
			}
			continue
		}
		got, want := reader(t, data), told{v.Word, all, all}
		if strings.HasSuffix(f.Name, "vex") {
			want.listed = vulnerabilities
		}
		if got != want {
			t.Errorf("%s: %s says %+v, want %+v", name, f.Name, got, want)
		}
	}
}

// TestFormatsAgree checks that every format has the counts and the verdict of the report, for each
// outcome, for every case of package policy, and for random evidence. The exit code is a function of
// the same decision.
func TestFormatsAgree(t *testing.T) {
	for name, r := range outcomes(t) {
		checkAgreement(t, name, r)
	}
	for name, r := range policyCases(t) {
		if passed := r.Outcome().IsPass(); passed != r.Decision.Passed || passed && strings.HasPrefix(name, "deny") {
			t.Errorf("%s: outcome %s", name, r.Outcome())
		}
		checkAgreement(t, name, r)
	}
	seen := map[string]int{}
	for seed := range uint64(300) {
		r := generated(t, seed)
		seen[r.Verdict().Word]++
		if c := r.Counts(); c.Excepted > 0 && c.NotAffected > 0 && c.Blocking > 0 && c.Warnings > 0 {
			seen["all statuses"]++
		}
		checkAgreement(t, fmt.Sprint("seed ", seed), r)
	}
	for _, what := range []string{"PASSED", "DENIED", "OVERRIDDEN", "FAILED", "all statuses"} {
		if seen[what] < 5 {
			t.Errorf("only %d of the generated reports have %s: %v", seen[what], what, seen)
		}
	}
}
