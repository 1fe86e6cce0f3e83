package secrets

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The following functions and patterns decide by the name of a value whether the value may be a
// credential.

// wordsOf splits a name into lower-case words: the words of "deploy.dbPassword" are deploy, db and
// password.
func wordsOf(name string) []string {
	var out []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			out = append(out, strings.ToLower(word.String()))
			word.Reset()
		}
	}
	last := rune(0)
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			end()
		} else {
			if unicode.IsUpper(r) && unicode.IsLower(last) {
				end()
			}
			word.WriteRune(r)
		}
		last = r
	}
	end()
	return out
}

var (
	// confidentialWords matches the last word of a name that suggests a credential.
	confidentialWords = regexp.MustCompile(`^(?:\w*(?:password|passwd|passphrase)|pass|pwd|secret|token|credentials?|creds|(?:api|access|secret|private|encryption|master)key|(?:access|api|auth|bearer|refresh)token)$`)
	// keyOwners matches the word before a final "key" in a name that suggests a credential.
	keyOwners = regexp.MustCompile(`^(?:secret|api|access|private|encryption|master|auth|account|storage|session|jwt|hmac|cookie)$`)
	// publicWords matches words in a name whose value is public, such as a key ID, a fingerprint or
	// a checksum.
	publicWords = regexp.MustCompile(`^(?:\w*(?:gpg|pgp)\w*|gnupg|keyrings?|keyserver|sha|sha[0-9]+(?:sum)?s?|checksums?|digests?|fingerprints?|thumbprints?|md5(?:sum)?|commit|rev|revision|integrity|pubkeys?|public|publishable|keyids?)$`)
	// placeWords matches the last word of a name whose value is only the place or the kind of a
	// credential, such as the path of a key file.
	placeWords = regexp.MustCompile(`^(?:ids?|files?|paths?|dir|directory|folder|urls?|uris?|host|name|version|user|username|type|mode|alg|algorithm|ttl|size|length|count|enabled|format|ref|issuer|endpoint|port|region|location|prefix|header)$`)
)

// isConfidential reports whether a name suggests a credential, such as DB_PASSWORD.
func isConfidential(name string) bool {
	words := wordsOf(name)
	n := len(words)
	switch {
	case n == 0:
		return false
	case confidentialWords.MatchString(words[n-1]):
		return true
	case n > 2 && words[n-1] == "base" && words[n-2] == "key": // Rails calls this variable SECRET_KEY_BASE.
		return words[n-3] == "secret"
	case n > 1 && (words[n-1] == "key" || words[n-1] == "keys") && keyOwners.MatchString(words[n-2]):
		return !slices.Contains(words, "public") && !slices.Contains(words, "publishable")
	}
	return false
}

// isPublicName reports whether a random value with this name is expected to be public.
func isPublicName(name string) bool {
	words := wordsOf(name)
	return slices.ContainsFunc(words, publicWords.MatchString) || len(words) > 0 && placeWords.MatchString(words[len(words)-1])
}

// The following functions and patterns decide by a value itself whether it may be a credential.

