package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

var updateConsumers = flag.Bool("update-consumers", false, "write the table of consumers into docs/trust.md")

// consumers are the programs that verify or inspect promoted images, such as cosign and Kyverno,
// each built from its upstream module.
var consumers = []struct {
	name, module, program string
	// ask runs the program on an image. form is the signature format, legacy or bundle. ask returns
	// nil if the program accepts the image.
	ask func(b *bench, ref, form string) error
}{
	{"cosign v2", "tools/cosign", "cosign", (*bench).cosign2},
	{"cosign v3", "tools/cosign3", "cosign3", (*bench).cosign3},
	{"policy-controller", "tools/policy-tester", "policy-tester", (*bench).policyTester},
	{"Kyverno", "tools/kyverno", "kyverno", (*bench).kyverno},
	{"slsa-verifier", "tools/slsa-verifier", "slsa-verifier", (*bench).slsaVerifier},
	{"oras", "tools/oras", "oras", (*bench).oras},
}

// bench is the environment for testing the consumers: an approved registry with promoted images.
type bench struct {
	*testing.T
	dir, bin string
	registry *lab.Registry
	sigstore *sigstore
	signing  means         // how the tested images were signed
	trusted  trustedSigner // the signer that the consumers trust
}

// trustedSigner is the signer that a consumer trusts: the key in a file, or an identity.
type trustedSigner struct{ key, Subject, Issuer string }

// means is a way of signing: the flags of imagegate that select it, the signer to trust, and
// another signer of the same kind.
type means struct {
	kind       string
	with       []string
	who, other trustedSigner
}

func (b *bench) signings() []means {
	in := func(name string) string { return filepath.Join(b.dir, name) }
	of := func(name string) string { return filepath.Join(b.sigstore.dir, name) }
	return []means{
		{"a key in a file", []string{"--key", in("cosign.key")}, trustedSigner{key: in("cosign.pub")}, trustedSigner{key: in("other.pub")}},
		{"a key of a KMS", []string{"--key", "hashivault://release"}, trustedSigner{key: in("release.pub")}, trustedSigner{key: in("other.pub")}},
		{"an identity", []string{"--keyless", "--identity-token", of("token"), "--signing-config", of("signing.json"), "--trusted-root", b.sigstore.root},
			trustedSigner{Subject: b.sigstore.Subject, Issuer: b.sigstore.Issuer}, trustedSigner{Subject: "somebody@example.com", Issuer: b.sigstore.Issuer}},
	}
}

const decisionType = "https://slsa.dev/verification_summary/v1"

// run runs a program with its own empty home folder.
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

// TestConsumers runs every consumer on images of each kind of signer and in each signature format.
// Some images are unchanged. Others have tampered statements, were promoted by another signer or
// with another policy, or have the signatures of another image or repository. The results must
// equal the table in docs/trust.md. "make test-consumers" builds the programs. Without the
// programs, the test does nothing.
func TestConsumers(t *testing.T) {
	bin := os.Getenv("IMAGEGATE_TEST_CONSUMERS")
	if bin == "" {
		t.Log("IMAGEGATE_TEST_CONSUMERS names no folder: see make test-consumers")
		return
	}
	b := &bench{T: t, dir: t.TempDir(), bin: bin, sigstore: startSigstore(t, filepath.Join(bin, "sigstore.test"))}
	startVault(t, filepath.Join(bin, "vault")).create("release", "ecdsa-p256", filepath.Join(b.dir, "release.pub"))
	cache := database(t)
	staging := b.start()
	b.registry = b.start()
	imagegateOK(t, b.dir, cache, "key", "generate", filepath.Join(b.dir, "cosign"))
	imagegateOK(t, b.dir, cache, "key", "generate", filepath.Join(b.dir, "other"))
	if err := b.run("kyverno-initialize", b.sigstore.Mirror, filepath.Join(b.sigstore.dir, "tuf.json")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b.dir, "policy.yaml"), []byte("version: 1\nrules:\n  - name: no critical\n    severity: critical\n"))
	write(b.T, filepath.Join(b.dir, "lax.yaml"), []byte("version: 1\nrules:\n  - name: everything\n    effect: warn\n"))
	for _, image := range kinds {
		img, err := images[image]()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lab.Push(t.Context(), staging.Ref(image+":1"), img); err != nil {
			t.Fatal(err)
		}
		for _, b.signing = range b.signings() {
			for _, form := range forms {
				imagegateOK(t, b.dir, cache, append([]string{"promote", staging.Ref(image + ":1"), b.promoted(form, image), "--signature-format", form,
					"--policy", filepath.Join(b.dir, "policy.yaml")}, b.signing.with...)...)
			}
			if image != "fixed" {
				continue
			}
			for _, form := range forms {
				imagegateOK(t, b.dir, cache, append([]string{"promote", staging.Ref(image + ":1"), b.otherPolicy(form), "--signature-format", form,
					"--policy", filepath.Join(b.dir, "lax.yaml")}, b.signing.with...)...)
			}
		}
	}
	var table strings.Builder
	table.WriteString("| consumer | version | signed by | legacy | bundle | both | refuses tampered statements | refuses another signer | refuses signatures of another image | refuses signatures of another repository | refuses another policy |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range consumers {
		for _, b.signing = range b.signings() {
			fmt.Fprintf(&table, "| %s | %s | %s |", c.name, b.version(c.module, c.program), b.signing.kind)
			for _, answer := range b.answers(c.name, c.ask) {
				fmt.Fprintf(&table, " %s |", answer)
			}
			table.WriteByte('\n')
		}
	}
	b.compare(table.String())
}

