package policy

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/internal/signed"
)

// SignerRule is a signer that the policy trusts: the holder of a key, or an identity in a
// certificate. Other sections refer to the signer by its name. Set either key, or issuer and
// subject. To trust an old and a new key at the same time, list two signers.
type SignerRule struct {
	// Name identifies the signer. Mandatory, unique among the signers. Example: "name: ci".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Key sets the public key of the signer in PEM form, as in cosign.pub.
	Key string `json:"key,omitempty"`
	// Issuer sets a pattern for the URL of the OpenID Connect issuer. "*" matches any characters.
	// Mandatory with subject. Example: "issuer: https://token.actions.githubusercontent.com".
	Issuer string `json:"issuer,omitempty"`
	// Subject sets a pattern for the identity in the certificate: an email address or the URL of a
	// workflow. "*" matches any characters. Mandatory with issuer. Example: "subject:
	// https://github.com/example/*".
	Subject string `json:"subject,omitempty"`
}

func (d *decoder) signers(to *[]SignerRule) strict.Reader {
	lines := map[string]int{}
	return d.List(maxSigners, func(n *yaml.Node) {
		r := SignerRule{Position: d.position(n)}
		d.Mapping(n, "a signer",
			strict.Mandatory("name", d.Unique(&r.Name, "signer", lines)),
			strict.Optional("key", d.publicKey(&r.Key)),
			strict.Optional("issuer", d.Text(&r.Issuer)),
			strict.Optional("subject", d.Text(&r.Subject)),
		)
		d.ExactlyOne(n, "a signer", "key", "issuer")
		switch {
		case r.Issuer != "" && r.Subject == "":
			d.Problem(n, `a signer with "issuer" has no "subject", which is mandatory`)
		case r.Key != "" && r.Subject != "":
			d.Problem(n, `a signer with "key" cannot have a "subject"`)
		}
		*to = append(*to, r)
	})
}

// maxSigners limits the number of signers, because each signature is checked against each signer.
const maxSigners = 100

func (d *decoder) publicKey(to *string) strict.Reader {
	return strict.Scalar(d.Decoder, to, "a public key in PEM", func(s string) (string, error) {
		_, err := Fingerprint(s)
		return s, err
	}, "!!str")
}

// Fingerprint returns the fingerprint of a public key in PEM form, as in evidence.Signer.Key. It
// does not check that the key is usable.
func Fingerprint(key string) (string, error) { return signed.Fingerprint(key) }

// knownSigners prepares the signers of a policy for comparison.
func knownSigners(rules []SignerRule) signed.Signers {
	known := make([]signed.Known, len(rules))
	for i, r := range rules {
		known[i] = signed.Known{Name: r.Name, Key: r.Key, Issuer: r.Issuer, Subject: r.Subject}
	}
	return signed.NewSigners(known)
}

// checkSigners checks that every signer that a section names is in the policy's list.
func (d *decoder) checkSigners(p *Policy) {
	known := func(name string) bool {
		return slices.ContainsFunc(p.Signers, func(s SignerRule) bool { return s.Name == name })
	}
	check := func(at Position, names []string) {
		for _, name := range names {
			if !known(name) {
				d.problemAt(at, "%q is not one of the policy's signers", name)
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

// Signers returns the signers of all policies, each once. The caller looks for signatures by them.
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
