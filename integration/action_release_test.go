package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/lab"
)

// releasedVersion is the version in the action of the tests, and requestedVersion another one.
const releasedVersion, requestedVersion = "1.2.3", "1.3.0"

// published is a folder with releases, as the release workflow would publish them.
type published struct {
	dir      string // has a folder for each tag
	sum      string // the SHA-256 of every archive for this machine
	sign     string // the program that signed the releases
	sigstore string // the folder of its private Sigstore
	root     string // the trusted root of this Sigstore
}

// otherSigner is the version of a release that the workflow of another repository signed.
const otherSigner = "1.2.4"

// publishedReleases makes releases with the binary of the tests, signed by a private Sigstore as GitHub's
// release workflow signs.
var publishedReleases = sync.OnceValues(func() (published, error) {
	base := filepath.Join(shared, "releases")
	p := published{dir: base, sign: base + "-sign", sigstore: base + "-sigstore", root: filepath.Join(base+"-sigstore", "trusted_root.json")}
	if err := command("..", "go", "build", "-trimpath", "-o", p.sign, "./integration/release/sign"); err != nil {
		return p, err
	}
	program, err := exec.LookPath("imagegate")
	if err != nil {
		return p, err
	}
	packed := base + ".tar.xz"
	if err := command(filepath.Dir(program), "tar", "-I", "xz -0 -T0", "-cf", packed, "imagegate"); err != nil {
		return p, err
	}
	data, err := os.ReadFile(packed)
	if err != nil {
		return p, err
	}
	p.sum = sumOf(data)
	for version, repository := range map[string]string{
		releasedVersion: "imagegate/imagegate", requestedVersion: "imagegate/imagegate", otherSigner: "other/imagegate",
	} {
		dir := filepath.Join(base, "v"+version)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return p, err
		}
		if err := os.Link(packed, filepath.Join(dir, archiveOf(version))); err != nil {
			return p, err
		}
		if err := os.WriteFile(filepath.Join(dir, "checksums.txt"), p.checksums(version), 0o600); err != nil {
			return p, err
		}
		if err := command(dir, p.sign, "-tag", "v"+version, "-sigstore", p.sigstore, "-repository", "https://github.com/"+repository, dir); err != nil {
			return p, err
		}
	}
	return p, nil
})

// archiveOf returns the name of the archive of a release for this machine.
func archiveOf(version string) string {
	return "imagegate_" + version + "_linux_" + runtime.GOARCH + ".tar.xz"
}