var (
	kinds = []string{"fixed", "index-attested"}
	forms = []string{"legacy", "bundle", "both"}
)

// promoted returns the reference of an image that was promoted in a signature format.
func (b *bench) promoted(form, image string) string {
	return b.registry.Ref(b.path() + "/" + form + "/" + image + ":1")
}

// path returns the repository name for images that this kind of signer signed.
func (b *bench) path() string { return strings.ReplaceAll(strings.ToLower(b.signing.kind), " ", "-") }

func (b *bench) start() *lab.Registry {
	b.Helper()
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

// answers returns which images one consumer accepts, in the order of the columns of the table in
// docs/trust.md.
func (b *bench) answers(who string, ask func(b *bench, ref, form string) error) []string {
	b.Helper()
	var out, accepted []string
	for _, form := range forms {
		b.trusted = b.signing.who
		accepts := 0
		for _, image := range kinds {
			if err := ask(b, b.promoted(form, image), form); err != nil {
				b.Logf("%s, by %s in the form %s: %v", who, b.signing.kind, form, err)
			} else {
				accepts++
			}
		}
		switch accepts {
		case len(kinds):
			accepted = append(accepted, form)
		case 0:
		default:
			b.Errorf("%s accepts %d of %d images by %s in the form %s", who, accepts, len(kinds), b.signing.kind, form)
		}
		out = append(out, map[bool]string{true: "yes", false: "no"}[accepts == len(kinds)])
	}
	if who == "oras" || len(accepted) == 0 { // a program that does not verify images cannot refuse an image
		return append(out, "-", "-", "-", "-", "-")
	}
	for _, attempt := range []func(form string) string{b.tampered, b.otherSigner, b.otherImage, b.otherRepository, b.otherPolicy} {
		refused := 0
		for _, form := range accepted {
			b.trusted = b.signing.who
			if err := ask(b, attempt(form), form); err != nil {
				refused++
			}
		}
		switch refused {
		case len(accepted):
			out = append(out, "yes")
		case 0:
			out = append(out, "no")
		default:
			out = append(out, fmt.Sprintf("%d of %d", refused, len(accepted)))
		}
	}
	return out
}

// promotedDigest returns the digest of the image that was promoted in a signature format.
func (b *bench) promotedDigest(form string) name.Digest {
	b.Helper()
	ref, err := name.ParseReference(b.promoted(form, "fixed"))
	if err != nil {
		b.Fatal(err)
	}
	return ref.Context().Digest(head(b.T, ref.String()).Digest.String())
}

// pushed pushes an image to a repository, and attaches the signatures and statements of the
// promoted image to it. change may alter each signed message.
func (b *bench) pushed(form, path string, image func() (remote.Taggable, error), change func([]byte) []byte) string {
	b.Helper()
	ref := b.registry.Ref(path + "/" + b.path() + "/" + form + ":1")
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
	return b.pushed(form, "tampered", images["fixed"], tampered)
}

func (b *bench) otherSigner(form string) string {
	b.trusted = b.signing.other
	return b.promoted(form, "fixed")
}

func (b *bench) otherImage(form string) string {
	return b.pushed(form, "beside", images["vulnerable"], untouched)
}

func (b *bench) otherRepository(form string) string {
	return b.pushed(form, "elsewhere", images["fixed"], untouched)
}

// otherPolicy returns an image that the same signer has promoted with another policy.
func (b *bench) otherPolicy(form string) string {
	return b.registry.Ref("lax/" + b.path() + "/" + form + ":1")
}

var required = regexp.MustCompile(`(?m)^tool (\S+)$`)

// version returns the version of the consumer's module, from the go.mod file that builds it.
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

// compare fails the test if table differs from the table in docs/trust.md.
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
