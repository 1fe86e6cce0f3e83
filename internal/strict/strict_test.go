package strict

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// read parses data as a mapping with these fields, and returns the problems in the form
// line:column: message.
func read(data string, fields func(d *Decoder) []Field) []string {
	d := NewDecoder("f.yaml", ": write something")
	if root := d.Document([]byte(data)); root != nil {
		d.Mapping(root, "the file", fields(d)...)
	}
	var out []string
	for _, p := range d.Problems() {
		out = append(out, fmt.Sprintf("%d:%d: %s", p.Position.Line, p.Position.Column, p.Message))
		if p.Position.File != "f.yaml" {
			out = append(out, "a problem without a file")
		}
	}
	return out
}

func TestValues(t *testing.T) {
	var (
		name, notes string
		list        []string
		number      float64
		count, size int
		on          bool
		age         time.Duration
		day         time.Time
	)
	got := read("version: 1\nname: ' a '\nnotes: \"b\\nc\"\nlist: [d, e]\nnumber: 0.5\ncount: 0\nsize: 3\non: true\nage: 1w2d3h\nday: 2026-06-15\n", func(d *Decoder) []Field {
		return []Field{
			Mandatory("version", d.Version(1)), Mandatory("name", d.Unique(&name, "file", map[string]int{})), Optional("notes", d.Prose(&notes)),
			Optional("list", d.Texts(&list, func(string) error { return nil }, "list one")), Optional("number", d.Number(&number, 1)),
			Optional("count", d.Count(&count)), Optional("size", d.Positive(&size)), Optional("on", d.Yes(&on)),
			Optional("age", d.Duration(&age)), Optional("day", d.Date(&day)), Optional("absent", d.Text(&name)),
		}
	})
	if len(got) != 0 {
		t.Errorf("problems: %q", got)
	}
	want := "a b\nc [d e] 0.5 0 3 true 219h0m0s 2026-06-15 00:00:00 +0000 UTC"
	if got := fmt.Sprint(name, " ", notes, " ", list, " ", number, " ", count, " ", size, " ", on, " ", age, " ", day); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestNothingIsIgnored checks that every violation of the strict format is reported with a
// position, and that all problems are reported together.
func TestNothingIsIgnored(t *testing.T) {
	for data, want := range map[string][]string{
		"":                                     {"1:1: the file is empty: write something"},
		"# nothing\n":                          {"1:1: the file is empty: write something"},
		"a: 1\xff":                             {"1:5: the file is not UTF-8 text"},
		"[]":                                   {"1:1: the file is a list: expected a mapping"},
		"version: 1\nname: a\n---\nb: 1\n":     {"3:1: a second document: expected one document in a file"},
		"version: 2\nname: a\n":                {`1:10: "version": version 2 is not supported: expected 1`},
		"version: 1\n":                         {`1:1: the file has no "name", which is mandatory`},
		"version: 1\nnmae: a\nname: a\n":       {`2:1: unknown key "nmae" in the file: expected one of version, name, names`},
		"version: 1\nname: a\nname: b\n":       {`3:1: duplicate key "name", first on line 2`},
		"version: 1\nname: 1\n":                {`2:7: "name" is a number: expected text in quotes`},
		"version: 1\nname: ' '\n":              {`2:7: "name": is blank`},
		"version: 1\nname: &x a\n":             {`2:7: anchor "x": anchors and aliases are not allowed, write the value out`},
		"version: 1\nname: !!str a\n":          {`2:7: tag "!!str": tags are not allowed`},
		"version: 1\nname: a\nnames: [b, b]\n": {`3:12: another name on line 3 is named "b"`},
		"version: 010\nname:\n": {`1:10: "version": "010" is not a plain whole number, zero or more`,
			`2:6: "name" is empty: expected text`},
		"version: 1\nname: a\nnames: []\n": {`3:8: "names" is empty: list one`},
	} {
		got := read(data, func(d *Decoder) []Field {
			var name, another string
			lines := map[string]int{}
			return []Field{
				Mandatory("version", d.Version(1)), Mandatory("name", d.Text(&name)),
				Optional("names", func(key, value *yaml.Node) {
					d.NotEmpty(d.List(2, func(n *yaml.Node) { another = ""; d.Unique(&another, "name", lines)(key, n) }), "list one")(key, value)
				}),
			}
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", data, diff)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	data := "a: [" + strings.Repeat("b, ", 3000) + "b]\n"
	got := read(data, func(d *Decoder) []Field {
		return []Field{Optional("a", d.List(MaxItems, func(n *yaml.Node) { d.Problem(n, "no") }))}
	})
	if len(got) != maxProblems+1 || !strings.HasSuffix(got[maxProblems], ": 2001 more problems from here on") {
		t.Errorf("%d problems, the last is %q", len(got), got[len(got)-1])
	}
	if !slices.Contains(got, "1:5: no") {
		t.Error("the first problem is not there")
	}
}

func TestExactlyOneKey(t *testing.T) {
	for data, want := range map[string][]string{
		"a: 1":       nil,
		"a: 1\nb: 1": {"1:1: the file has 2 of the keys a, b: expected exactly one"},
		"c: 1":       {"1:1: the file has 0 of the keys a, b: expected exactly one"},
	} {
		got := read(data, func(d *Decoder) []Field {
			var n int
			return []Field{Optional("a", d.Count(&n)), Optional("b", d.Count(&n)), Optional("c", func(_, value *yaml.Node) {})}
		})
		if want != nil {
			d := NewDecoder("f.yaml", "")
			d.ExactlyOne(d.Document([]byte(data)), "the file", "a", "b")
			got = append(got, fmt.Sprintf("1:1: %s", d.Problems()[0].Message))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", data, diff)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const h = time.Hour
	for s, want := range map[string]time.Duration{
		"5d": 120 * h, "1w": 168 * h, "1w2d12h": 228 * h, "36h": 36 * h, "90m": 90 * time.Minute, "1d1ns": 24*h + 1, "1.5h": 90 * time.Minute,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "5", "d", "1.5d", "-5d", "5d-1h", "5d+1h", "5d0", "0", "0d", "0w0d", "-1h", "1d1w", "5d 1h", "5D", "12345d",
		"9999w9999d2562047h", "9223372036854775808ns", "1d\n", "1e3h", "1d9223372036854775807ns",
	} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v", s, got)
		}
	}
}
