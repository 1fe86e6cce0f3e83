package registry

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestEveryChildHasOneRole checks that ParseIndex sorts each child into exactly one list. Only an
// image that is not marked as an attestation or SOCI index is a platform.
func TestEveryChildHasOneRole(t *testing.T) {
	digest := func(hex string) string { return "sha256:" + strings.Repeat(hex, 64) }
	const image = "application/vnd.oci.image.manifest.v1+json"
	child := func(hex, mediaType, more string) string {
		return `{"mediaType":"` + mediaType + `","size":1,"digest":"` + digest(hex) + `"` + more + `}`
	}
	raw := `{"schemaVersion":2,"manifests":[` + strings.Join([]string{
		child("1", image, `,"platform":{"os":"linux","architecture":"amd64"}`),
		child("2", image, `,"annotations":{"vnd.docker.reference.type":"attestation-manifest"}`),
		child("3", image, `,"artifactType":"application/vnd.amazon.soci.index.v2+json"`),
		child("4", image, `,"annotations":{"com.amazon.soci.index-digest":"x"}`),
		child("5", "application/vnd.oci.image.index.v1+json", ""),
		child("6", "application/vnd.example", ""),
		child("7", "application/vnd.docker.distribution.manifest.v2+json", ""),
	}, ",") + `]}`
	index, err := ParseIndex([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for role, list := range map[string][]string{"platform": digestsOf(index.Platforms), "attestation": digestsOf(index.Attestations),
		"SOCI": digestsOf(index.SOCI), "other": digestsOf(index.Other)} {
		got[role] = strings.Join(list, "")
	}
	if diff := cmp.Diff(map[string]string{"platform": "17", "attestation": "2", "SOCI": "34", "other": "56"}, got); diff != "" {
		t.Error(diff)
	}
	n := 0
	for range index.Children() {
		n++
	}
	if n != 7 || index.Len() != 7 {
		t.Errorf("%d children, Len %d", n, index.Len())
	}
	if _, err := ParseIndex([]byte("x")); err == nil {
		t.Error("an index that is not JSON is accepted")
	}
}

// digestsOf returns the first hexadecimal digit of each digest in the list, which identifies the
// descriptor in these tests.
func digestsOf(list []v1.Descriptor) (out []string) {
	for _, d := range list {
		out = append(out, d.Digest.Hex[:1])
	}
	return out
}
