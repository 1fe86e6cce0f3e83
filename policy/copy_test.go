package policy

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

const carrying = minimal + `signers:
- {name: ci, issuer: https://login.example, subject: "ci@*"}
- {name: security, issuer: https://login.example, subject: security@example.com}
`

// TestNoAttestationIsCopiedByDefault checks that an attestation is copied only if every policy
// lists its type and its signer.
func TestNoAttestationIsCopiedByDefault(t *testing.T) {
	const provenance, openvex = "https://slsa.dev/provenance/v1", "https://openvex.dev/ns/v0.2.0"
	ci := evidence.Signer{Issuer: "https://login.example", Subject: "ci@example.com"}
	security := evidence.Signer{Issuer: "https://login.example", Subject: "security@example.com"}
	carry := parsed(t, carrying+"copyAttestations:\n- {type: "+provenance+", signers: [ci]}\n- {type: signature, signers: [ci, security]}\n")
	more := parsed(t, carrying+"copyAttestations:\n- {type: "+provenance+", signers: [ci, security]}\n- {type: "+openvex+", signers: [security]}\n")
	scope := parsed(t, carrying+"images: [{match: registry.example/team/*, copyAttestations: [{type: "+provenance+", signers: [ci]}]}]\n")
	none := parsed(t, carrying)
	const repository = "registry.example/team/app"
	for what, c := range map[string]struct {
		set  Set
		kind string
		by   evidence.Signer
		want bool
	}{
		"listed":                            {Set{carry}, provenance, ci, true},
		"a signature":                       {Set{carry}, "", security, true},
		"another signer":                    {Set{carry}, provenance, security, false},
		"another type":                      {Set{carry}, openvex, ci, false},
		"a type that looks alike":           {Set{carry}, provenance + "/", ci, false},
		"nobody":                            {Set{carry}, provenance, evidence.Signer{}, false},
		"another issuer":                    {Set{carry}, provenance, evidence.Signer{Issuer: "https://other.example", Subject: ci.Subject}, false},
		"both policies":                     {Set{carry, more}, provenance, ci, true},
		"one of both":                       {Set{carry, more}, openvex, security, false},
		"with a policy that copies nothing": {Set{carry, none}, provenance, ci, false},
		"no policy":                         {nil, provenance, ci, false},
		"of these images":                   {Set{scope}, provenance, ci, true},
	} {
		if got := c.set.Copies(repository, c.kind, c.by); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	if (Set{scope}).Copies("registry.example/other/app", provenance, ci) || (Set{scope}).CopiesAny("registry.example/other/app") {
		t.Error("copied for an image that no rule is about")
	}
	if !(Set{scope}).CopiesAny(repository) || (Set{carry, none}).CopiesAny(repository) || (Set{}).CopiesAny(repository) {
		t.Error("CopiesAny contradicts Copies")
	}
	if !(Set{carry}).UsesSigned(repository) {
		t.Error("the attestations are not read")
	}
}

func TestParseCopyAttestationsErrors(t *testing.T) {
	for section, want := range map[string]string{
		"copyAttestations: [{type: x}]":                         `"signers"`,
		"copyAttestations: [{signers: [ci]}]":                   `"type"`,
		`copyAttestations: [{type: "", signers: [ci]}]`:         "the predicate type is empty",
		"copyAttestations: [{type: x, signers: [nobody]}]":      `"nobody" is not one of the policy's signers`,
		"copyAttestations: [{type: x, signers: [ci], more: 1}]": `"more"`,
		"copyAttestations: {type: x, signers: [ci]}":            "list",
	} {
		got := problems(t, carrying+section+"\n")
		if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%s: %q, want %q", section, got, want)
		}
	}
}
