package signed

import (
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

var (
	known = NewSigners([]Known{
		{Name: "ci", Issuer: "https://login.example", Subject: "https://git.example/*"},
		{Name: "anyone", Issuer: "*", Subject: "*"},
		{Name: "broken", Key: "not a key"},
	})
	ci = evidence.Signer{Issuer: "https://login.example", Subject: "https://git.example/app"}
)

func TestOnlyNamedSignersCount(t *testing.T) {
	for name, test := range map[string]struct {
		names []string
		by    evidence.Signer
		want  bool
	}{
		"named":             {[]string{"ci"}, ci, true},
		"one of two":        {[]string{"broken", "ci"}, ci, true},
		"none":              {nil, ci, false},
		"another name":      {[]string{"other"}, ci, false},
		"another issuer":    {[]string{"ci"}, evidence.Signer{Issuer: "https://other.example", Subject: ci.Subject}, false},
		"zero signer":       {[]string{"anyone"}, evidence.Signer{}, false},
		"no issuer":         {[]string{"anyone"}, evidence.Signer{Subject: "a"}, false},
		"a key":             {[]string{"anyone"}, evidence.Signer{Key: "sha256:1", Issuer: "i", Subject: "s"}, false},
		"an unreadable key": {[]string{"broken"}, evidence.Signer{}, false},
	} {
		if got := known.Has(test.names, test.by); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestAttestationMustMeetTheRequirement checks the type of attestations and the builder and source
// that they state. If a statement lacks a value, no pattern matches.
func TestAttestationMustMeetTheRequirement(t *testing.T) {
	slsa := Requirement{Signers: []string{"ci"}, Builder: "https://ci.example/*", Source: "*"}
	statement := func(builder, source string) evidence.Attestation {
		return evidence.Attestation{PredicateType: "slsa", Signer: ci, Provenance: &evidence.Provenance{Builder: builder, Source: source}}
	}
	for _, test := range []struct {
		r    Requirement
		a    evidence.Attestation
		want string
	}{
		{slsa, statement("https://ci.example/1", "https://git.example/app"), ""},
		{slsa, statement("https://other.example/1", "x"), `found one by https://git.example/app (https://login.example) with the builder "https://other.example/1"`},
		{slsa, statement("https://ci.example/1", ""), `found one by https://git.example/app (https://login.example) with no source`},
		{slsa, evidence.Attestation{Signer: ci}, "found a signature by https://git.example/app (https://login.example)"},
		{Requirement{Signature: true, Signers: []string{"ci"}}, evidence.Attestation{Signer: ci}, ""},
		{Requirement{Signature: true, Signers: []string{"ci"}}, statement("", ""), "found a slsa by https://git.example/app (https://login.example)"},
		{Requirement{Signature: true}, evidence.Attestation{Signer: ci}, "found one by https://git.example/app (https://login.example)"},
	} {
		if got := test.r.Lacks(known, &test.a); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// TestAttestationsOfOtherImagesDoNotCount checks that only attestations about the platform or its
// index count. An attestation without a subject never counts.
func TestAttestationsOfOtherImagesDoNotCount(t *testing.T) {
	in := &evidence.Input{Image: evidence.Image{Digest: "index"}, Attestations: []evidence.Attestation{
		{Digest: "d", Subject: "other"}, {Digest: "c", Subject: "platform"}, {Digest: "b", Subject: "index"}, {Digest: "a"},
	}}
	got := About(in, &evidence.Platform{Digest: "platform"})
	if len(got) != 2 || got[0].Digest != "b" || got[1].Digest != "c" {
		t.Errorf("%+v", got)
	}
	if got := About(&evidence.Input{Attestations: in.Attestations}, &evidence.Platform{}); len(got) != 0 {
		t.Errorf("an image without a digest has %+v", got)
	}
	r := Requirement{Signers: []string{"ci", "team"}}
	for unverified, want := range map[int]string{
		0: "the image has no SLSA provenance by ci or team: found no attestations",
		1: "the image has no SLSA provenance by ci or team: 1 attestation verifies for none of the signers",
		2: "the image has no SLSA provenance by ci or team: 2 attestations verify for none of the signers",
	} {
		if got := r.Missing(known, nil, unverified); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
