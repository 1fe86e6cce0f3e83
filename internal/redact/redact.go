// Package redact removes secrets from text that is printed, logged or reported, and recognizes
// values that can only be secrets.
package redact

import (
	"regexp"
	"strings"
)

// hidden replaces a secret in printed text.
const hidden = "***"

// minSecret is the minimum length in bytes of a secret that Text removes. Shorter secrets would
// match ordinary text.
const minSecret = 6

// Text removes user names, passwords and queries from URLs in text, and every occurrence of the
// given secrets.
func Text(text string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) >= minSecret {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	return URLs(text)
}

// URLs removes user names, passwords and queries from each URL in a text.
func URLs(text string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "://")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		end := strings.IndexAny(rest, " \t\r\n\"'`<>")
		if end < 0 {
			end = len(rest)
		}
		out.WriteString("://" + redactURL(rest[:end]))
		text = rest[end:]
	}
}

// redactURL removes the secrets from a URL. a is the part after "://".
func redactURL(a string) string {
	end := strings.IndexAny(a, "/?#")
	if end < 0 {
		end = len(a)
	}
	host := a[:end]
	_, port, _ := strings.Cut(host, ":")
	switch {
	case strings.Contains(host, "@"):
		a = hidden + a[strings.LastIndex(host, "@"):]
	case strings.Trim(port, "0123456789") != "" && strings.Contains(a, "@"):
		a = hidden + a[strings.LastIndex(a, "@"):] // the password contains a slash, so the host begins after the last "@"
	}
	if address, query, ok := strings.Cut(a, "?"); ok && query != "" {
		a = address + "?" + hidden
	}
	return a
}

// secretForms are patterns that match only secrets.
var secretForms = []*regexp.Regexp{
	regexp.MustCompile(`-----BEGIN |PRIVATE KEY|AGE-SECRET-KEY-|LS0tLS1CRUdJTi`), // LS0t... is "-----BEGIN" in base64
	regexp.MustCompile(`GSM49|hkiG9w0B|AwBQYDK2Vw|IBAAKC[A-Z]`),                  // object identifiers of keys, as base64 of DER
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ`),                            // matches a JSON Web Token
	regexp.MustCompile(`\b(gh[pousr]_|github_pat_|glpat-|xox[abp]-|hvs\.|AKIA)[A-Za-z0-9_-]{12,}`),
}

// encoded matches text that may be base64: 36 or more characters inside a value, or a whole value
// of 40 or more.
var encoded = regexp.MustCompile(`[A-Za-z0-9+_-]{36,}|^[A-Za-z0-9+][A-Za-z0-9+/]{39,}={0,2}$`)

// MaxName is the maximum length of a name, in bytes. It is the usual limit for paths, so a longer
// value must be a document.
const MaxName = 4096

// IsSecret reports whether a value looks like a key, a token or a document instead of a name.
func IsSecret(v string) bool {
	for _, form := range secretForms {
		if form.MatchString(v) {
			return true
		}
	}
	_, named, _ := strings.Cut(v, "=") // checks the part after "=" in values such as json=FILE
	if strings.ContainsAny(v, "\r\n") || len(v) > MaxName ||
		strings.HasPrefix(strings.TrimLeft(v, "- "), "{") || strings.HasPrefix(strings.TrimLeft(named, " "), "{") {
		return true
	}
	for _, run := range encoded.FindAllString(v, -1) {
		if isRandom(run) {
			return true
		}
	}
	return false
}

// isRandom reports whether a text looks like base64, and not like words or a hexadecimal digest. It
// counts how often the kind of character (upper case, lower case, digit) changes: about three times
// in five characters of base64, and less than twice in CamelCase words with numbers.
func isRandom(s string) bool {
	changes, kinds := 0, map[int]int{}
	last := -1
	for _, r := range s {
		kind := kindOf(r)
		kinds[kind]++
		if kind != last {
			changes++
		}
		last = kind
	}
	return kinds[upper] >= 5 && kinds[lower] >= 5 && kinds[digit] >= 2 && kinds[other] <= len(s)/10 && changes*100 >= len(s)*47
}

const (
	upper = iota
	lower
	digit
	other
)

func kindOf(r rune) int {
	switch {
	case r >= 'A' && r <= 'Z':
		return upper
	case r >= 'a' && r <= 'z':
		return lower
	case r >= '0' && r <= '9':
		return digit
	}
	return other
}
