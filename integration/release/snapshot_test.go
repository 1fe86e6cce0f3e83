// Package release tests the files of a release: it builds them as the release workflow does, for the
// platform of this machine, and uses them as a user does.
package release

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

// tag is the tag of the release that the tests build. version is the version in file names.
const (
	tag     = "v0.0.1"
	version = "0.0.1"
)

// programs returns the folder with the programs that make a release, or skips the test.
func programs(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("IMAGEGATE_TEST_RELEASE_PROGRAMS")
	if dir == "" {
		t.Skip(`IMAGEGATE_TEST_RELEASE_PROGRAMS is not set: use "make test-release"`)
	}
	if runtime.GOOS != "linux" {
		t.Skip("the container image needs a binary for Linux")
	}
	return dir
}

// command is a program that a test runs.
type command struct {
	dir string
	env []string // in addition to the environment of the test
}

// run runs a program that must end with the exit code, and returns its output.
func (c command) run(t *testing.T, code int, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", program, err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s %s: exit code %d, not %d\n%s", program, strings.Join(args, " "), got, code, &out)
	}
	return out.String()
}

// snapshot is a folder with the files of a release.
type snapshot struct {
	source string // the clone that was built
	dist   string
	image  string // the OCI image layout
}

// build clones the project into dir, and builds the release there from a tag.
func build(t *testing.T, programs, dir string) snapshot {
	t.Helper()
	s := snapshot{source: dir, dist: filepath.Join(dir, "dist"), image: filepath.Join(dir, "dist", "image")}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	command{}.run(t, 0, "git", "clone", "--quiet", root, dir)
	in := command{dir: dir, env: []string{"PATH=" + programs + string(filepath.ListSeparator) + os.Getenv("PATH")}}
	in.run(t, 0, "git", "tag", tag)
	in.run(t, 0, filepath.Join(programs, "goreleaser"), "release", "--clean", "--skip=publish,announce,sign,validate", "--config", thisPlatform(t, dir))
	in.run(t, 0, "make", "release-image", "VERSION="+tag, "PLATFORMS=linux/"+runtime.GOARCH, "BIN="+filepath.Dir(programs))
	return s
}

