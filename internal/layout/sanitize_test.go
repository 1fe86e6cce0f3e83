package layout

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSanitize(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "registry.example/app:1.2@sha256:00 (ok)", "registry.example/app:1.2@sha256:00 (ok)"},
		{"other scripts", "größe 日本 ✓", "größe 日本 ✓"},
		{"color", "a\x1b[31mb", `a\x1b[31mb`},
		{"title", "\x1b]0;t\x07", `\x1b]0;t\a`},
		{"C1 introducer", "\u009b31m", `\u009b31m`},
		{"lines", "a\r\nb\tc\vd\fe\x00", `a\r\nb\tc\vd\fe\x00`},
		{"backspace", "ok\b\bno\x7f", `ok\b\bno\x7f`},
		{"bidi override", "\u202egnp.exe\u2066x\u2069", `\u202egnp.exe\u2066x\u2069`},
		{"invisible", "a\u200bb\u00adc\ufeffd\U000e0041e", `a\u200bb\u00adc\ufeffd\U000e0041e`},
		{"line separators", "a\u2028b\u2029c\u0085d", `a\u2028b\u2029c\u0085d`},
		{"wide spaces", "a\u00a0b\u3000c", `a\u00a0b\u3000c`},
		{"invalid UTF-8", "a\xff\xc0\xafb", `a\xff\xc0\xafb`},
		{"surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"GitHub command", "::error::x", `\x3a:error::x`},
		{"GitHub command behind spaces", "a  ::set-output name=a::b", `a  \x3a:set-output name=a::b`},
		{"GitHub command behind a wide space", "\u00a0::error::", `\u00a0::error::`},
		{"not a command", "Foo::Bar std::io", "Foo::Bar std::io"},
		{"old GitHub command", "a##[add-mask]b", `a\x23#[add-mask]b`},
		{"Azure command", "###vso[x]", `\x23\x23#vso[x]`},
		{"stacked marks", "e" + strings.Repeat("\u0301", 5) + "f\u0301", "e" + strings.Repeat("\u0301", 3) + `\u0301\u0301` + "f\u0301"},
		{"empty", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Sanitize(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSanitizeIsBounded(t *testing.T) {
	for _, in := range []string{"a", "ä", "\x1b", "##", "日"} {
		exact := strings.Repeat("a", maxText)
		if got := Sanitize(exact); got != exact {
			t.Errorf("a text of exactly the bound was changed")
		}
		got := Sanitize(strings.Repeat(in, 10*maxText))
		if n := utf8.RuneCountInString(got); n > maxText || n < maxText-20 || !strings.HasSuffix(got, ellipsis) {
			t.Errorf("%q repeated: %d characters, ending in %q", in, n, got[len(got)-5:])
		}
	}
}

func TestErrorTextKeepsItsLines(t *testing.T) {
	got := Lines("one\x1b[0m\r\n\n  ::two\n##three\n")
	want := []string{`one\x1b[0m`, `\x3a:two`, `\x23#three`}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(Lines(strings.Repeat("x\n", 10000))); n > 51 {
		t.Errorf("%d lines", n)
	}
}

func FuzzSanitize(f *testing.F) {
	for _, s := range []string{"", "a", "\x1b[31m", "::error::", "a ::b", "###", "\u202e", "\xff", "e\u0301\u0301\u0301\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Sanitize(s)
		checkSafe(t, got)
		if strings.Contains(got, "\n") {
			t.Errorf("a line break in %q", got)
		}
		if utf8.RuneCountInString(got) > maxText {
			t.Errorf("%d characters", utf8.RuneCountInString(got))
		}
		if again := Sanitize(got); again != got {
			t.Errorf("sanitised twice: %q, then %q", got, again)
		}
		if isPlain(s) && len(s) <= maxText && got != s {
			t.Errorf("plain text %q became %q", s, got)
		}
	})
}

// isPlain reports whether text is ASCII and Sanitize need not change it.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '#' || c == ':' {
			return false
		}
	}
	return true
}
