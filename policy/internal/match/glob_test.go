package match

import (
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "A", false}, {"a", "ab", false}, {"a", "", false},
		{"*", "", true}, {"*", "anything/at:all", true}, {"**", "", true}, {"***", "a", true},
		{"a*", "a", true}, {"a*", "abc", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"a*a", "aba", true}, {"ab*ba", "aba", false},
		{"a*b*c", "abc", true}, {"a*b*c", "axxbyyc", true}, {"a*b*c", "acb", false}, {"a*bc*c", "abc", false},
		{"a**b", "ab", true}, {"*ab*ab*", "ab", false}, {"*ab*ab*", "abab", true},
		{"registry.example/team/*", "registry.example/team/app", true},
		{"registry.example/team/*", "registry.example/team/", true},
		{"registry.example/team/*", "registry.example/team", false},
		{"registry.example/team/*", "registry.example.evil/team/app", false},
		{"a.c", "abc", false}, {"[a]", "a", false}, {"a?", "ab", false},
	} {
		if got := NewGlob(tt.pattern).Match(tt.text); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.text, got)
		}
	}
}

func TestPURLPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, purl string
		want          bool
	}{
		{"", "", true},
		{"", "pkg:npm/x@1", true},
		{"*", "pkg:npm/@a/x@1?b=c#d", true},
		{"pkg:npm/lodash", "pkg:npm/lodash@4.17.20", true},
		{"pkg:npm/lodash", "pkg:npm/lodash", true},
		{"pkg:npm/lodash", "pkg:npm/lodash-es@4.17.20", false},
		{"pkg:npm/lodash", "pkg:npm/Lodash@4.17.20", false},
		{"pkg:npm/lodash", "", false},
		{"pkg:npm/lodash@*", "pkg:npm/lodash@4.17.20", true},
		{"pkg:npm/lodash@*", "pkg:npm/lodash", false},
		{"pkg:npm/lodash@*", "pkg:npm/lodash-es@1", false},
		{"pkg:npm/lodash@4.17.2", "pkg:npm/lodash@4.17.20", false},
		{"pkg:npm/lodash@4.17.*", "pkg:npm/lodash@4.17.20", true},
		{"pkg:npm/lodash@4.17.*", "pkg:npm/lodash@4.18.0", false},
		{"pkg:npm/lodash@4.17.20", "pkg:npm/lodash@4.17.20?vcs_url=x", true},
		{"pkg:npm/@scope/x", "pkg:npm/%40scope/x@1", true},
		{"pkg:npm/%40scope/x", "pkg:npm/@scope/x@1", true},
		{"pkg:npm/%40scope/x@1", "pkg:npm/%40scope/x@1", true},
		{"pkg:npm/@scope/x@1", "pkg:npm/%40scope/x@2", false},
		{"pkg:npm/@scope/*", "pkg:npm/%40scope/x@1", true},
		{"pkg:npm/@scope/*", "pkg:npm/%40scope2/x@1", false},
		{"pkg:npm/@*", "pkg:npm/%40scope/x@1", true},
		{"pkg:npm/*@1", "pkg:npm/%40scope/x@1", true},
		{"pkg:npm/*@1", "pkg:npm/%40scope/x@2", false},
		{"pkg:npm/a*1", "pkg:npm/abc@1", false}, // the star in the name must not match across the version
		{"pkg:deb/debian/openssl", "pkg:deb/debian/openssl@3.0.11-1~deb12u2?arch=amd64&distro=debian-12", true},
		{"pkg:deb/debian/openssl?distro=debian-12", "pkg:deb/debian/openssl@3.0.11?arch=amd64&distro=debian-12", true},
		{"pkg:deb/debian/openssl?distro=debian-11", "pkg:deb/debian/openssl@3.0.11?arch=amd64&distro=debian-12", false},
		{"pkg:deb/debian/openssl?distro=debian-*&arch=amd64", "pkg:deb/debian/openssl@3?arch=amd64&distro=debian-12", true},
		{"pkg:deb/debian/openssl?upstream=x", "pkg:deb/debian/openssl@3.0.11?arch=amd64", false},
		{"pkg:deb/debian/libstdc++6@1:2.0+b1", "pkg:deb/debian/libstdc%2B%2B6@1%3A2.0%2Bb1?arch=amd64", true},
		{"pkg:golang/example.com/m#sub", "pkg:golang/example.com/m@v1#sub", true},
		{"pkg:golang/example.com/m#sub", "pkg:golang/example.com/m@v1", false},
		{"pkg:golang/example.com/m@v1", "pkg:golang/example.com/m@v1#sub", true},
		{"pkg:generic/%2A", "pkg:generic/anything", false},
		{"pkg:generic/%2a", "pkg:generic/%2A@1", true},
		{"pkg:generic/%252A", "pkg:generic/%2A", false},
		{"pkg:generic/%25", "pkg:generic/%25@1", true},
		{"pkg:generic/100%", "pkg:generic/100%@1", true},
		{"pkg:generic/x@", "pkg:generic/x@1", false},
	} {
		if got := NewPURLPattern(tt.pattern).Match(SplitPURL(tt.purl)); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.purl, got)
		}
	}
}

// reference is a slow matcher that implements the definition of a pattern literally.
func reference(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return reference(pattern[1:], s) || s != "" && reference(pattern, s[1:])
	}
	return s != "" && s[0] == pattern[0] && reference(pattern[1:], s[1:])
}

// TestGlobIsItsDefinition checks that Glob and reference give the same result for every short
// pattern and text over a small alphabet.
func TestGlobIsItsDefinition(t *testing.T) {
	var words func(alphabet string, length int) []string
	words = func(alphabet string, length int) []string {
		out := []string{""}
		if length > 0 {
			for _, w := range words(alphabet, length-1) {
				for _, c := range alphabet {
					out = append(out, w+string(c))
				}
			}
		}
		return out
	}
	texts := words("ab", 6)
	for _, pattern := range words("ab*", 5) {
		g := NewGlob(pattern)
		for _, text := range texts {
			if got, want := g.Match(text), reference(pattern, text); got != want {
				t.Fatalf("%q matches %q: %v", pattern, text, got)
			}
		}
	}
}

// TestGlobIsLinear matches a pattern and a text that would keep a matcher with backtracking busy
// forever.
func TestGlobIsLinear(t *testing.T) {
	if NewGlob(strings.Repeat("*a", 5_000) + "*b").Match(strings.Repeat("a", 1_000_000)) {
		t.Error("matches")
	}
}
