// Package secrets finds credentials in the configuration of an image: variables, labels and
// history. [New] returns a [Detector], and [Detector.Find] checks a whole configuration.
//
// The rules of gitleaks recognize well-known credentials by their form. This package adds forms
// that gitleaks lacks, and names that suggest credentials. It ignores values that are public or
// placeholders. It treats NAME=value the same in every place, and never returns a value.
package secrets

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/zricethezav/gitleaks/v8/detect"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Kinds of credentials that have no rule in gitleaks. All other kinds are names of gitleaks rules,
// such as "github-pat".
const (
	// KindConfidentialName is a value whose name suggests a credential, such as DB_PASSWORD.
	KindConfidentialName = "confidential-name"
	// KindURLPassword is a password in a URL or in the address of a database.
	KindURLPassword = "password-in-url"
	// KindRegistryAuth is a password or token in Docker's configuration file.
	KindRegistryAuth = "registry-auth"
	// KindPrivateKey is a private key in PEM, plain or in base64.
	KindPrivateKey = "private-key"
)

// guess is the gitleaks rule for a random value whose name contains "key", "auth" or a similar
// word. A match of this rule alone is uncertain.
const guess = "generic-api-key"

// Config has the texts of an image's configuration.
type Config struct {
	Env     []string // variables, as "NAME=value"
	Labels  map[string]string
	History []string // the command of each layer, oldest first
}

// Detector finds credentials. It is safe for concurrent use.
type Detector struct {
	mu    sync.Mutex // gitleaks can check only one text at a time
	rules *detect.Detector
}

// New compiles the rules, which takes about 40 ms.
func New() (*Detector, error) {
	rules, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		return nil, fmt.Errorf("compiling the rules for credentials: %w", err)
	}
	// A comment such as "gitleaks:allow" in an image must not disable a rule.
	rules.IgnoreGitleaksAllow = true
	return &Detector{rules: rules}, nil
}

// Find returns the places in a configuration that contain a credential: variables in the image's
// order, labels sorted by name, then the lines of the history. A result names the place and the
// kind of credential, but never has the value.
func (d *Detector) Find(c Config) []evidence.Secret {
	out := []evidence.Secret{}
	add := func(kinds []string, where string) {
		for _, kind := range kinds {
			if s := (evidence.Secret{Where: where, Kind: kind}); !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		add(d.Assignment(name, value), "environment variable "+d.Public(name))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		add(d.Assignment(key, c.Labels[key]), "label "+d.Public(key))
	}
	for i, line := range c.History {
		where := fmt.Sprintf("line %d of the history", i+1)
		pairs, text := parseHistory(line)
		for _, p := range pairs {
			add(d.Assignment(p.name, p.value), fmt.Sprintf("%s, %s %s", where, p.what, d.Public(p.name)))
		}
		if text != "" {
			add(d.Text(text), where)
		}
	}
	return out
}

// Assignment returns the kinds of credentials in NAME=value, sorted and without duplicates.
func (d *Detector) Assignment(name, value string) []string {
	value = unquoted(strings.TrimSpace(value))
	kinds, guesses := d.known(name + "=" + value)
	if namedIn(value) || len(kinds) == 0 && isConfidential(name) && !isHarmless(name, value) {
		kinds = append(kinds, KindConfidentialName)
	}
	if len(kinds) == 0 {
		kinds = guesses
	}
	return unique(kinds)
}

// Text returns the kinds of credentials in a text, such as a command, sorted and without
// duplicates.
func (d *Detector) Text(text string) []string {
	kinds, guesses := d.known(text)
	if namedIn(text) {
		kinds = append(kinds, KindConfidentialName)
	}
	if len(kinds) == 0 {
		kinds = guesses
	}
	return unique(kinds)
}

// known returns the kinds of credentials that the rules of gitleaks or byForm find in the text,
// also in base64. guesses are the matches of uncertain rules.
func (d *Detector) known(text string) (kinds, guesses []string) {
	for _, t := range append([]string{text}, decoded(text)...) {
		k, g := d.byRule(t)
		kinds, guesses = append(append(kinds, k...), byForm(t)...), append(guesses, g...)
	}
	return kinds, guesses
}

// byRule returns the kinds of credentials that the rules of gitleaks find in the text. guesses are
// the matches of the rule guess. byRule ignores values that are public or placeholders.
func (d *Detector) byRule(text string) (kinds, guesses []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.rules.DetectString(text) {
		name := nameBefore(f.Match, f.Secret)
		switch {
		case f.RuleID == KindPrivateKey: // for private keys, byForm is stricter: it requires the content of the key, too
		case hexadecimal.MatchString(f.Secret) && isPublicName(name):
		case f.RuleID == "curl-auth-user" && isHarmlessUserinfo(f.Secret):
		case f.RuleID != guess && !isStandIn(f.Secret):
			kinds = append(kinds, f.RuleID)
		case f.RuleID == guess && !isPublicName(name) && !isPublicValue(f.Secret) && !isHarmless(name, f.Secret) &&
			(!isKeyID(f.Secret) || isConfidential(name)):
			guesses = append(guesses, f.RuleID)
		}
	}
	return kinds, guesses
}

// nameBefore returns the name in a match that assigns the secret to a name, such as "NAME =
// 'secret'".
func nameBefore(match, secret string) string {
	before, _, _ := strings.Cut(match, secret)
	return strings.TrimRight(before, " \t\r\n'\"`=:>|,?")
}

func unique(kinds []string) []string {
	slices.Sort(kinds)
	return slices.Compact(kinds)
}
