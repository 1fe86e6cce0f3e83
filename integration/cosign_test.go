package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	scratch "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/cli"
	"github.com/imagegate/imagegate/internal/lab"
)

// cosignTypes are cosign's names for the types of the statements of a promoted image.
var cosignTypes = []string{"spdxjson", "cyclonedx", "vuln", "https://slsa.dev/verification_summary/v1"}

// TestCosign checks that the real cosign command accepts a promoted image and refuses a tampered
// one. "make test-cosign" builds the command from its own module and sets IMAGEGATE_TEST_COSIGN.
// Without that variable, the test does nothing. TestScripts verifies the same signatures with
// imagegate.
func TestCosign(t *testing.T) {
	binary := os.Getenv("IMAGEGATE_TEST_COSIGN")
	if binary == "" {
		t.Log("IMAGEGATE_TEST_COSIGN names no cosign command: see make test-cosign")
		return
	}
	for _, kind := range []string{"fixed", "index-attested"} {
		t.Run(kind, func(t *testing.T) { testCosign(t, binary, kind) })
	}
}

func testCosign(t *testing.T, binary, kind string) {
	dir := t.TempDir()
	cache := database(t)
	approved, ref := promoted(t, dir, cache, kind)
	repo, err := name.NewRepository(approved.Host() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root.json") // an empty trusted root, so that only the key is trusted
	write(t, root, []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	cosign := func(args ...string) error {
		args = append(args, "--key", filepath.Join(dir, "cosign.pub"), "--insecure-ignore-tlog=true", "--trusted-root", root)
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "TUF_ROOT="+filepath.Join(dir, "tuf"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return err
	}

	d := head(t, ref)
	subjects := []v1.Hash{d.Digest}
	if d.MediaType.IsIndex() {
		idx, err := d.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		m, err := idx.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, child := range m.Manifests {
			if child.Platform.OS != "unknown" {
				subjects = append(subjects, child.Digest)
			}
		}
	}
	if kind == "index-attested" && len(subjects) != 3 {
		t.Fatalf("%d subjects", len(subjects))
	}
	for _, digest := range subjects {
		at := repo.Digest(digest.String()).String()
		if err := cosign("verify", at); err != nil {
			t.Errorf("cosign verify refuses %s", at)
		}
		for _, predicate := range cosignTypes {
			if err := cosign("verify-attestation", "--type", predicate, at); err != nil {
				t.Errorf("cosign verify-attestation --type %s refuses %s", predicate, at)
			}
		}
	}

	// cosign must refuse the image if another key is trusted.
	key := filepath.Join(dir, "cosign.pub")
	right, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	imagegateOK(t, dir, cache, "key", "generate", filepath.Join(dir, "other"))
	wrong, err := os.ReadFile(filepath.Join(dir, "other.pub"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, wrong)
	if cosign("verify", ref) == nil || cosign("verify-attestation", "--type", "vuln", ref) == nil {
		t.Error("cosign accepts another key")
	}
	write(t, key, right)

	// Copy the signature to another image and to another repository. cosign does not compare the
	// repository, so it accepts the second copy. imagegate verify must refuse both.
	other, err := lab.Image(vulnerableSpec)
	if err != nil {
		t.Fatal(err)
	}
	stray, err := lab.Push(t.Context(), approved.Host()+"/team/app:stray", other)
	if err != nil {
		t.Fatal(err)
	}
	copyTag(t, tagOf(repo, d.Digest, ".sig"), tagOf(repo, hash(t, stray.DigestStr()), ".sig"))
	copyTag(t, tagOf(repo, d.Digest, ".att"), tagOf(repo, hash(t, stray.DigestStr()), ".att"))
	if cosign("verify", stray.String()) == nil || cosign("verify-attestation", "--type", "vuln", stray.String()) == nil {
		t.Error("cosign accepts signatures moved to another image")
	}
	imagegateCode(t, dir, cache, 6, "verify", stray.String(), "--key", key)

	elsewhere, err := name.NewRepository(approved.Host() + "/team/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	copyAll(t, repo, elsewhere, d)
	if d.MediaType.IsImage() {
		imagegateCode(t, dir, cache, 6, "verify", elsewhere.Digest(d.Digest.String()).String(), "--key", key)
	}

	// Change the payload of each statement after signing.
	tamper(t, tagOf(repo, d.Digest, ".att"))
	for _, predicate := range cosignTypes {
		if cosign("verify-attestation", "--type", predicate, ref) == nil {
			t.Errorf("cosign accepts a tampered %s statement", predicate)
		}
	}
	imagegateCode(t, dir, cache, 6, "verify", ref, "--key", key)
}

// promoted starts registries and promotes an image. It returns the approved registry and the
// image's reference there.
func promoted(t *testing.T, dir, cache, kind string) (*lab.Registry, string) {
	t.Helper()
	var registries []*lab.Registry
	for range 2 {
		r, err := lab.StartRegistry(lab.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		registries = append(registries, r)
	}
	img, err := images[kind]()
	if err != nil {
		t.Fatal(err)
	}
	source, target := registries[0].Ref("team/app:1"), registries[1].Ref("team/app:1")
	if _, err := lab.Push(t.Context(), source, img); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "policy.yaml"), []byte("version: 1\nrules:\n  - name: no critical\n    severity: critical\n"))
	imagegateOK(t, dir, cache, "key", "generate", filepath.Join(dir, "cosign"))
	imagegateOK(t, dir, cache, "promote", source, target, "--policy", filepath.Join(dir, "policy.yaml"), "--key", filepath.Join(dir, "cosign.key"))
	return registries[1], target
}

func imagegateOK(t *testing.T, dir, cache string, args ...string) string {
	t.Helper()
	return imagegateCode(t, dir, cache, 0, args...)
}

// imagegateCode runs an imagegate command line in this process. It fails the test if the exit code
// is not want, and returns standard output.
func imagegateCode(t *testing.T, dir, cache string, want int, args ...string) string {
	t.Helper()
	out, _ := imagegateRun(t, dir, cache, want, args...)
	return out
}

// imagegateRun is like imagegateCode, but also returns standard error.
func imagegateRun(t *testing.T, dir, cache string, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	t.Setenv("COSIGN_PASSWORD", "correct horse")
	t.Setenv("IMAGEGATE_CACHE_DIR", cache)
	t.Setenv("IMAGEGATE_CACHE_MAX", "0")
	t.Setenv("IMAGEGATE_TEMP_DIR", dir)
	var out, errs bytes.Buffer
	got := cli.Run(t.Context(), append([]string{"imagegate"}, args...), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	if got != want {
		t.Fatalf("imagegate %s: exit code %d, not %d\n%s%s", strings.Join(args, " "), got, want, &out, &errs)
	}
	return out.String(), errs.String()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func head(t *testing.T, ref string) *remote.Descriptor {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Get(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func hash(t *testing.T, s string) v1.Hash {
	t.Helper()
	h, err := v1.NewHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func tagOf(repo name.Repository, digest v1.Hash, suffix string) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + suffix)
}

func copyTag(t *testing.T, from, to name.Tag) {
	t.Helper()
	img, err := remote.Image(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, img); err != nil {
		t.Fatal(err)
	}
}

// copyAll copies an image with its signatures, as a mirror does.
func copyAll(t *testing.T, from, to name.Repository, d *remote.Descriptor) {
	t.Helper()
	if d.MediaType.IsIndex() {
		return // an index is not copied, because the test that uses the copy has a single image
	}
	img, err := d.Image()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to.Digest(d.Digest.String()), img); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{".sig", ".att"} {
		copyTag(t, tagOf(from, d.Digest, suffix), tagOf(to, d.Digest, suffix))
	}
}

// tamper changes one word of every statement under a tag, and keeps the signatures.
func tamper(t *testing.T, tag name.Tag) {
	t.Helper()
	img, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	out := mutate.ConfigMediaType(mutate.MediaType(scratch.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, d := range m.Layers {
		l, err := img.LayerByDigest(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		var envelope map[string]any
		if err := json.NewDecoder(rc).Decode(&envelope); err != nil {
			t.Fatal(err)
		}
		rc.Close()
		body, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Replace(body, []byte(`"predicate":{`), []byte(`"predicate":{"tampered":true,`), 1)
		if bytes.Equal(changed, body) {
			t.Fatal("nothing was changed")
		}
		envelope["payload"] = base64.StdEncoding.EncodeToString(changed)
		data, err := json.Marshal(envelope)
		if err != nil {
			t.Fatal(err)
		}
		if out, err = mutate.Append(out, mutate.Addendum{Layer: static.NewLayer(data, d.MediaType), MediaType: d.MediaType, Annotations: d.Annotations}); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.Write(tag, out); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(tag); isStatus(err, http.StatusNotFound) {
		t.Fatal(err)
	}
}