func command(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// checksums returns the content of checksums.txt. It also lists archives of other platforms, which the
// tests do not need.
func (p published) checksums(version string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s  %s\n", p.sum, archiveOf(version))
	for _, platform := range []string{"linux_amd64.tar.xz", "linux_arm64.tar.xz", "darwin_amd64.tar.xz", "darwin_arm64.tar.xz", "windows_amd64.zip", "windows_arm64.zip"} {
		if name := "imagegate_" + version + "_" + platform; name != archiveOf(version) {
			fmt.Fprintf(&b, "%s  %s\n", sumOf([]byte(name)), name)
		}
	}
	return b.Bytes()
}

// releases is a server with releases that a test may change, and an action that names one of them.
type releases struct {
	published
	action string // the folder of the action
	inputs map[string]string
	// served counts the requests.
	served atomic.Int64
}

// serveReleases copies the releases, serves them, and writes their checksums into a copy of the actions
// with the program that does it after a release.
func serveReleases(t *testing.T) *releases {
	t.Helper()
	p, err := publishedReleases()
	if err != nil {
		t.Fatal(err)
	}
	s := &releases{published: p, action: t.TempDir()}
	s.dir = t.TempDir()
	copyFolder(t, p.dir, s.dir)
	files := http.FileServer(http.Dir(s.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	copyFolder(t, "../.github/actions", filepath.Join(s.action, ".github", "actions"))
	data, err := os.ReadFile("../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.action, "action.yml"), data)
	if err := command("..", "go", "run", "./integration/release/pins", filepath.Join(s.dir, "v"+releasedVersion, "checksums.txt"),
		filepath.Join(s.action, "action.yml"), filepath.Join(s.action, verifyAction, "action.yml")); err != nil {
		t.Fatal(err)
	}
	s.inputs = map[string]string{"release-url": server.URL + "/", "release-trusted-root": s.root}
	return s
}

// file returns the path of a file of a release on the server.
func (s *releases) file(version, name string) string { return filepath.Join(s.dir, "v"+version, name) }

// with returns the inputs of a promotion with these releases.
func (s *releases) with(r *runner, replaced map[string]string) map[string]string {
	inputs := r.inputs(s.inputs)
	for k, v := range replaced {
		inputs[k] = v
	}
	return inputs
}

// mustNotCompile checks that the action ran neither Go nor an action for building.
func (u use) mustNotCompile(t *testing.T) {
	t.Helper()
	for _, step := range u.steps {
		if strings.Contains(step, "setup-go") || strings.Contains(step, "actions/cache@") || strings.Contains(step, "uild") {
			t.Errorf("the action runs %q, although there is a release", step)
		}
	}
}

// TestCIActionInstallsARelease runs both actions with a release, on a machine without Go. The second use
// takes the kept archive. The test prints the time from there to the gate.
func TestCIActionInstallsARelease(t *testing.T) {
	r, s := newRunner(t, "fixed", lab.Options{}, lab.Options{}), serveReleases(t)
	r.env["PATH"] = "/usr/bin:/bin"
	r.env["RUNNER_TOOL_CACHE"] = t.TempDir()
	r.env["GOROOT"] = "/none"
	first := r.act(t, s.action, s.with(r, nil))
	first.must(t, 0)
	first.mustAgree(t)
	first.mustSay(t, "verified "+archiveOf(releasedVersion)+": release v1.2.3")
	first.mustNotCompile(t)
	r.mustBePromoted(t, "1")

	served, start := s.served.Load(), time.Now()
	second := r.act(t, s.action, s.with(r, map[string]string{"command": "verify"})) // ends before the gate
	installed := time.Since(start)
	second.must(t, 3)
	second.mustNotCompile(t)
	if s.served.Load() != served {
		t.Errorf("the kept release was downloaded again")
	}
	t.Logf("from a kept release to the gate: %s", installed.Round(10*time.Millisecond))
	// The tests of other packages run at the same time, so only "make bench-action" applies the limit.
	if os.Getenv("IMAGEGATE_TEST_TIME") != "" && installed > 5*time.Second {
		t.Errorf("installing from a kept release took %s", installed)
	}
	inputs := map[string]string{"image": r.target + ":1", "key": strings.TrimSuffix(r.key, ".key") + ".pub"}
	for k, v := range s.inputs {
		inputs[k] = v
	}
	verified := r.act(t, filepath.Join(s.action, verifyAction), inputs)
	verified.must(t, 0)
	verified.mustAgree(t)
	verified.mustNotCompile(t)
}

// TestCIActionVerifiesAnotherRelease checks that the release in the action verifies a requested one.
func TestCIActionVerifiesAnotherRelease(t *testing.T) {
	r, s := newRunner(t, "fixed", lab.Options{}, lab.Options{}), serveReleases(t)
	u := r.act(t, s.action, s.with(r, map[string]string{"version": "v" + requestedVersion}))
	u.must(t, 0)
	u.mustSay(t, "verified "+archiveOf(requestedVersion)+": release v1.3.0")
	u.mustNotCompile(t)
	for name, change := range map[string]func(){
		"a changed archive": func() { flip(t, s.file(requestedVersion, archiveOf(requestedVersion))) },
		"another tag": func() {
			for _, file := range []string{"checksums.txt", "checksums.txt.sigstore.json", "provenance.sigstore.json"} {
				copyFile(t, s.file(releasedVersion, file), s.file(requestedVersion, file))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
			change()
			u := r.act(t, s.action, s.with(r, map[string]string{"version": requestedVersion}))
			r.mustRefuse(t, u, 6)
		})
	}
}

// mustRefuse checks that the action failed before it ran the gate.
func (r *runner) mustRefuse(t *testing.T, u use, code int) {
	t.Helper()
	u.must(t, code)
	u.mustAgree(t)
	if slices.Contains(u.steps, "Run imagegate") {
		t.Error("the gate ran")
	}
	if !strings.Contains(u.summary, "imagegate did not run, or its report could not be read. The ") || u.outputs["digest"] != "" {
		t.Errorf("outputs %v, summary:\n%s", u.outputs, u.summary)
	}
	r.mustBeUntouched(t)
}

// TestCIActionRefusesAFalseRelease checks that the action runs nothing from a release that is not exactly
// the one that it names, and that it does not build from source instead.
func TestCIActionRefusesAFalseRelease(t *testing.T) {
	archive := archiveOf(releasedVersion)
	for name, c := range map[string]struct {
		change func(t *testing.T, s *releases)
		inputs map[string]string
		code   int
		says   string
	}{
		"a changed byte":     {func(t *testing.T, s *releases) { flip(t, s.file(releasedVersion, archive)) }, nil, 6, "but the action expects"},
		"a changed checksum": {func(t *testing.T, s *releases) { flip(t, s.file(releasedVersion, "checksums.txt")) }, nil, 6, "could not be verified"},
		"a wrong signature": {func(t *testing.T, s *releases) {
			copyFile(t, s.file(requestedVersion, "checksums.txt.sigstore.json"), s.file(releasedVersion, "checksums.txt.sigstore.json"))
		}, nil, 6, "could not be verified"},
		"another workflow": {func(t *testing.T, s *releases) {
			if err := command(s.dir, s.sign, "-workflow", ".github/workflows/test.yml", "-tag", "v"+releasedVersion, "-sigstore", s.sigstore, filepath.Join(s.dir, "v"+releasedVersion)); err != nil {
				t.Fatal(err)
			}
		}, nil, 6, "could not be verified"},
		"no provenance": {func(t *testing.T, s *releases) {
			if err := os.Remove(s.file(releasedVersion, "provenance.sigstore.json")); err != nil {
				t.Fatal(err)
			}
		}, nil, 4, "could not be downloaded"},
		"wrong provenance": {func(t *testing.T, s *releases) {
			copyFile(t, s.file(requestedVersion, "provenance.sigstore.json"), s.file(releasedVersion, "provenance.sigstore.json"))
		}, nil, 6, "could not be verified"},
		"no server":          {nil, map[string]string{"release-url": "http://127.0.0.1:1"}, 4, "could not be downloaded"},
		"no TLS":             {nil, map[string]string{"release-url": "http://releases.example/x"}, 3, "The input release-url is not an https URL"},
		"a hidden host":      {nil, map[string]string{"release-url": "http://127.0.0.1:80@releases.example/"}, 3, "The input release-url is not an https URL"},
		"no trusted root":    {nil, map[string]string{"release-trusted-root": "none.json"}, 3, "was not verified"},
		"an unknown version": {nil, map[string]string{"version": "v9.9.9"}, 4, "could not be downloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newRunner(t, "fixed", lab.Options{}, lab.Options{}), serveReleases(t)
			if c.change != nil {
				c.change(t, s)
			}
			u := r.act(t, s.action, s.with(r, c.inputs))
			u.mustSay(t, c.says)
			r.mustRefuse(t, u, c.code)
			u.mustNotCompile(t)
		})
	}
}

// TestCIActionChecksAKeptRelease checks that the action never uses a kept file without checking it.
func TestCIActionChecksAKeptRelease(t *testing.T) {
	r, s := newRunner(t, "fixed", lab.Options{}, lab.Options{}), serveReleases(t)
	r.env["RUNNER_TOOL_CACHE"] = t.TempDir()
	kept := filepath.Join(r.env["RUNNER_TOOL_CACHE"], "imagegate-releases", releasedVersion)
	run := func(code int) {
		t.Helper()
		r.act(t, s.action, s.with(r, nil)).must(t, code)
	}
	run(0)
	archive := filepath.Join(kept, archiveOf(releasedVersion))
	good, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, archive)
	run(0) // downloads it again
	if now, err := os.ReadFile(archive); err != nil || !bytes.Equal(now, good) {
		t.Errorf("the changed archive is still kept: %v", err)
	}
	flip(t, filepath.Join(kept, "checksums.txt"))
	run(6)
	run(0) // the files that did not verify are gone
}

// underAct is a workflow with three uses of the actions: a promotion, its verification, and a denial.
const underAct = `on: push
jobs:
  job:
    runs-on: ubuntu-24.04
    steps:
      - run: cp -R "$PROJECT/." .
      - uses: ./imagegate
        id: passed
        with: {image: %[1]q, approved: %[2]q, policy: policy.yaml, key: %[3]q, key-password: %[4]q, update-database: "false", release-url: %[5]q, release-trusted-root: %[6]q}
      - uses: ./imagegate/.github/actions/verify
        id: verified
        with: {image: "${{ steps.passed.outputs.approved }}", key: %[7]q, release-url: %[5]q, release-trusted-root: %[6]q}
      - uses: ./imagegate
        id: denied
        continue-on-error: true
        with: {command: check, image: "oci-archive:image.tar", policy: policy.yaml, update-database: "false", release-url: %[5]q, release-trusted-root: %[6]q}
      - env:
          RESULT: |-
            ${{ steps.passed.outputs.decision }} ${{ steps.passed.outputs.exit-code }} ${{ steps.passed.outputs.approved }}
            ${{ steps.verified.outputs.decision }} ${{ steps.verified.outputs.exit-code }} ${{ steps.verified.outputs.digest }}
            ${{ steps.denied.outputs.decision }} ${{ steps.denied.outputs.exit-code }} ${{ steps.denied.outputs.approved }}
        run: printf '%%s' "$RESULT" > "$PROJECT/result"
`

// TestCIUnderAct runs both actions with a release under act, which runs steps on this machine as GitHub's
// runner does. "make test-act" builds act.
func TestCIUnderAct(t *testing.T) {
	act := os.Getenv("IMAGEGATE_TEST_ACT")
	if act == "" {
		t.Skip("IMAGEGATE_TEST_ACT does not name act")
	}
	r, s := newRunner(t, "fixed", lab.Options{}, lab.Options{}), serveReleases(t)
	img, err := images["vulnerable"]()
	if err != nil {
		t.Fatal(err)
	}
	saveArchive(t, img, filepath.Join(r.workspace, "image.tar"))
	copyFolder(t, s.action, filepath.Join(r.workspace, "imagegate"))
	workflows := filepath.Join(r.workspace, ".github", "workflows")
	if err := os.MkdirAll(workflows, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(workflows, "job.yml"), fmt.Appendf(nil, underAct, r.image+":1", r.target+":1", r.key, keyPassword,
		s.inputs["release-url"], s.inputs["release-trusted-root"], strings.TrimSuffix(r.key, ".key")+".pub"))
	script := `git init -q . && git add policy.yaml && git -c user.name=a -c user.email=a@ci.example commit -qm a
"$ACT" push --platform ubuntu-24.04=-self-hosted --env PROJECT="$PWD" --env IMAGEGATE_CACHE_DIR="$IMAGEGATE_CACHE_DIR"`
	// act also fetches actions of steps that it skips. Empty actions take their place, without the network.
	nested := t.TempDir()
	for _, dir := range []string{".", "restore", "save"} {
		if err := os.MkdirAll(filepath.Join(nested, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(nested, dir, "action.yml"), []byte("name: none\ndescription: none\nruns: {using: composite, steps: [{run: 'true', shell: bash}]}\n"))
	}
	for _, step := range readAction(t, ".").Runs.Steps {
		if name, commit, ok := strings.Cut(step.Uses, "@"); ok {
			parts := strings.Split(name, "/")
			script += fmt.Sprintf(" --local-repository %s/%s@%s=%s", parts[0], parts[1], commit, nested)
		}
	}
	result := r.bash(t, script, map[string]string{"ACT": act})
	result.must(t, 0)
	data, err := os.ReadFile(filepath.Join(r.workspace, "result"))
	if err != nil {
		t.Fatalf("%v\n%s", err, result.log)
	}
	want := regexp.MustCompile(`^passed 0 ` + regexp.QuoteMeta(r.target) + `@(sha256:[0-9a-f]{64})\npassed 0 (sha256:[0-9a-f]{64})\ndenied 2\s*$`)
	if m := want.FindSubmatch(data); m == nil || !bytes.Equal(m[1], m[2]) {
		t.Errorf("the outputs are %q\n%s", data, result.log)
	}
	r.mustBePromoted(t, "1")
}

// flip changes a bit of a file.
func flip(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	write(t, file, data)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, data)
}
