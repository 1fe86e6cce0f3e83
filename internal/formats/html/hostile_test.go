package html

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imagegate/imagegate/policy/evidence"

	"golang.org/x/net/html"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

// hostiles are texts that try to end elements, attributes and scripts, to reorder lines or to break
// parsers.
var hostiles = []string{
	`</script><script>alert(1)</script>`, `<!--<script>`, `]]></style><img src=x onerror=alert(1)>`, `" onmouseover="alert(1)`, `' autofocus onfocus='alert(1)`,
	"javascript:alert(1)", "{{.}}", "`${alert(1)}`", "a\u202eb\u2066c\u200f\u061c", "line\u2028line\u2029\n\r", "\x00\x1b[31m\x7f\u0085", "\xff\xfe", "&lt;b&gt;&#60;",
	"\ufffd\u200b\ufeff", "a" + strings.Repeat("\u0301", 50),
}

// fill sets every field of v, recursively, and puts a hostile text into each string.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 1, 0, 0, *n, 0, time.UTC)))
		return
	case evidence.Severity:
		v.Set(reflect.ValueOf(evidence.Severity(*n % 6)))
		return
	case evidence.FixState:
		v.Set(reflect.ValueOf(evidence.FixAvailable))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s %d", hostiles[*n%len(hostiles)], *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n % 2)) // also valid as an index
	case reflect.Float64:
		v.SetFloat(float64(*n) / 7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	}
}

// outline counts the elements of a page, each by its name and the names of its attributes. It fails
// the test if anything in the page could run.
func outline(t *testing.T, page string) (elements map[string]int) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	elements = map[string]int{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		elements[n.Data]++
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.TrimSpace(strings.ToLower(a.Val)), "javascript:") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "https://") && !strings.HasPrefix(a.Val, "http://") && n.Data != "link" {
				t.Errorf("<%s href=%q>", n.Data, a.Val)
			}
		}
	}
	return elements
}

func TestHostileTextInEveryFieldStaysText(t *testing.T) {
	for start := range hostiles {
		var r report.Report
		n := start
		fill(reflect.ValueOf(&r).Elem(), &n)
		r.Schema, r.Override = report.Schema, nil
		for _, passed := range []bool{false, true} {
			if r.Decision.Passed = passed; passed {
				r.Decision.Violations = nil
			}
			page := render(t, r)
			elements := outline(t, page)
			if elements["script"] != 2 || elements["style"] != 1 || elements["img"]+elements["iframe"]+elements["form"]+elements["base"]+elements["object"] > 0 {
				t.Errorf("start %d: the page has the elements %v", start, elements)
			}
			checkVisible(t, page)
			rows(t, page)
		}
	}
}

// checkVisible checks that a page has no character that is invisible or reorders text.
func checkVisible(t *testing.T, page string) {
	t.Helper()
	if !utf8.ValidString(page) {
		t.Error("the page is not valid UTF-8")
	}
	for _, r := range page {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("the page has the character %U", r)
			return
		}
	}
}

func TestVisible(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"}, {"", ""}, {"a b", "a b"}, {"a\u202eb", `a\u202eb`}, {"\x1b[31m", `\x1b[31m`}, {"a\x00", `a\x00`}, {"\xff", `\xff`}, {"\ufffd", "\ufffd"},
		{"a\u00a0b", `a\u00a0b`}, {"é ü 漢字", "é ü 漢字"}, {"שלום", "שלום"}, {"<b>", "<b>"}, {"a" + strings.Repeat("\u0301", 4), "a\u0301\u0301\u0301" + `\u0301`},
		{strings.Repeat("é", 11), strings.Repeat("é", 10) + "… [cut: 22 bytes in total]"}, {strings.Repeat("é", 10), strings.Repeat("é", 10)},
	} {
		if got := visible(c.in, 10); got != c.want {
			t.Errorf("visible(%q) = %q: want %q", c.in, got, c.want)
		}
	}
}

func TestLongTextsAreCutWithANote(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	r := report.Report{Schema: report.Schema, Decision: &policy.Decision{}}
	for range 3 {
		r.Decision.Violations = append(r.Decision.Violations, policy.Violation{Kind: policy.KindVulnerability, Rule: long, Message: long,
			Finding: &evidence.Finding{ID: long, Description: long, Package: evidence.Package{Name: long, Version: long, Type: long, PURL: long, Found: []evidence.Location{{Path: long}}}}})
	}
	page := render(t, r)
	if limit := 1 << 20; len(page) > limit {
		t.Errorf("the page has %d bytes: want at most %d", len(page), limit)
	}
	if !strings.Contains(page, "… [cut: 1048576 bytes in total]") {
		t.Error("the page does not say that texts are cut")
	}
}

func TestLinksAreOfTheWeb(t *testing.T) {
	for in, want := range map[string]string{
		"https://nvd.nist.gov/vuln/detail/CVE-1": "https://nvd.nist.gov/vuln/detail/CVE-1", "http://a.example/": "http://a.example/",
		"javascript:alert(1)": "", "JAVASCRIPT:alert(1)": "", "data:text/html,x": "", "//a.example": "", "https://": "", "https://user:pass@a.example/": "", "file:///etc/passwd": "", "": "",
		"https://a.example/" + strings.Repeat("x", 2000): "",
	} {
		if got := link(in); got != want {
			t.Errorf("link(%q) = %q: want %q", in, got, want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range hostiles {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := visible(s, 50)
		checkVisible(t, got)
		if n := utf8.RuneCountInString(got); n > 50*10+40 {
			t.Errorf("%d characters", n)
		}
	})
}