var (
	hexadecimal = regexp.MustCompile(`^[0-9A-Fa-f-]+$`)
	// keyID matches the ID or the fingerprint of an OpenPGP key.
	keyID = regexp.MustCompile(`^(?:0x)?(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{40})$`)
	// publicForm matches public keys, certificates and checksums in the formats of OpenSSH, PEM,
	// minisign, age and subresource integrity.
	publicForm = regexp.MustCompile(`^(?:(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+(?: AAAA|$)|-----BEGIN (?:[A-Z0-9]+ )*(?:PUBLIC KEY|CERTIFICATE)|sha(?:1|256|384|512)[-:]|RW[A-Za-z0-9+/]{54}$|age1[a-z0-9]{58}$)`)
	// reference matches a value that only refers to another place, such as a variable, a command, a
	// template or a secret store.
	reference = regexp.MustCompile("^(?:\\$\\w+|\\$\\{[^}]*\\}|\\$\\(.*\\)|\\$\\{\\{.*\\}\\}|`.*`|%\\w+%|\\{\\{.*\\}\\}|<.*>|\\[[\\w -]+\\]|\\(\\(.*\\)\\)|#\\{.*\\}#?|__\\w+__|@{1,2}\\w+@{1,2}|vault:.*|(?:op|ssm|file|env|secret|secretref|keyvault|awssm|gcpsm)://.*|arn:aws.*|(?:id|type|src|source|env)=.*)$")
	// encrypted matches a value in an encrypted form, which only the owner of the decryption key
	// can read.
	encrypted = regexp.MustCompile(`^(?:ENC[\[(].*[\])]|\{cipher\}.*|\$ANSIBLE_VAULT;.*)$`)
	// defaulted matches a reference to a variable with a default value. isHarmless then checks the
	// default value.
	defaulted = regexp.MustCompile(`^\$\{\w+:?[-=]([^}]*)\}$`)
	localPath = regexp.MustCompile(`^(?:[A-Za-z]:\\|\.{0,2}/|~/)\S*$`)
	emptyWord = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|none|null|nil|undefined|unset|disabled|enabled|default|[0-9]{1,3})$`)
	standIn   = regexp.MustCompile(`change(?:me|it|this)|placeholder|example|redacted|dummy|replace(?:me|this|with)|notasecret|fillme|fillin|^(?:insert|enter|paste|put|add|type|set|use|your).*here$|^(?:insert|enter|put|add|set|use|my)?your|^not(?:set|used|needed|required|real)$`)
	filler    = regexp.MustCompile(`xxxx|XXXX`)
	// standInWords matches placeholders that are whole words.
	standInWords = regexp.MustCompile(`^(?:fake|sample|todo|tbd|fixme|unused|x{2,3})$`)
	userinfo     = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s@:]*:[^/\s@]+@`)
	tokens       = regexp.MustCompile(`[A-Za-z0-9+=]{24,}`)
)

// isHarmless reports whether a value is certainly not a credential, even if its name suggests one.
func isHarmless(name, value string) bool {
	value = strings.TrimSpace(unquoted(value))
	if m := defaulted.FindStringSubmatch(value); m != nil {
		return isHarmless(name, m[1])
	}
	switch {
	case value == "", emptyWord.MatchString(value), reference.MatchString(value), encrypted.MatchString(value), isPublicValue(value), isStandIn(value):
		return true
	case localPath.MatchString(value) && !hasRandom(value):
		return true
	}
	return compact(value) == compact(name)
}

// isStandIn reports whether a value is clearly a placeholder, such as changeme, placeholder or
// xxxx. Words such as "password" and "secret" are not placeholders, because they may be real but
// weak passwords.
func isStandIn(value string) bool {
	short := compact(value)
	if standIn.MatchString(short) || filler.MatchString(value) || slices.ContainsFunc(wordsOf(value), standInWords.MatchString) {
		return true
	}
	return strings.Trim(value, string([]rune(value + " ")[:1])) == "" // The value is one repeated character.
}

// compact returns only the letters and digits of s, in lower case.
func compact(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// isPublicValue reports whether a value has the form of a public value, such as a public key.
func isPublicValue(value string) bool { return publicForm.MatchString(value) }

// isKeyID reports whether a value is a list of OpenPGP key IDs.
func isKeyID(value string) bool {
	fields := strings.FieldsFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == ';' })
	return len(fields) > 0 && !slices.ContainsFunc(fields, func(f string) bool { return !keyID.MatchString(f) })
}

