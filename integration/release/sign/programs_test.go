package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"gopkg.in/yaml.v3"
)

const (
	source   = "github.com/imagegate/imagegate"
	workflow = "https://" + source + "/.github/workflows/release.yml"
	issuer   = "https://token.actions.githubusercontent.com"
)

// programs are the programs of other projects that verify a release.
type programs struct {
	bin, mirror string
}

// TestOtherProgramsVerify verifies each attempt with cosign and slsa-verifier. "make test-release"
// builds the programs. Without the programs, the test does nothing.
func TestOtherProgramsVerify(t *testing.T) {
	p := programs{bin: os.Getenv("IMAGEGATE_TEST_CONSUMERS")}
	if p.bin == "" {
		t.Log("IMAGEGATE_TEST_CONSUMERS names no folder: see make test-release")
		return
	}
	var dir string
	dir, p.mirror = newSigstore(t)
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			f := a.signed(t, dir)
			for _, cosign := range []string{"cosign", "cosign3"} {
				check(t, cosign+", checksums", p.signature(f, cosign), a.signature)
				check(t, cosign+", provenance", p.provenance(f, cosign), a.provenance)
			}
			check(t, "slsa-verifier", p.slsa(f), a.provenance)
		})
	}
}

// TestSLSAVerifierKnowsItsBuildersOnly checks that slsa-verifier still needs the builder to be added
// to its list. If this test fails, the slsa-verifier command itself can verify a release.
func TestSLSAVerifierKnowsItsBuildersOnly(t *testing.T) {
	p := programs{bin: os.Getenv("IMAGEGATE_TEST_CONSUMERS")}
	if p.bin == "" {
		return
	}
	var dir string
	dir, p.mirror = newSigstore(t)
	f := attempts[0].signed(t, dir)
	err := p.slsaWith(f, f.files[0])
	if err == nil || !strings.Contains(err.Error(), "builderID is invalid") {
		t.Errorf("slsa-verifier without our builder: %v", err)
	}
}

// TestConfiguredSignatureIsABundle runs cosign with the arguments in .goreleaser.yaml, but with a key
// instead of an identity. "imagegate verify-release" reads only bundles.
func TestConfiguredSignatureIsABundle(t *testing.T) {
	bin := os.Getenv("IMAGEGATE_TEST_CONSUMERS")
	if bin == "" {
		t.Skip("IMAGEGATE_TEST_CONSUMERS names no folder: see make test-release")
	}
	data, err := os.ReadFile("../../../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Signs []struct{ Args []string }
	}
	if err := yaml.Unmarshal(data, &config); err != nil || len(config.Signs) != 1 {
		t.Fatalf("%+v, %v", config, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "checksums.txt"), []byte("sums"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "cosign"), args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "COSIGN_PASSWORD=a password", "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("generate-key-pair")
	replace := strings.NewReplacer("${artifact}", "checksums.txt", "${signature}", "checksums.txt.sigstore.json")
	args := []string{}
	for _, a := range config.Signs[0].Args {
		args = append(args, replace.Replace(a))
	}
	run(append(args, "--key", "cosign.key", "--tlog-upload=false")...)
	signature, err := os.ReadFile(filepath.Join(dir, "checksums.txt.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(signature); err != nil || b.GetMessageSignature() == nil {
		t.Errorf("%v\n%s", err, signature)
	}
}

func check(t *testing.T, who string, err error, accepts bool) {
	t.Helper()
	if (err == nil) != accepts {
		t.Errorf("%s: accepted: %t, want %t: %v", who, err == nil, accepts, err)
	} else if err != nil {
		t.Logf("%s: %v", who, err)
	}
}

// run runs a program offline, in the folder and with an empty home folder.
func (p programs) run(f *folder, program string, args ...string) error {
	cmd := exec.CommandContext(f.Context(), filepath.Join(p.bin, program), args...)
	home := f.TempDir()
	cmd.Dir = f.path
	cmd.Env = append(os.Environ(), "HOME="+home, "TUF_ROOT="+filepath.Join(home, "tuf"), "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		f.Fatal(err) // the program did not run, so this is not a refusal
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// identity returns the arguments of cosign that name the signer.
func (f *folder) identity(program string) []string {
	args := []string{"--trusted-root", filepath.Join(f.sigstore, rootFile), "--certificate-identity", workflow + "@refs/tags/" + tag,
		"--certificate-oidc-issuer", issuer, "--certificate-github-workflow-repository", "imagegate/imagegate"}
	if program == "cosign" {
		args = append(args, "--new-bundle-format")
	}
	return args
}

// signature verifies the signature of the checksums with cosign.
func (p programs) signature(f *folder, program string) error {
	return p.run(f, program, append(append([]string{"verify-blob", "--bundle", bundleFile}, f.identity(program)...), checksumsFile)...)
}

// provenance verifies the provenance of each file with cosign.
func (p programs) provenance(f *folder, program string) error {
	for _, name := range f.files {
		args := append([]string{"verify-blob-attestation", "--bundle", provenanceFile, "--type", "slsaprovenance1"}, f.identity(program)...)
		if err := p.run(f, program, append(args, name)...); err != nil {
			return err
		}
	}
	return nil
}

// slsa verifies the provenance of each file with slsa-verifier.
func (p programs) slsa(f *folder) error {
	for _, name := range f.files {
		if err := p.slsaWith(f, name, "-trusted-builder", workflow); err != nil {
			return err
		}
	}
	return nil
}

func (p programs) slsaWith(f *folder, name string, more ...string) error {
	args := append([]string{"-tuf-mirror", p.mirror, "-tuf-root", filepath.Join(f.sigstore, tufRootFile), "-attestation-path", provenanceFile,
		"-source-uri", source, "-builder-id", workflow + "@" + tag}, more...)
	return p.run(f, "slsa-verifier-attestation", append(args, name)...)
}
