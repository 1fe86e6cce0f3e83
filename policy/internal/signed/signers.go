// Package signed compares the verified signers of an image, and the provenance that they state,
// with the signers and values that a policy trusts.
package signed

import (
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// Fingerprint returns the fingerprint of a public key in PEM form, as in evidence.Signer.Key. It
// does not check that the key is usable.
func Fingerprint(key string) (string, error) {
	block, rest := pem.Decode([]byte(key))
	switch {
	case block == nil:
		return "", errors.New("has no PEM block")
	case block.Type != "PUBLIC KEY":
		return "", fmt.Errorf("has a PEM block of type %q: expected %q", block.Type, "PUBLIC KEY")
	case strings.TrimSpace(string(rest)) != "":
		return "", errors.New("has more than one key: list each key as a signer")
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(block.Bytes)), nil
}

// Known is a signer that a policy trusts: the holder of a key, or an identity. Key is in PEM form.
// Issuer and Subject are patterns, and are used only without a key.
type Known struct{ Name, Key, Issuer, Subject string }

// Signers looks up trusted signers by name.
type Signers map[string]signer

type signer struct {
	key             string
	issuer, subject match.Glob
}

// NewSigners indexes the signers for comparison. It omits a signer with an invalid key.
func NewSigners(known []Known) Signers {
	out := Signers{}
	for _, r := range known {
		s := signer{}
		if r.Key != "" {
			var err error
			if s.key, err = Fingerprint(r.Key); err != nil {
				continue // Parse refuses a policy with such a key
			}
		} else {
			s.issuer, s.subject = match.NewGlob(r.Issuer), match.NewGlob(r.Subject)
		}
		out[r.Name] = s
	}
	return out
}

// Has reports whether s is one of the named signers.
func (all Signers) Has(names []string, s evidence.Signer) bool {
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
