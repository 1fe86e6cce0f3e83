package gate

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// canaries are fake credentials. The keys say where in an image the test puts them. The strings are
// split so that secret scanners do not report this file.
var canaries = map[string]string{
	"label of a known kind":   "ghp_" + "LABELabcdefghijklmnopqrstuvwxyz0123456",
	"label by its name":       "hunter2-label",
	"label with an address":   "s3cr3t-in-url",
	"label of an unknown":     "qT7xW2mK9vB4nR8sD1fG6hJ3",
	"variable":                "ghp_" + "ENVVabcdefghijklmnopqrstuvwxyz01234567",
	"variable by its name":    "hunter2-variable",
	"variable without a name": "ghp_" + "NONEabcdefghijklmnopqrstuvwxyz01234567",
	"base image":              "s3cr3t-of-base",
}

// TestCredentialsOfAnImageAreInNoEvidence checks that evidence, documents and the cache contain no
// credential of the image, for an index and each of its platforms. This does not depend on the
// policy's rules about secrets.
func TestCredentialsOfAnImageAreInNoEvidence(t *testing.T) {
	spec := clean
	spec.Env = []string{"TOKEN=" + canaries["variable"], "DB_PASSWORD=" + canaries["variable by its name"], canaries["variable without a name"], "PATH=/bin"}
	spec.Labels = map[string]string{
		"deploy":      canaries["label of a known kind"],
		"db.password": canaries["label by its name"],
		"source":      "https://user:" + canaries["label with an address"] + "@git.example/app",
		"note":        "use " + canaries["label of an unknown"],
		"version":     "1.2.3", "org.opencontainers.image.revision": "7169605f62c751356d054a26a821e680e5fa6305",
		baseName: "https://user:" + canaries["base image"] + "@registry.example/base",
	}
	other := spec
	other.Platform = "linux/arm64"
	h := newTester(t)
	src := h.push("app:1", h.index(h.image(spec), h.image(other)))
	dir := t.TempDir()
	const rules = `
version: 1
rules: [{name: all, effect: warn}]
image:
  - {name: secrets, noSecrets: true, effect: warn}
  - {name: label, labels: ["deploy=no*", "note=no*"], effect: warn}
  - {name: base, base: ["registry.example/*"], effect: warn}
custom:
  - {name: text, each: platform, effect: warn, when: 'platform.config.labels["deploy"].startsWith("ghp_")', message: '"it is " + platform.config.labels["deploy"]'}
  - {name: broken, each: platform, effect: warn, when: 'int(platform.config.labels["note"]) > 1'}
`
	g := h.gate(rules, h.cache(dir))
	for run := range 2 {
		r := h.check(g, src)
		if r.CacheHits != 2*run {
			t.Errorf("run %d: %d platforms from the cache", run, r.CacheHits)
		}
		written, err := json.Marshal(struct {
			evidence.Input
			policy.Decision
		}{r.Input, r.Decision})
		if err != nil {
			t.Fatal(err)
		}
		withoutCanaries(t, "evidence", written)
		for _, want := range []string{`"1.2.3"`, "7169605f62c751356d054a26a821e680e5fa6305", evidence.HiddenValue, `"db.password"`, `"DB_PASSWORD"`,
			"it is " + evidence.HiddenValue, "could not be evaluated", `must match \"no*\"; its value looks like a credential`} {
			if !strings.Contains(string(written), want) {
				t.Errorf("run %d: the evidence does not say %s", run, want)
			}
		}
		for _, s := range r.SBOMs {
			withoutCanaries(t, "SPDX", s.SPDX)
			withoutCanaries(t, "CycloneDX", s.CycloneDX)
			if !strings.Contains(string(s.CycloneDX), "syft:image:labels:version") {
				t.Error("the CycloneDX document has no labels at all")
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		stored, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".sealed") { // encrypted
			withoutCanaries(t, "cache", stored)
			continue
		}
		dec, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := dec.DecodeAll(stored, nil)
		dec.Close()
		if err != nil {
			t.Fatal(err)
		}
		withoutCanaries(t, "cache", plain)
	}
}

func withoutCanaries(t *testing.T, what string, data []byte) {
	t.Helper()
	for where, secret := range canaries {
		if containsSecret(data, secret) {
			t.Errorf("the %s has the credential of the %s", what, where)
		}
	}
}

// TestOrdinaryLabelsAreNotHidden checks that HiddenLabels does not hide ordinary labels, because
// reports need their values.
func TestOrdinaryLabelsAreNotHidden(t *testing.T) {
	s, err := testPatterns.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"org.opencontainers.image.revision":  "7169605F62C751356D054A26A821E680E5FA6305",
		"org.opencontainers.image.source":    "https://github.com/Example/Application2024Service",
		"org.opencontainers.image.created":   "2026-11-29T21:55:18.123456Z",
		"org.opencontainers.image.title":     "TheApplicationServiceOfTheTeam",
		"org.opencontainers.image.version":   "v1.2.3-rc.1+build.20261129",
		"maintainer":                         "Team A <team-a@example.com>",
		"io.buildah.version":                 "1.37.5",
		"com.example.digest":                 "sha256:8d3ed8ec5c88c1c95f5e558612a725450d2452813ddad5e58fdb1a53b1209b78",
		"io.openshift.tags":                  "builder,python,python312",
		"com.example.uuid":                   "0b2f3c1e-8a3d-4d6f-9c1b-2f3a4b5c6d7e",
		"com.example.auth":                   "true",
		"com.example.token":                  "",
		"org.opencontainers.image.base.name": "registry.example:5000/base/debian:12",
	} {
		if len(s.HiddenLabels(map[string]string{name: value})) > 0 {
			t.Errorf("%s=%s is hidden", name, value)
		}
	}
}

// containsSecret searches data for a credential, plain and in base64 at each of the three byte
// offsets.
func containsSecret(data []byte, secret string) bool {
	if bytes.Contains(data, []byte(secret)) {
		return true
	}
	for offset := range 3 {
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, offset), secret...))
		if bytes.Contains(data, []byte(encoded[4:len(encoded)-4])) {
			return true
		}
	}
	return false
}
