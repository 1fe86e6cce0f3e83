// Package hostile has texts and reports that attack a reader of a report. The texts could come from an
// image, a registry or a database. Tests write them in every format.
package hostile

import (
	"reflect"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Texts has texts that an image, a registry or a database could use to attack a reader of a
// report.
var Texts = []string{
	"::error file=a::b", "a\r\n::set-output name=a::b\n::add-mask::c", " ::stop-commands::x",
	"##vso[task.setvariable variable=a]b", "##[error]a", "###vso[x]",
	"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u009b31mred", "a\b\b\x7f",
	"![x](https://evil.example/beacon.png)", "![x][y]", "[y]: https://evil.example/beacon.png", "[click](javascript:alert(1))", "!\\[x](https://evil.example)",
	"<img src=https://evil.example/beacon.png>", "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<!-- a", "]]><x/>", "&lt;img&gt;", `" onload="alert(1)`,
	"=HYPERLINK(\"https://evil.example\")", "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1+1", "\r=1+1", " =1+1", "\uff1d1+1", `"=1+1`, "a;=cmd|' /C calc'!A0;", "a; \"+1+1",
	"a\x00b\x0bc\x1fd\ufffe\uffff", "\u202egnp.exe\u2066x\u2069", "a\u200bb\u00adc\ufeff", "\xff\xfe\xc0\xaf", "\xed\xa0\x80",
	"a|b||c", "`a` ``b``", "```\n# heading\n```", "~~~", "@everyone and @org/team", "#1 and org/repo#2", "{0} {{1}} $(id) `id` %0A", "https://evil.example/", "www.evil.example",
	"*a* _b_ ~~c~~ \\", "# heading", "> quote", "- list", "1. list", "---", "| a | b |", "..", "../../../etc/passwd", "", " ", "e" + strings.Repeat("\u0301", 20),
}

// Report returns a denied report of a failed run with the text in every field that can have it, and
// now in every field with a time.
func Report(text string, now time.Time) report.Report {
	var r report.Report
	fill(reflect.ValueOf(&r).Elem(), text, now)
	r.Schema, r.Decision.Passed = report.Schema, false
	r.Error.Class = report.ClassRegistry
	r.Tool.Components = map[string]string{"syft": text}
	for i := range r.Destinations {
		r.Destinations[i].State = report.Promoted
	}
	return r
}

func fill(v reflect.Value, text string, now time.Time) {
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
		fill(v.Elem(), text, now)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, now)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text, now)
	}
}
