package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imagegate/imagegate/internal/lab"
)

// TestVerifyAcceptsWhatCosignSigned signs and attests an image with the real cosign commands, and
// without imagegate. verify --signature-only must accept the signature, and verify must not report
// a pass. Without the cosign commands, the test does nothing; the tests of internal/trust use
// cosign's library.
func TestVerifyAcceptsWhatCosignSigned(t *testing.T) {
	bin := os.Getenv("IMAGEGATE_TEST_CONSUMERS")
	if bin == "" {
		t.Log("IMAGEGATE_TEST_CONSUMERS names no folder: see make test-consumers")
		return
	}
	for what, c := range map[string]struct {
		program      string
		sign, attest []string
	}{
		"cosign v2, legacy": {program: "cosign", sign: []string{"--tlog-upload=false"}, attest: []string{"--tlog-upload=false"}},
		"cosign v2, bundle": {program: "cosign", sign: []string{"--tlog-upload=false", "--new-bundle-format"}, attest: []string{"--tlog-upload=false", "--new-bundle-format"}},
		"cosign v3":         {program: "cosign3", sign: []string{"--use-signing-config=false", "--tlog-upload=false"}, attest: []string{"--use-signing-config=false", "--tlog-upload=false"}},
	} {
		t.Run(what, func(t *testing.T) { testSigned(t, filepath.Join(bin, c.program), c.sign, c.attest) })
	}
}

func testSigned(t *testing.T, program string, sign, attest []string) {
	dir, cache := t.TempDir(), t.TempDir()
	registry, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { registry.Close() })
	img, err := images["index"]()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := lab.Push(t.Context(), registry.Ref("team/app:1"), img)
	if err != nil {
		t.Fatal(err)
	}
	imagegateOK(t, dir, cache, "key", "generate", filepath.Join(dir, "cosign"))
	imagegateOK(t, dir, cache, "key", "generate", filepath.Join(dir, "other"))
	key, pub := filepath.Join(dir, "cosign.key"), filepath.Join(dir, "cosign.pub")
	predicate := filepath.Join(dir, "vex.json")
	write(t, predicate, []byte(`{"@context":"https://openvex.dev/ns/v0.2.0","statements":[]}`))
	cosign := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append(args, "--key", key, "--yes", ref.String())...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "TUF_ROOT="+filepath.Join(dir, "tuf"), "COSIGN_PASSWORD=correct horse")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", program, args, err, out)
		}
	}
	imagegateCode(t, dir, cache, 6, "verify", ref.String(), "--key", pub, "--signature-only")
	cosign(append([]string{"sign"}, sign...)...)
	imagegateOK(t, dir, cache, "verify", ref.String(), "--key", pub, "--signature-only", "--explain")
	imagegateCode(t, dir, cache, 6, "verify", ref.String(), "--key", filepath.Join(dir, "other.pub"), "--signature-only")
	imagegateCode(t, dir, cache, 6, "verify", ref.String(), "--key", pub)

	imagegateCode(t, dir, cache, 6, "verify", ref.String(), "--key", pub, "--signature-only", "--require-predicate", "openvex")
	cosign(append([]string{"attest", "--type", "openvex", "--predicate", predicate}, attest...)...)
	imagegateOK(t, dir, cache, "verify", ref.String(), "--key", pub, "--signature-only", "--require-predicate", "openvex")
	imagegateCode(t, dir, cache, 6, "verify", ref.String(), "--key", pub, "--signature-only", "--require-predicate", "vuln")
}
