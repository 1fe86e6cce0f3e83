package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// SignerRule is a signer that the policy trusts: the holder of a key, or an identity in a
// certificate. The other sections refer to it by name. Set exactly one of key and issuer, and set
// subject with issuer. To trust an old and a new key at the same time, list two signers.
type SignerRule struct {
	// Name identifies the signer. Mandatory, unique among the signers. Example: "name: ci".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Key sets the public key in PEM form, as in cosign.pub.
	Key string `json:"key,omitempty"`
	// Issuer sets a pattern for the URL of the OpenID Connect issuer. "*" matches any characters.
	// Example: "issuer: https://token.actions.githubusercontent.com".
	Issuer string `json:"issuer,omitempty"`
	// Subject sets a pattern for the identity: an email address or the URL of a workflow. Mandatory
	// with issuer. Example: "subject: https://github.com/example/*".
	Subject string `json:"subject,omitempty"`
}

func compareSigners(a, b *evidence.Signer) int {
	return strings.Compare(a.String(), b.String())
}

func (d *decoder) signers(to *[]SignerRule) reader {
	lines := map[string]int{}
	return d.list(maxSigners, func(n *yaml.Node) {
		r := SignerRule{Position: d.position(n)}
		d.mapping(n, "a signer",
			mandatory("name", d.unique(&r.Name, "signer", lines)),
			optional("key", d.publicKey(&r.Key)),
			optional("issuer", d.text(&r.Issuer)),
			optional("subject", d.text(&r.Subject)),
		)
		d.exactlyOne(n, "a signer", "key", "issuer")
		switch {
		case r.Issuer != "" && r.Subject == "":
			d.problem(n, `a signer with "issuer" has no "subject", which is mandatory`)
		case r.Key != "" && r.Subject != "":
			d.problem(n, `a signer with "key" has a "subject", which a key does not state`)
		}
		*to = append(*to, r)
	})
}

// maxSigners limits the number of signers, because each signature is tried with each of them.
const maxSigners = 100

func (d *decoder) publicKey(to *string) reader {
	return scalar(d, to, "a public key in PEM", func(s string) (string, error) {
		_, err := Fingerprint(s)
		return s, err
	}, "!!str")
}

// Fingerprint returns the fingerprint of a public key in PEM form, as in evidence.Signer.Key. It does not
// check that the key is usable.
func Fingerprint(key string) (string, error) {
	block, rest := pem.Decode([]byte(key))
	switch {
	case block == nil:
		return "", errors.New("holds no PEM block")
	case block.Type != "PUBLIC KEY":
		return "", fmt.Errorf("holds a %q and not a %q", block.Type, "PUBLIC KEY")
	case strings.TrimSpace(string(rest)) != "":
		return "", errors.New("holds more than one key: list each as a signer")
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(block.Bytes)), nil
}

// checkSigners checks that every signer that a section names is in the policy's list.
func (d *decoder) checkSigners(p *Policy) {
	known := func(name string) bool {
		return slices.ContainsFunc(p.Signers, func(s SignerRule) bool { return s.Name == name })
	}
	check := func(at Position, names []string) {
		for _, name := range names {
			if !known(name) {
				d.problemAt(at, "%q is none of the policy's signers", name)
			}
		}
	}
	for _, q := range slices.Concat([]*Policy{p}, scopePolicies(p)) {
		check(q.VEX.Position, q.VEX.Signers)
		for _, r := range q.Provenance {
			check(r.Position, r.Signers)
		}
		for _, r := range q.CopyAttestations {
			check(r.Position, r.Signers)
		}
	}
}

func scopePolicies(p *Policy) []*Policy {
	var out []*Policy
	for i := range p.Images {
		out = append(out, &p.Images[i].Policy)
	}
	return out
}

// signers looks up trusted signers by name.
type signers map[string]signer

type signer struct {
	key             string
	issuer, subject match.Glob
}

func compileSigners(rules []SignerRule) signers {
	out := signers{}
	for _, r := range rules {
		s := signer{}
		if r.Key != "" {
			var err error
			if s.key, err = Fingerprint(r.Key); err != nil {
				continue // Parse refuses such a key; it matches no signer
			}
		} else {
			s.issuer, s.subject = match.NewGlob(r.Issuer), match.NewGlob(r.Subject)
		}
		out[r.Name] = s
	}
	return out
}

// has reports whether s is one of the named signers.
func (all signers) has(names []string, s evidence.Signer) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		known, ok := all[name]
		if !ok {
			return false
		}
		if known.key != "" || s.Key != "" {
			return known.key == s.Key
		}
		return s.Subject != "" && s.Issuer != "" && known.issuer.Match(s.Issuer) && known.subject.Match(s.Subject)
	})
}

// lintSigners reports identities that match everyone.
func lintSigners(rules []SignerRule) []Problem {
	var problems []Problem
	for _, r := range rules {
		if onlyStars(r.Issuer) || onlyStars(r.Subject) {
			problems = append(problems, Problem{r.Position, fmt.Sprintf(
				"signer %q is anybody: %s", r.Name, cmp.Or(starred("issuer", r.Issuer), starred("subject", r.Subject)))})
		}
	}
	return problems
}

func onlyStars(s string) bool { return s != "" && strings.Trim(s, "*") == "" }

func starred(what, pattern string) string {
	if !onlyStars(pattern) {
		return ""
	}
	return "its " + what + " matches every one"
}

// Signers returns the signers of all policies, each once, to look for their signatures.
func (s Set) Signers() []SignerRule {
	var out []SignerRule
	for _, p := range s {
		if p == nil {
			continue
		}
		for _, r := range p.Signers {
			if !slices.ContainsFunc(out, func(o SignerRule) bool {
				return o.Key == r.Key && o.Issuer == r.Issuer && o.Subject == r.Subject
			}) {
				out = append(out, r)
			}
		}
	}
	return out
}