func unquoted(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

// isRandom reports whether a word has digits and letters of both cases, like a generated token.
// Hexadecimal words do not count as random, because commits, checksums and UUIDs are public.
func isRandom(word string) bool {
	if hexadecimal.MatchString(word) {
		return false
	}
	digits := strings.IndexFunc(word, unicode.IsDigit) >= 0
	upper := strings.IndexFunc(word, unicode.IsUpper) >= 0
	lower := strings.IndexFunc(word, unicode.IsLower) >= 0
	return digits && upper && lower
}

func hasRandom(text string) bool {
	return slices.ContainsFunc(tokens.FindAllString(text, -1), isRandom)
}

// The following patterns find credentials that gitleaks has no rules for.

const separator = `(?:\s|\\[nr])`

var (
	// privateKey matches the header of a private key with the first bytes of the key. So a command
	// that only searches for the header does not match.
	privateKey = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----` + separator + `*(?:[A-Z][A-Za-z-]+: [^\\\r\n]*` + separator + `+)*[A-Za-z0-9+/=]{16,}`)
	address    = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://([^/\s@:"'<>]*):([^/\s@"'<>]+)@`)
	mysql      = regexp.MustCompile(`(?:^|[\s"'=])([\w.-]+):([^\s@:/"']+)@(?:tcp|unix)\(`)
	auth       = regexp.MustCompile(`\\?"auth\\?"\s*:\s*\\?"([A-Za-z0-9+/_=-]{4,})\\?"`)
	authToken  = regexp.MustCompile(`\\?"(?:identitytoken|registrytoken)\\?"\s*:\s*\\?"([^"\\]{8,})`)
	base64Text = regexp.MustCompile(`[A-Za-z0-9+/_-]{40,}={0,2}`)
	code       = "*\\[]{}()|^" // characters of shell code and regular expressions, which passwords in URLs do not contain
)

// prefixed has the patterns of tokens that begin with a fixed prefix, by kind. gitleaks has rules
// of the same names, but they require an exact length and skip tokens that contain the alphabet.
var prefixed = map[string]*regexp.Regexp{
	"aws-access-token":        regexp.MustCompile(`\b(?:AKIA|ASIA)([A-Z0-9]{16})\b`),
	"github-pat":              regexp.MustCompile(`\bghp_([A-Za-z0-9]{36,})`),
	"github-oauth":            regexp.MustCompile(`\bgho_([A-Za-z0-9]{36,})`),
	"github-app-token":        regexp.MustCompile(`\bgh[us]_([A-Za-z0-9]{36,})`),
	"github-refresh-token":    regexp.MustCompile(`\bghr_([A-Za-z0-9]{36,})`),
	"github-fine-grained-pat": regexp.MustCompile(`\bgithub_pat_(\w{36,})`),
	"gitlab-pat":              regexp.MustCompile(`\bglpat-([\w-]{20,})`),
	"npm-access-token":        regexp.MustCompile(`\bnpm_([A-Za-z0-9]{36,})`),
	"slack-bot-token":         regexp.MustCompile(`\bxoxb-([\w-]{20,})`),
	"slack-user-token":        regexp.MustCompile(`\bxoxp-([\w-]{20,})`),
	"laravel-app-key":         regexp.MustCompile(`\bbase64:([A-Za-z0-9+/]{43}=)`),
	"docker-pat":              regexp.MustCompile(`\bdckr_pat_([\w-]{20,})`),
}

// minVariety is the minimum number of different characters in a real token.
const minVariety = 8

