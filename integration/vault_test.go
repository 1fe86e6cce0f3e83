package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/lab"
)

// TestKeyOfAVault promotes and verifies images with keys in a real Vault, with each type of key
// that can sign. "make test-consumers" builds Vault.
func TestKeyOfAVault(t *testing.T) {
	bin := os.Getenv("IMAGEGATE_TEST_CONSUMERS")
	if bin == "" {
		t.Log("IMAGEGATE_TEST_CONSUMERS names no folder: see make test-consumers")
		return
	}
	v := startVault(t, filepath.Join(bin, "vault"))
	dir, cache := t.TempDir(), database(t)
	b := &bench{T: t}
	staging, approved := b.start(), b.start()
	img, err := images["fixed"]()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Push(t.Context(), staging.Ref("app:1"), img); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("policy.yaml"), []byte("version: 1\nrules:\n  - name: no critical\n    severity: critical\n"))
	v.create("other", "ecdsa-p256", in("other.pub"))
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-3072"} {
		t.Run(kind, func(t *testing.T) {
			key, to := "hashivault://"+kind, approved.Ref(kind+"/app:1")
			v.create(kind, kind, in(kind+".pub"))
			imagegateOK(t, dir, cache, "promote", staging.Ref("app:1"), to, "--policy", in("policy.yaml"), "--key", key)
			imagegateOK(t, dir, cache, "verify", to, "--key", key)
			imagegateOK(t, dir, cache, "verify", to, "--key", in(kind+".pub"))
			for _, other := range []string{"hashivault://other", in("other.pub")} {
				imagegateCode(t, dir, cache, 6, "verify", to, "--key", other)
			}
		})
	}

	// After a key rotation, a signature by the older version of the key stays valid until that
	// version is no longer trusted.
	to := approved.Ref("ecdsa-p256/app:1")
	v.ask(http.MethodPost, "keys/ecdsa-p256/rotate", "")
	imagegateOK(t, dir, cache, "verify", to, "--key", in("ecdsa-p256.pub"))
	imagegateOK(t, dir, cache, "promote", staging.Ref("app:1"), to, "--policy", in("policy.yaml"), "--key", "hashivault://ecdsa-p256")
	imagegateOK(t, dir, cache, "verify", to, "--key", "hashivault://ecdsa-p256")

	// A token without permission to sign must lead to an error, and the token must not appear in
	// the output.
	t.Setenv("VAULT_TOKEN", "hvs.ofnobody")
	_, out := imagegateRun(t, dir, cache, 6, "promote", staging.Ref("app:1"), approved.Ref("refused/app:1"), "--policy", in("policy.yaml"), "--key", "hashivault://ecdsa-p256")
	if strings.Contains(out, "hvs.") {
		t.Errorf("the token is told:\n%s", out)
	}
}
