package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The methods in this file each run one of the consumers, the programs that verify promoted images,
// on one image. The admission policies are the examples in examples/cluster.

// cosign verifies the signature and the decision of ref with the cosign command. The command trusts
// only the signer of this test.
func (b *bench) cosign(program, ref string, more ...string) error {
	for _, command := range [][]string{{"verify"}, {"verify-attestation", "--type", decisionType}} {
		if err := b.run(program, append(append(command, more...), ref)...); err != nil {
			return err
		}
	}
	return nil
}

// byKey returns the arguments that make cosign trust the key and require no log entries.
func (b *bench) byKey() []string {
	nothing := b.file("root.json", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`, nil)
	return []string{"--key", b.trusted.key, "--insecure-ignore-tlog=true", "--trusted-root", nothing}
}

// byIdentity returns the arguments that make cosign trust the identity. They turn off the check of
// the certificate transparency log, because the test's certificate authority does not use one.
func (b *bench) byIdentity() []string {
	return []string{"--certificate-identity", b.trusted.Subject, "--certificate-oidc-issuer", b.trusted.Issuer,
		"--insecure-ignore-sct", "--use-signed-timestamps"}
}

func (b *bench) cosign2(ref, form string) error {
	switch {
	case b.trusted.key != "" && form == "bundle":
		return b.cosign("cosign", ref, append(b.byKey(), "--new-bundle-format")...)
	case b.trusted.key != "":
		return b.cosign("cosign", ref, b.byKey()...)
	case form == "legacy":
		return b.cosign("cosign", ref, append(b.byIdentity(), "--insecure-ignore-tlog", "--ca-roots", b.sigstore.authority,
			"--timestamp-certificate-chain", b.sigstore.stamps)...)
	}
	return b.cosign("cosign", ref, append(b.byIdentity(), "--trusted-root", b.sigstore.root, "--new-bundle-format")...)
}

func (b *bench) cosign3(ref, form string) error {
	switch {
	case b.trusted.key != "":
		return b.cosign("cosign3", ref, b.byKey()...)
	case form == "legacy":
		return b.cosign("cosign3", ref, append(b.byIdentity(), "--trusted-root", b.sigstore.root, "--insecure-ignore-tlog")...)
	}
	return b.cosign("cosign3", ref, append(b.byIdentity(), "--trusted-root", b.sigstore.root)...)
}

func (b *bench) policyTester(ref, form string) error {
	example := "policy-controller.yaml"
	if b.trusted.key == "" {
		example = "policy-controller-identity.yaml"
	}
	text := b.example(example)
	if form == "bundle" {
		text = strings.Replace(text, "    attestations:\n", "    signatureFormat: bundle\n    attestations:\n", 1)
	}
	policy := filepath.Join(b.dir, "cip.yaml")
	write(b.T, policy, []byte(text))
	if b.trusted.key != "" {
		return b.run("policy-tester", "--policy", policy, "--image", ref)
	}
	return b.run("policy-tester", "--policy", policy, "--trustroot", b.trustRoot(), "--image", ref)
}

var publicKey = regexp.MustCompile(`(?s)( *)-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----`)

// example returns a file from examples/cluster, changed to trust the registry and the signer of
// this test.
func (b *bench) example(name string) string {
	b.Helper()
	text := b.read(filepath.Join("..", "examples", "cluster", name))
	instead := []string{`"approved.example/`, `"`}
	if b.trusted.key == "" {
		instead = append(instead, "https://token.actions.githubusercontent.com", b.trusted.Issuer,
			"https://github.com/example/app/.github/workflows/release.yml@refs/heads/main", b.trusted.Subject,
			"https://rekor.example", b.sigstore.trusted.Logs[0].BaseURL)
	}
	text = strings.NewReplacer(instead...).Replace(text)
	return publicKey.ReplaceAllStringFunc(text, func(was string) string {
		indent := publicKey.FindStringSubmatch(was)[1]
		return indent + strings.ReplaceAll(strings.TrimSpace(b.pem()), "\n", "\n"+indent)
	})
}

// trustRoot returns the test's Sigstore as a TrustRoot resource for policy-controller.
func (b *bench) trustRoot() string {
	type authority struct {
		Subject   map[string]string `json:"subject"`
		URI       string            `json:"uri"`
		CertChain string            `json:"certChain"`
	}
	authorities := func(from []certified, file string) []authority {
		chain, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		one := from[0]
		subject := map[string]string{"organization": one.Subject.Organization, "commonName": "-"}
		return []authority{{subject, one.URI, base64.StdEncoding.EncodeToString(chain)}}
	}
	log := b.sigstore.trusted.Logs[0]
	key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: log.PublicKey.RawBytes})
	resource, err := json.Marshal(map[string]any{"apiVersion": "policy.sigstore.dev/v1alpha1", "kind": "TrustRoot",
		"metadata": map[string]string{"name": "own"},
		"spec": map[string]any{"sigstoreKeys": map[string]any{
			"certificateAuthorities": authorities(b.sigstore.trusted.Authorities, b.sigstore.authority),
			"timestampAuthorities":   authorities(b.sigstore.trusted.Stamps, b.sigstore.stamps),
			"tLogs":                  []map[string]any{{"baseURL": log.BaseURL, "hashAlgorithm": "sha-256", "publicKey": key}},
		}}})
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.dir, "trustroot.yaml")
	write(b.T, path, resource)
	return path
}

func (b *bench) kyverno(ref, form string) error {
	policy := filepath.Join(b.dir, "kyverno.yaml")
	switch {
	case b.trusted.key != "" && form != "bundle":
		write(b.T, policy, []byte(b.example("kyverno.yaml")))
	case b.trusted.key == "" && form == "bundle":
		write(b.T, policy, []byte(b.example("kyverno-identity.yaml")))
	case b.trusted.key != "":
		policy = b.kyvernoPolicy(`keys:
  rekor: {ignoreTlog: true}
  ctlog: {ignoreSCT: true}
  publicKeys: |-
    {{indent 4 .Key}}
`, map[string]any{"Bundle": true, "Key": b.pem()})
	default:
		policy = b.kyvernoPolicy(`keyless:
  issuer: "{{.Issuer}}"
  subject: "{{.Subject}}"
  rekor: {url: "{{.Log}}", ignoreTlog: true}
  roots: |-
    {{indent 4 .Authority}}
  ctlog:
    ignoreSCT: true
    tsaCertChain: |-
      {{indent 6 .Stamps}}
`, map[string]any{"Bundle": false, "Issuer": b.trusted.Issuer, "Subject": b.trusted.Subject, "Log": b.sigstore.trusted.Logs[0].BaseURL,
			"Authority": b.read(b.sigstore.authority), "Stamps": b.read(b.sigstore.stamps)})
	}
	pod := b.file("pod.yaml", `apiVersion: v1
kind: Pod
metadata: {name: app, namespace: default}
spec: {containers: [{name: app, image: "{{.}}"}]}
`, ref)
	return b.run("kyverno", "apply", policy, "--resource", pod, "--registry")
}

// kyvernoPolicy returns a Kyverno policy that requires the decision and, in the legacy format, the
// signature, both by one attestor.
func (b *bench) kyvernoPolicy(attestor string, data map[string]any) string {
	b.Helper()
	data["Attestor"] = b.text(attestor, data)
	return b.file("kyverno.yaml", `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: promoted}
spec:
  validationFailureAction: Enforce
  rules:
  - name: passed
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["*"]
      type: {{if .Bundle}}SigstoreBundle{{else}}Cosign{{end}}
      mutateDigest: true
      verifyDigest: true
      required: true
{{- if not .Bundle}}
      attestors:
      - entries:
        - {{indent 10 .Attestor}}
{{- end}}
      attestations:
      - type: `+decisionType+`
        attestors:
        - entries:
          - {{indent 12 .Attestor}}
        conditions:
        - all:
          - {key: "{{"{{ policy.uri }}"}}", operator: Equals, value: policy.yaml}
          - {key: "{{"{{ verificationResult }}"}}", operator: Equals, value: PASSED}
`, data)
}

// slsaVerifier verifies the decision with the slsa-verifier command, for the repository of ref. The
// command reads the envelope from a file.
func (b *bench) slsaVerifier(ref, form string) error {
	if b.trusted.key == "" {
		return errors.New("verify-vsa takes a key alone")
	}
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
		"--verified-level", "IMAGEGATE_POLICY", "--public-key-path", b.trusted.key)
}

// decision returns the envelope of the decision, read from one signature format.
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

// oras lists the attachments of an image with the oras command. It verifies no signatures.
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

// text executes a text template with data.
func (b *bench) text(text string, data any) string {
	b.Helper()
	t, err := template.New("").Funcs(template.FuncMap{"indent": func(n int, s string) string {
		return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+strings.Repeat(" ", n))
	}}).Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		b.Fatal(err)
	}
	return out.String()
}

// file executes a text template, writes the result to a file, and returns the path of the file.
func (b *bench) file(name, text string, data any) string {
	b.Helper()
	path := filepath.Join(b.dir, name)
	write(b.T, path, []byte(b.text(text, data)))
	return path
}

func (b *bench) read(path string) string {
	b.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}

// pem returns the trusted key in PEM, or "" if an identity is trusted.
func (b *bench) pem() string {
	b.Helper()
	if b.trusted.key == "" {
		return ""
	}
	return b.read(b.trusted.key)
}
