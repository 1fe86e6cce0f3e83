package formats

import (
	"reflect"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// corpus has texts that an image, a registry or a database could use against a reader of a report.
var corpus = []string{
	"::error file=a::b", "a\r\n::set-output name=a::b\n::add-mask::c", " ::stop-commands::x",
	"##vso[task.setvariable variable=a]b", "##[error]a", "###vso[x]",
	"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u009b31mred", "a\b\b\x7f",
	"![x](https://evil.example/beacon.png)", "![x][y]", "[y]: https://evil.example/beacon.png", "[click](javascript:alert(1))", "!\\[x](https://evil.example)",
	"<img src=https://evil.example/beacon.png>", "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<!-- a", "]]><x/>", "&lt;img&gt;", `" onload="alert(1)`,
	"=HYPERLINK(\"https://evil.example\")", "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1+1", "\r=1+1", " =1+1", "\uff1d1+1", `"=1+1`,
	"a\x00b\x0bc\x1fd\ufffe\uffff", "\u202egnp.exe\u2066x\u2069", "a\u200bb\u00adc\ufeff", "\xff\xfe\xc0\xaf", "\xed\xa0\x80",
	"a|b||c", "`a` ``b``", "```\n# heading\n```", "~~~", "@everyone and @org/team", "#1 and org/repo#2", "{0} {{1}} $(id) `id` %0A", "https://evil.example/", "www.evil.example",
	"*a* _b_ ~~c~~ \\", "# heading", "> quote", "- list", "1. list", "---", "| a | b |", "..", "../../../etc/passwd", "", " ", "e" + strings.Repeat("\u0301", 20),
}

// longName is as long as a manifest allows a name to be, and more.
var longName = strings.Repeat("long name ", 1<<20/10)

// hostileReport is a denied report with a problem of each status for each text of the corpus.
func hostileReport() report.Report {
	r := report.Report{Tool: report.Tool{Name: "imagegate", Version: "v0.1.0"}, Command: "check", Started: now, Finished: now, Input: image("linux/amd64"),
		Decision: &policy.Decision{}, Destinations: []report.Destination{}}
	for _, s := range append([]string{longName}, corpus...) {
		f := finding(s, evidence.SeverityHigh, s, s, s)
		f.Aliases, f.Description, f.URL, f.Package.PURL = []string{s}, s, s, s
		f.Package.Found = []evidence.Location{{Path: s}}
		v := policy.Violation{Kind: policy.KindVulnerability, Rule: s, Position: policy.Position{File: s, Line: 1}, Platform: s, Message: s, Finding: &f}
		other := policy.Violation{Kind: policy.KindPackage, Rule: s, Platform: s, Message: s, Package: &f.Package}
		r.Decision.Violations = append(r.Decision.Violations, v, other)
		r.Decision.Warnings = append(r.Decision.Warnings, v, other)
		r.Decision.Excepted = append(r.Decision.Excepted, policy.Excepted{Violation: v, Exception: policy.Exception{Reason: s, Owner: s, Expires: now.Add(time.Hour)}})
		r.Decision.NotAffected = append(r.Decision.NotAffected, policy.NotAffected{Violation: v,
			Statement: evidence.VEXStatement{ID: s, Status: evidence.VEXNotAffected, Justification: s, Impact: s, Author: s, Document: s}})
	}
	r.Cautions = corpus
	return r
}

// everywhere returns a report with the text in every field that can have it.
func everywhere(text string) report.Report {
	var r report.Report
	fill(reflect.ValueOf(&r).Elem(), text)
	r.Schema, r.Decision.Passed = report.Schema, false
	r.Error.Class = report.ClassRegistry
	r.Tool.Components = map[string]string{"syft": text}
	for i := range r.Destinations {
		r.Destinations[i].State = report.Promoted
	}
	return r
}

func fill(v reflect.Value, text string) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(now))
		return
	case evidence.Severity:
		v.Set(reflect.ValueOf(evidence.SeverityHigh))
		return
	case evidence.FixState:
		v.Set(reflect.ValueOf(evidence.FixAvailable))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text)
	}
}
