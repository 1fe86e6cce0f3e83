package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

var updateConsumers = flag.Bool("update-consumers", false, "write the table of consumers into docs/trust.md")

// The programs that admit or look at what was promoted, each as its own people
// build it, and how each is asked about one image. legacy and bundle say which
// form it is told to look for.
var consumers = []struct {
	name, module, program string
	// ask runs the program; nil means that it accepts the image.
	ask func(b *bench, ref, form string) error
}{
	{"cosign v2", "cosign", "cosign", (*bench).cosign2},
	{"cosign v3", "consumers/cosign3", "cosign3", func(b *bench, ref, _ string) error { return b.cosign("cosign3", ref) }},
	{"policy-controller", "consumers/policy-tester", "policy-tester", (*bench).policyTester},
	{"Kyverno", "consumers/kyverno", "kyverno", (*bench).kyverno},
	{"slsa-verifier", "consumers/slsa-verifier", "slsa-verifier", (*bench).slsaVerifier},
	{"oras", "consumers/oras", "oras", (*bench).oras},
}

// bench is an approved registry with promoted images, and the consumers.
type bench struct {
	*testing.T
	dir, bin string
	registry *lab.Registry
	key      string // the file of the public key that is trusted
}

const decisionType = "https://slsa.dev/verification_summary/v1"

// run runs a program that has a home of its own and reaches this machine alone.
func (b *bench) run(program string, args ...string) error {
	cmd := exec.CommandContext(b.Context(), filepath.Join(b.bin, program), args...)
	cmd.Env = append(os.Environ(), "HOME="+b.dir, "TUF_ROOT="+filepath.Join(b.dir, "tuf"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		tail := out[max(0, len(out)-600):]
		return fmt.Errorf("%s: %w\n%s", program, err, tail)
	}
	return nil
}

// file writes a file that a program reads.
func (b *bench) file(name, text string, data any) string {
	b.Helper()
	t, err := template.New(name).Funcs(template.FuncMap{"indent": func(n int, s string) string {
		return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+strings.Repeat(" ", n))
	}}).Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.dir, name)
	write(b.T, path, out.Bytes())
	return path
}

func (b *bench) pem() string {
	b.Helper()
	data, err := os.ReadFile(b.key)
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}

