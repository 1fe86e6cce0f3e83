package evidence

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPublicEvidenceHasNoCredentials checks that Public hides only values that look like
// credentials, and that the original evidence keeps them, because rules need them.
func TestPublicEvidenceHasNoCredentials(t *testing.T) {
	in := Input{Platforms: []Platform{
		{Platform: "a", Config: &ImageConfig{Labels: map[string]string{"token": "s3cr3t", "team": "a"}, HiddenLabels: []string{"gone", "token"}}},
		{Platform: "b", Config: &ImageConfig{Labels: map[string]string{"team": "b"}}},
		{Platform: "c"},
	}}
	out := in.Public()
	if diff := cmp.Diff(map[string]string{"token": HiddenValue, "team": "a"}, out.Platforms[0].Config.Labels); diff != "" {
		t.Error(diff)
	}
	if in.Platforms[0].Config.Labels["token"] != "s3cr3t" {
		t.Error("the original has changed")
	}
	if out.Platforms[1].Config != in.Platforms[1].Config || out.Platforms[2].Config != nil {
		t.Error("a configuration with nothing to hide is not the same")
	}
}

func TestIDsAreComparedInLowerCase(t *testing.T) {
	want := []string{"ghsa-1", "cve-1"}
	f, s := Finding{ID: "GHSA-1", Aliases: []string{"CVE-1"}}, VEXStatement{ID: "ghsa-1", Aliases: []string{"Cve-1"}}
	if diff := cmp.Diff(want, f.IDs()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, s.IDs()); diff != "" {
		t.Error(diff)
	}
}

// TestOnlyCoveredReasonsAreEvaluatedElsewhere lists every reason, so that a new reason does not
// count as covered by mistake.
func TestOnlyCoveredReasonsAreEvaluatedElsewhere(t *testing.T) {
	for reason, want := range map[UnmatchedReason]bool{
		NoDistribution: false, DistributionNotInDatabase: false, TypeNotInDatabase: false, VersionUnknown: false,
		VersionNotComparable: false, MainModule: false, FirstParty: false, NothingCataloged: false, "": false,
		PartOfPackage: true, OwnedByDistribution: true,
	} {
		if got := reason.EvaluatedElsewhere(); got != want {
			t.Errorf("%q: %v", reason, got)
		}
	}
}

func TestNamesForMessages(t *testing.T) {
	for want, got := range map[string]string{
		"debian 12":    Advisories{Distribution: "debian 12"}.Of(),
		"npm packages": Advisories{Type: "npm"}.Of(),
		"":             (*Signer)(nil).String(),
		"key sha256:1": (&Signer{Key: "sha256:1"}).String(),
		"a@b (https)":  (&Signer{Issuer: "https", Subject: "a@b"}).String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
