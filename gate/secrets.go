package gate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/zricethezav/gitleaks/v8/detect"

	"github.com/imagegate/imagegate/policy"
)

// secrets finds credentials in short texts, by gitleaks' rules for what the
// credentials of well-known services look like, and by the names of variables.
type secrets struct {
	mu       sync.Mutex // a detector is for one text at a time
	detector *detect.Detector
}

// loadSecrets compiles the rules once; that takes some 40 ms.
var loadSecrets = sync.OnceValues(func() (*secrets, error) {
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		return nil, fmt.Errorf("compiling the rules for secrets: %w", err)
	}
	// A comment inside an image is no reason to look away.
	d.IgnoreGitleaksAllow = true
	return &secrets{detector: d}, nil
})

// kinds returns which kinds of credentials a text holds, sorted, each once.
func (s *secrets) kinds(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, f := range s.detector.DetectString(text) {
		if f.RuleID == guess && published.MatchString(text) {
			continue
		}
		out = append(out, f.RuleID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// guess is gitleaks' rule for what is long, random, and called a key.
const guess = "generic-api-key"

// published are the names under which images of languages and servers keep the
// fingerprints and checksums of what they have downloaded; those are random to
// look at and meant for everybody.
var published = regexp.MustCompile(`(?i)^[A-Z0-9_]*(?:GPG_?KEYS?|FINGERPRINTS?|SHA(?:1|224|256|384|512)(?:SUM)?|CHECKSUM|DIGEST|MD5)[A-Z0-9_]*=[0-9A-Fa-f :,]+$`)

// variable returns the kinds of credentials in NAME=value.
func (s *secrets) variable(assignment string) []string {
	out := s.kinds(assignment)
	name, value, _ := strings.Cut(assignment, "=")
	if len(out) == 0 && confidential.MatchString(name) && !harmless.MatchString(value) {
		out = []string{"confidential-variable"}
	}
	return out
}

var (
	// confidential are names whose values nobody else should know.
	confidential = regexp.MustCompile(`(?i)(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|SECRET_KEY|API_?KEY|ACCESS_KEY|PRIVATE_KEY|(?:AUTH|ACCESS|REFRESH|API|BEARER)_TOKEN|TOKEN|CREDENTIALS?)$`)
	// harmless values name a place, refer to another variable, or say nothing.
	harmless = regexp.MustCompile(`^(?:|/\S*|\$\{?\w+\}?|(?i:true|false|yes|no|none|null|changeme|[0-9]{1,3}))$`)
)

// inConfig finds the credentials in an image's configuration. What it returns
// says where each is, never what it is.
func (s *secrets) inConfig(env []string, labels map[string]string, history []string) []policy.Secret {
	out := []policy.Secret{}
	add := func(kinds []string, where string) {
		for _, kind := range kinds {
			out = append(out, policy.Secret{Where: where, Kind: kind})
		}
	}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		add(s.variable(e), "environment variable "+s.public(name))
	}
	for _, key := range sortedKeys(labels) {
		add(s.kinds(key+"="+labels[key]), "label "+key)
	}
	for i, command := range history {
		add(s.kinds(command), fmt.Sprintf("step %d of the history", i+1))
	}
	return out
}

// sensitive reports whether the value of a label must not be shown. It errs on the side of hiding:
// nothing is denied for it.
func (s *secrets) sensitive(name, value string) bool {
	if harmless.MatchString(value) {
		return false
	}
	return confidentialLabel.MatchString(name) || userinfo.MatchString(value) || privateKey.MatchString(value) ||
		len(s.kinds(name+"="+value)) > 0 || slices.ContainsFunc(tokens.FindAllString(value, -1), random)
}

var (
	// confidentialLabel are names of labels such as "deploy.token" and "com.example.db-password".
	confidentialLabel = regexp.MustCompile(`(?i)(?:^|[._/-])(?:pass|passwd|password|passphrase|pwd|secrets?|tokens?|credentials?|auth|api[._-]?keys?|(?:access|private|secret|signing|encryption)[._-]?keys?)$`)
	// userinfo is a password in a URL.
	userinfo    = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s@:]*:[^/\s@]+@`)
	privateKey  = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`)
	tokens      = regexp.MustCompile(`[A-Za-z0-9+=]{24,}`)
	hexadecimal = regexp.MustCompile(`^[0-9A-Fa-f-]+$`)
)

// random reports whether a word is long and mixed, as generated tokens are. Commits, checksums and
// UUIDs are public.
func random(word string) bool {
	if hexadecimal.MatchString(word) {
		return false
	}
	digits := strings.IndexFunc(word, unicode.IsDigit) >= 0
	upper := strings.IndexFunc(word, unicode.IsUpper) >= 0
	lower := strings.IndexFunc(word, unicode.IsLower) >= 0
	return digits && upper && lower
}

// hidden returns the names of the labels whose values must not be shown, sorted; nil for none.
func (s *secrets) hidden(labels map[string]string) (names []string) {
	for _, name := range sortedKeys(labels) {
		if s.sensitive(name, labels[name]) {
			names = append(names, name)
		}
	}
	return names
}

// public returns a text from an image, or what stands for it if it looks like a credential.
func (s *secrets) public(text string) string {
	if userinfo.MatchString(text) || len(s.kinds(text)) > 0 || slices.ContainsFunc(tokens.FindAllString(text, -1), random) {
		return policy.HiddenValue
	}
	return text
}