// thisPlatform writes the configuration of goreleaser with this machine's platform only.
func thisPlatform(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for from, to := range map[string]string{
		"goos: [linux, darwin, windows]": "goos: [" + runtime.GOOS + "]",
		"goarch: [amd64, arm64]":         "goarch: [" + runtime.GOARCH + "]",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf(".goreleaser.yaml has no %q", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	file := filepath.Join(t.TempDir(), "goreleaser.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSnapshot(t *testing.T) {
	dir := programs(t)
	first := build(t, dir, filepath.Join(t.TempDir(), "first"))
	second := build(t, dir, filepath.Join(t.TempDir(), "elsewhere", "second"))
	t.Run("two builds give the same bytes", func(t *testing.T) { sameBytes(t, first, second) })
	archive := "imagegate_" + version + "_linux_" + runtime.GOARCH + ".tar.xz"
	t.Run("the archive is small", func(t *testing.T) {
		info, err := os.Stat(filepath.Join(first.dist, archive))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 35e6 {
			t.Errorf("%s has %d bytes", archive, info.Size())
		}
	})
	installed := t.TempDir()
	command{}.run(t, 0, "tar", "-xJf", filepath.Join(first.dist, archive), "-C", installed)
	imagegate := filepath.Join(installed, "imagegate")
	t.Run("the binary knows its version", func(t *testing.T) {
		out := command{}.run(t, 0, imagegate, "version")
		commit := strings.TrimSpace(command{dir: first.source}.run(t, 0, "git", "rev-parse", "HEAD"))
		if !strings.Contains(out, "imagegate version "+tag+"\n") || !strings.Contains(out, commit+", ") || strings.Contains(out, "modified") {
			t.Errorf("the version is\n%s", out)
		}
	})
	t.Run("the command in docs/release.md builds it again", func(t *testing.T) { buildAgain(t, second, imagegate) })
	t.Run("packages have binary, manual and completion", func(t *testing.T) { packages(t, first) })
	t.Run("imagegate promotes its own image", func(t *testing.T) { promoteImage(t, imagegate, first) })
	t.Run("signed, it is verified", func(t *testing.T) { verifyRelease(t, imagegate, first, archive) })
	if out := os.Getenv("IMAGEGATE_TEST_RELEASE"); out != "" {
		keep(t, first, out)
	}
}

// buildAgain runs the documented command in the clone of a release, and compares the binary.
func buildAgain(t *testing.T, s snapshot, released string) {
	t.Helper()
	const documented = "CGO_ENABLED=0 go build -trimpath -buildvcs=true -ldflags '-s -w' -o imagegate .\n"
	if !strings.Contains(read(t, filepath.Join(s.source, "docs/release.md")), documented) {
		t.Fatalf("docs/release.md has no %q", documented)
	}
	command{dir: s.source}.run(t, 0, "sh", "-c", documented)
	if read(t, filepath.Join(s.source, "imagegate")) != read(t, released) {
		t.Error("the binary differs from the one in the archive")
	}
}

// sameBytes compares the checksums of all files and the digests of the images.
func sameBytes(t *testing.T, a, b snapshot) {
	t.Helper()
	for _, file := range []string{"dist/checksums.txt", "dist/image/index.json", "dist/homebrew/Casks/imagegate.rb"} {
		one, err := os.ReadFile(filepath.Join(a.source, file))
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(b.source, file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, other) {
			t.Errorf("%s differs:\n%s\n%s", file, one, other)
		}
	}
	if n := len(strings.Split(strings.TrimSpace(read(t, filepath.Join(a.dist, "checksums.txt"))), "\n")); n != 5 {
		t.Errorf("there are %d checksums; expected an archive, its SBOM and three packages", n)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// packages checks the contents of the deb package.
func packages(t *testing.T, s snapshot) {
	t.Helper()
	deb := filepath.Join(s.dist, "imagegate_"+version+"_linux_"+runtime.GOARCH+".deb")
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("there is no dpkg-deb")
	}
	list := command{}.run(t, 0, "dpkg-deb", "--contents", deb)
	for _, file := range []string{"./usr/bin/imagegate", "./usr/share/man/man1/imagegate.1", "./usr/share/man/man1/imagegate-promote.1",
		"./usr/share/bash-completion/completions/imagegate", "./usr/share/doc/imagegate/copyright"} {
		if !strings.Contains(list, file+"\n") {
			t.Errorf("the package has no %s:\n%s", file, list)
		}
	}
}

// promoteImage promotes imagegate's own container image by its release policy, and by the policy of
// the profile "strict", and runs the binary in the image.
func promoteImage(t *testing.T, imagegate string, s snapshot) {
	t.Helper()
	approved, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { approved.Close() })
	in := command{dir: t.TempDir(), env: []string{"IMAGEGATE_CACHE_DIR=" + t.TempDir(), "COSIGN_PASSWORD=a password"}}
	in.run(t, 0, imagegate, "db", "build", filepath.Join(s.source, "examples/records"), "--to", filepath.Join(in.dir, "database"))
	in.run(t, 0, imagegate, "db", "import", filepath.Join(in.dir, "database"))
	in.run(t, 0, imagegate, "key", "generate")
	in.run(t, 0, imagegate, "policy", "init", "--profile", "strict", "strict.yaml")
	target := approved.Ref("tools/imagegate:" + version)
	out := in.run(t, 0, imagegate, "promote", "oci:"+s.image, target, "--key", "cosign.key",
		"--policy", filepath.Join(s.source, "integration/release/policy.yaml"), "--policy", "strict.yaml")
	if !strings.Contains(out, "PASSED") {
		t.Errorf("the image did not pass:\n%s", out)
	}
	in.run(t, 0, imagegate, "verify", target, "--key", "cosign.pub")
	if runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" {
		describes(t, target)
	}
}

// describes checks the platform and the user of the promoted image.
func describes(t *testing.T, target string) {
	t.Helper()
	ref, err := name.ParseReference(target)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform.String() != "linux/"+runtime.GOARCH {
		t.Errorf("the index has the images %v", manifest.Manifests)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/usr/bin/imagegate"}) ||
		config.Config.Labels["org.opencontainers.image.version"] != tag {
		t.Errorf("the configuration is %+v", config.Config)
	}
}

// verifyRelease signs the files with a private Sigstore, and has the binary of the release verify
// its own archive. Each change must fail.
func verifyRelease(t *testing.T, imagegate string, s snapshot, archive string) {
	t.Helper()
	sigstore := t.TempDir()
	command{dir: ".."}.run(t, 0, "go", "run", "./release/sign", "-tag", tag, "-sigstore", sigstore, s.dist)
	in := command{dir: s.dist, env: []string{"IMAGEGATE_CACHE_DIR=" + t.TempDir()}}
	verify := func(code int, args ...string) string {
		t.Helper()
		return in.run(t, code, imagegate, append([]string{"verify-release", archive, "--trusted-root", filepath.Join(sigstore, "trusted_root.json")}, args...)...)
	}
	if out := verify(0, "--tag", tag); !strings.Contains(out, "verified "+archive) {
		t.Errorf("it does not say what it verified:\n%s", out)
	}
	verify(6, "--tag", "v0.0.2")
	verify(6, "--tag", tag, "--source", "github.com/team/imagegate")
	verify(3)
	changed := read(t, filepath.Join(s.dist, archive))
	if err := os.WriteFile(filepath.Join(s.dist, archive), []byte(changed[:len(changed)-1]+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := verify(6, "--tag", tag); !strings.Contains(out, "its digest is sha256:") {
		t.Errorf("it does not say what is wrong:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(s.dist, archive), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// keep copies the files of the release for other tests.
func keep(t *testing.T, s snapshot, out string) {
	t.Helper()
	if err := os.RemoveAll(out); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.dist, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.IsDir() {
			continue
		}
		if err := os.WriteFile(filepath.Join(out, filepath.Base(f)), []byte(read(t, f)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