func byPrefix(text string) (kinds []string) {
	for kind, form := range prefixed {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			different := map[rune]bool{}
			for _, r := range m[1] {
				different[r] = true
			}
			if len(different) >= minVariety && !isStandIn(m[1]) {
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// byForm returns the kinds of credentials that the text contains, recognized by their form.
func byForm(text string) (kinds []string) {
	kinds = byPrefix(text)
	if privateKey.MatchString(text) {
		kinds = append(kinds, KindPrivateKey)
	}
	for _, m := range append(address.FindAllStringSubmatch(text, -1), mysql.FindAllStringSubmatch(text, -1)...) {
		if !strings.ContainsAny(m[1], code) && !isHarmlessUserinfo(m[1]+":"+m[2]) {
			kinds = append(kinds, KindURLPassword)
		}
	}
	for _, m := range auth.FindAllStringSubmatch(text, -1) {
		if plain, ok := decodeBase64(m[1]); ok && strings.Contains(plain, ":") && !isHarmlessUserinfo(plain) {
			kinds = append(kinds, KindRegistryAuth)
		}
	}
	for _, m := range authToken.FindAllStringSubmatch(text, -1) {
		if !isHarmless("", m[1]) {
			kinds = append(kinds, KindRegistryAuth)
		}
	}
	return kinds
}

// documented matches a user and a password that are common in documentation, such as
// "user:password".
var documented = regexp.MustCompile(`(?i)^['"]?(?:my)?(?:user|username|login|name):(?:my)?(?:pass|password|passwd|pwd|pw|secret|token)['"]?$`)

// isHarmlessUserinfo reports whether the password in "user:password" is clearly not a real
// password.
func isHarmlessUserinfo(s string) bool {
	s = unquoted(s)
	_, password, _ := strings.Cut(s, ":")
	return documented.MatchString(s) || strings.HasPrefix(password, "$") || strings.ContainsAny(password, "[]{}^\\|") || isHarmless("", password)
}

// decoded decodes the base64 strings in a text, and returns the readable ones.
func decoded(text string) (out []string) {
	for _, word := range base64Text.FindAllString(text, -1) {
		if plain, ok := decodeBase64(word); ok {
			out = append(out, plain)
		}
	}
	return out
}

func decodeBase64(s string) (string, bool) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	plain, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || !utf8.Valid(plain) {
		return "", false
	}
	isBinary := func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }
	return string(plain), strings.IndexFunc(string(plain), isBinary) < 0
}

// The following patterns find assignments inside a text.

var (
	assigned = regexp.MustCompile("(?:^|[\\s;&|(\"'`{,?/:\\\\])(?:-D|-{1,2})?([A-Za-z_][\\w.-]*)=(\"[^\"]*\"|'[^']*'|[^\\s;&|()<>\"'`]*)")
	inJSON   = regexp.MustCompile(`["']([A-Za-z_][\w.-]*)\\?["']\s*:\s*\\?["']([^"'\\]*)\\?["']`)
	inFlag   = regexp.MustCompile(`(?:^|\s)--(password|passphrase|token|secret|api-key|(?:access|auth|private)-token|client-secret)\s+("[^"]*"|'[^']*'|[^\s;&|()<>"'` + "`" + `-][^\s;&|()<>"'` + "`" + `]*)`)
)

// spoken matches commands that take a password as an argument or on standard input.
var spoken = []*regexp.Regexp{
	regexp.MustCompile(`\bmachine\s+\S+\s+login\s+\S+\s+password\s+([^\s"'\\]+)`), // a line of .netrc
	regexp.MustCompile(`[\s"'][\w.-]+:([^\s"':|]+)["']?\s*\|\s*(?:sudo\s+)?chpasswd\b`),
	regexp.MustCompile(`\blogin\s[^|;&]*-p\s+["']?([^\s"';|&-][^\s"';|&]*)`),
	regexp.MustCompile(`\bsshpass\s+-p\s*["']?([^\s"';|&]+)`),
}

// namedIn reports whether a text assigns a value to a confidential name (NAME=value, "name":
// "value" or --name value) or passes a password to a command.
func namedIn(text string) bool {
	for _, form := range []*regexp.Regexp{assigned, inJSON, inFlag} {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			value := unquoted(m[2])
			if isConfidential(m[1]) && !strings.ContainsAny(value, code) && !isHarmless(m[1], value) {
				return true
			}
		}
	}
	return slices.ContainsFunc(spoken, func(form *regexp.Regexp) bool {
		return slices.ContainsFunc(form.FindAllStringSubmatch(text, -1), func(m []string) bool {
			return !strings.ContainsAny(m[1], code) && !isHarmless("", m[1])
		})
	})
}