// cosign asks for the signature and for the decision. Nobody is trusted but the
// key.
func (b *bench) cosign(program, ref string, more ...string) error {
	root := b.file("root.json", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`, nil)
	args := append([]string{"--key", b.key, "--insecure-ignore-tlog=true", "--trusted-root", root}, more...)
	if err := b.run(program, append(append([]string{"verify"}, args...), ref)...); err != nil {
		return err
	}
	return b.run(program, append(append([]string{"verify-attestation", "--type", decisionType}, args...), ref)...)
}

func (b *bench) cosign2(ref, form string) error {
	if form == "bundle" {
		return b.cosign("cosign", ref, "--new-bundle-format")
	}
	return b.cosign("cosign", ref)
}

func (b *bench) policyTester(ref, form string) error {
	policy := b.file("cip.yaml", `apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {name: promoted}
spec:
  images: [{glob: "**"}]
  authorities:
  - name: gate
    key:
      data: |
        {{indent 8 .Key}}
{{- if .Bundle}}
    signatureFormat: bundle
{{- end}}
    attestations:
    - name: decision
      predicateType: `+decisionType+`
      policy:
        type: cue
        data: |
          predicate: verificationResult: "PASSED"
`, map[string]any{"Key": b.pem(), "Bundle": form == "bundle"})
	return b.run("policy-tester", "--policy", policy, "--image", ref)
}

func (b *bench) kyverno(ref, form string) error {
	kind := "Cosign"
	if form == "bundle" {
		kind = "SigstoreBundle"
	}
	policy := b.file("kyverno.yaml", `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: promoted}
spec:
  validationFailureAction: Enforce
  rules:
  - name: passed
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["*"]
      type: {{.Kind}}
      mutateDigest: false
      verifyDigest: false
      required: true
{{- if eq .Kind "Cosign"}}
      attestors:
      - entries:
        - keys:
            rekor: {ignoreTlog: true}
            ctlog: {ignoreSCT: true}
            publicKeys: |-
              {{indent 14 .Key}}
{{- end}}
      attestations:
      - type: `+decisionType+`
        attestors:
        - entries:
          - keys:
              rekor: {ignoreTlog: true}
              ctlog: {ignoreSCT: true}
              publicKeys: |-
                {{indent 16 .Key}}
        conditions:
        - all:
          - {key: "{{"{{ verificationResult }}"}}", operator: Equals, value: PASSED}
`, map[string]string{"Kind": kind, "Key": b.pem()})
	pod := b.file("pod.yaml", `apiVersion: v1
kind: Pod
metadata: {name: app, namespace: default}
spec: {containers: [{name: app, image: "{{.}}"}]}
`, ref)
	return b.run("kyverno", "apply", policy, "--resource", pod, "--registry")
}

// slsaVerifier reads a file with the decision's envelope, and is told for which
// repository it must be.
func (b *bench) slsaVerifier(ref, form string) error {
	d := head(b.T, ref)
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	envelope, err := b.decision(parsed.Context(), d.Digest, form)
	if err != nil {
		return err
	}
	path := filepath.Join(b.dir, "decision.json")
	write(b.T, path, envelope)
	return b.run("slsa-verifier", "verify-vsa", "--attestation-path", path, "--subject-digest", d.Digest.String(),
		"--resource-uri", "oci://"+parsed.Context().Name(), "--verifier-id", "https://github.com/imagegate/imagegate",
		"--verified-level", "IMAGEGATE_POLICY", "--public-key-path", b.key)
}

// decision is the envelope of the decision in one of the forms.
func (b *bench) decision(repo name.Repository, digest v1.Hash, form string) ([]byte, error) {
	b.Helper()
	if form == "bundle" {
		index, err := remote.Referrers(repo.Digest(digest.String()))
		if err != nil {
			return nil, err
		}
		m, err := index.IndexManifest()
		if err != nil {
			return nil, err
		}
		for _, d := range m.Manifests {
			img, err := remote.Image(repo.Digest(d.Digest.String()))
			if err != nil {
				return nil, err
			}
			var bundle map[string]json.RawMessage
			own, err := img.Manifest()
			if err != nil {
				return nil, err
			}
			if own.Annotations["dev.sigstore.bundle.predicateType"] != decisionType {
				continue
			}
			if err := json.Unmarshal(layerBytes(b.T, img, own.Layers[0].Digest), &bundle); err != nil {
				return nil, err
			}
			return bundle["dsseEnvelope"], nil
		}
		return nil, errors.New("there is no decision")
	}
	img, err := remote.Image(tagOf(repo, digest, ".att"))
	if err != nil {
		return nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		if l.Annotations["predicateType"] == decisionType {
			return layerBytes(b.T, img, l.Digest), nil
		}
	}
	return nil, errors.New("there is no decision")
}

// oras lists what is attached; it verifies nothing.
func (b *bench) oras(ref, _ string) error {
	cmd := exec.CommandContext(b.Context(), filepath.Join(b.bin, "oras"), "discover", "--plain-http", "--format", "json", ref)
	cmd.Env = append(os.Environ(), "HOME="+b.dir)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("oras: %w", err)
	}
	if !strings.Contains(string(out), decisionType) {
		return fmt.Errorf("oras lists no decision: %s", out)
	}
	return nil
}

// TestConsumers asks every consumer about images in each form of storage: as they
// were promoted, with the statements tampered with, by another key, and with the
// signatures beside another image and in another repository. What they say is a
// table in the documentation. "make test-consumers" builds the programs; without
// them there is nobody to ask.
func TestConsumers(t *testing.T) {
	bin := os.Getenv("IMAGEGATE_TEST_CONSUMERS")
	if bin == "" {
		t.Log("IMAGEGATE_TEST_CONSUMERS names no folder: see make test-consumers")
		return
	}
	b := &bench{T: t, dir: t.TempDir(), bin: bin}
	cache := database(t)
	staging := b.start()
	b.registry = b.start()
	imagegateOK(t, b.dir, cache, "key", "generate", filepath.Join(b.dir, "cosign"))
	imagegateOK(t, b.dir, cache, "key", "generate", filepath.Join(b.dir, "other"))
	write(t, filepath.Join(b.dir, "policy.yaml"), []byte("version: 1\nrules:\n  - name: no critical\n    severity: critical\n"))
	for _, kind := range []string{"fixed", "index-attested"} {
		img, err := images[kind]()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lab.Push(t.Context(), staging.Ref("team/"+kind+":1"), img); err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{"legacy", "bundle", "both"} {
			imagegateOK(t, b.dir, cache, "promote", staging.Ref("team/"+kind+":1"), b.registry.Ref(form+"/"+kind+":1"), "--signature-format", form,
				"--policy", filepath.Join(b.dir, "policy.yaml"), "--key", filepath.Join(b.dir, "cosign.key"))
		}
	}
	var table strings.Builder
	table.WriteString("| consumer | version | legacy | bundle | both | refuses tampered | refuses another key | refuses beside another image | refuses in another repository |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range consumers {
		fmt.Fprintf(&table, "| %s | %s |", c.name, b.version(c.module, c.program))
		for _, answer := range b.answers(c.name, c.ask) {
			fmt.Fprintf(&table, " %s |", answer)
		}
		table.WriteByte('\n')
	}
	b.compare(table.String())
}

func (b *bench) start() *lab.Registry {
	b.Helper()
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

// answers are those of one consumer, in the order of the table.
func (b *bench) answers(who string, ask func(b *bench, ref, form string) error) []string {
	b.Helper()
	var out []string
	forms := map[string]bool{} // in which it accepts
	for _, form := range []string{"legacy", "bundle", "both"} {
		b.key = filepath.Join(b.dir, "cosign.pub")
		accepted := 0
		refs := []string{b.registry.Ref(form + "/fixed:1"), b.registry.Ref(form + "/index-attested:1")}
		for _, ref := range refs {
			if err := ask(b, ref, form); err != nil {
				b.Logf("%s, %s: %v", who, ref, err)
			} else {
				accepted++
			}
		}
		if accepted != 0 && accepted != len(refs) {
			b.Errorf("%s accepts %d of %d images in the form %s", who, accepted, len(refs), form)
		}
		forms[form] = accepted == len(refs)
		out = append(out, map[bool]string{true: "yes", false: "no"}[forms[form]])
	}
	if who == "oras" {
		return append(out, "-", "-", "-", "-") // it lists, and verifies nothing
	}
	for _, attempt := range []func(form string) string{b.tampered, b.otherKey, b.otherImage, b.otherRepository} {
		refused, asked := 0, 0
		for form, accepts := range forms {
			if !accepts {
				continue
			}
			asked++
			b.key = filepath.Join(b.dir, "cosign.pub")
			if err := ask(b, attempt(form), form); err != nil {
				refused++
			}
		}
		switch refused {
		case asked:
			out = append(out, "yes")
		case 0:
			out = append(out, "no")
		default:
			out = append(out, fmt.Sprintf("%d of %d", refused, asked))
		}
	}
	return out
}

// promotedDigest is the image that was promoted in a form.
func (b *bench) promotedDigest(form string) name.Digest {
	b.Helper()
	repo, err := name.NewRepository(b.registry.Ref(form + "/fixed"))
	if err != nil {
		b.Fatal(err)
	}
	return repo.Digest(head(b.T, b.registry.Ref(form+"/fixed:1")).Digest.String())
}

// beside puts an image into a repository, with the signatures of what was promoted.
func (b *bench) beside(form, path string, image func() (remote.Taggable, error), change func([]byte) []byte) string {
	b.Helper()
	ref := b.registry.Ref(path + "/" + form + ":1")
	img, err := image()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := lab.Push(b.Context(), ref, img); err != nil {
		b.Fatal(err)
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		b.Fatal(err)
	}
	transplant(b.T, b.promotedDigest(form), head(b.T, ref), parsed.Context(), change)
	return ref
}

func (b *bench) tampered(form string) string {
	return b.beside(form, "tampered", images["fixed"], tampered)
}

func (b *bench) otherKey(form string) string {
	b.key = filepath.Join(b.dir, "other.pub")
	return b.registry.Ref(form + "/fixed:1")
}

func (b *bench) otherImage(form string) string {
	return b.beside(form, "beside", images["vulnerable"], untouched)
}

func (b *bench) otherRepository(form string) string {
	return b.beside(form, "elsewhere", images["fixed"], untouched)
}

var required = regexp.MustCompile(`(?m)^tool (\S+)$`)

// version is that of the program's module, as its go.mod has it.
func (b *bench) version(module, program string) string {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		b.Fatal(err)
	}
	tool := required.FindSubmatch(data)
	if tool == nil {
		b.Fatalf("%s names no tool", module)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) > 1 && strings.HasPrefix(string(tool[1]), fields[0]+"/") {
			return fields[1]
		}
	}
	b.Fatalf("%s requires nothing that has %s", module, tool[1])
	return ""
}

// compare holds the table against the one in the documentation.
func (b *bench) compare(table string) {
	b.Helper()
	const path, begin, end = "../docs/trust.md", "<!-- consumers: made by make test-consumers -->\n", "<!-- end of the consumers -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		b.Fatalf("%s has no place for the table:\n%s", path, table)
	}
	want := before + begin + table + end + after
	if *updateConsumers {
		write(b.T, path, []byte(want))
		return
	}
	if want != string(data) {
		b.Errorf("%s does not say what the consumers do, which is:\n%s", path, table)
	}
}
