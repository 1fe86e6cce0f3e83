package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/lab"
)

// gitlabJob is a job of a GitLab pipeline. Parsing fails on keys that are not listed here, so that a
// key that lets a denied image through cannot be added unnoticed.
type gitlabJob struct {
	Extends   string            `yaml:"extends"`
	Stage     string            `yaml:"stage"`
	Image     string            `yaml:"image"`
	Variables map[string]string `yaml:"variables"`
	Cache     struct {
		Key   string   `yaml:"key"`
		Paths []string `yaml:"paths"`
	} `yaml:"cache"`
	IDTokens map[string]struct {
		Audience string `yaml:"aud"`
	} `yaml:"id_tokens"`
	BeforeScript []string `yaml:"before_script"`
	Script       []string `yaml:"script"`
	AfterScript  []string `yaml:"after_script"`
	AllowFailure struct {
		ExitCodes []int `yaml:"exit_codes"`
	} `yaml:"allow_failure"`
	Artifacts struct {
		When    string            `yaml:"when"`
		Paths   []string          `yaml:"paths"`
		Reports map[string]string `yaml:"reports"`
	} `yaml:"artifacts"`
	Retry struct {
		Max       int      `yaml:"max"`
		ExitCodes []int    `yaml:"exit_codes"`
		When      []string `yaml:"when"`
	} `yaml:"retry"`
	ResourceGroup string              `yaml:"resource_group"`
	Rules         []map[string]string `yaml:"rules"`
}

func decode(t *testing.T, path string, into any, strict bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(strict)
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		t.Fatalf("%s: a second document, or %v", path, err)
	}
}

// readJob returns a job of the GitLab example, with the keys of the hidden job that it extends. As in
// GitLab, lists are replaced and maps are merged.
func readJob(t *testing.T, name string) gitlabJob {
	t.Helper()
	const file, base = "../examples/ci/gitlab-ci.yml", ".imagegate"
	var strict struct {
		Stages  []string  `yaml:"stages"`
		Base    gitlabJob `yaml:".imagegate"`
		Check   gitlabJob `yaml:"check"`
		Promote gitlabJob `yaml:"promote"`
	}
	decode(t, file, &strict, true)
	var nodes map[string]yaml.Node
	decode(t, file, &nodes, false)
	var job gitlabJob
	for _, one := range []string{base, name} {
		node, ok := nodes[one]
		if !ok {
			t.Fatalf("%s: there is no job %q", file, one)
		}
		if err := node.Decode(&job); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if job.Extends != base || !slices.Contains(strict.Stages, job.Stage) {
		t.Errorf("the job %q extends %q and has the stage %q of %q", name, job.Extends, job.Stage, strict.Stages)
	}
	return job
}

// commands returns the script that GitLab runs: before_script and script share a shell.
func (j gitlabJob) commands() string {
	return strings.Join(slices.Concat(j.BeforeScript, j.Script), "\n")
}

// runner simulates a machine of a CI system with a project in its workspace.
type runner struct {
	staging, approved *lab.Registry
	workspace, temp   string
	image, target     string // the repositories of the image in the staging and the approved registry, without a tag
	key               string
	env               map[string]string // the environment variables for every script

	// known has the values of expressions in workflows of GitHub, by name.
	known map[string]string
	// caches is the cache service of GitHub: the folders by key, in the order of saving.
	caches []savedCache
	// compiles makes an action run the scripts that use Go.
	compiles bool
}

const (
	keyPassword      = "correct horse"
	stagingPassword  = "password-of-the-job"
	approvedPassword = `pass"word:of $the approved`
)

// newRunner starts registries with the options, pushes an image with tag "1" to staging, and
// prepares the machine. The scripts get only PATH from the environment of the test, so that the
// developer's configuration has no effect.
func newRunner(t *testing.T, kind string, staging, approved lab.Options) *runner {
	t.Helper()
	root := t.TempDir()
	r := &runner{staging: registry(t, staging), approved: registry(t, approved),
		workspace: filepath.Join(root, "work space"), temp: filepath.Join(root, "temp")}
	for _, dir := range []string{r.workspace, r.temp, filepath.Join(root, "home")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.image, r.target = r.staging.Ref("team/app"), r.approved.Ref("prod/app")
	img, err := images[kind]()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.staging.Push(t.Context(), "team/app:1", img); err != nil {
		t.Fatal(err)
	}
	r.env = map[string]string{"PATH": os.Getenv("PATH"), "HOME": filepath.Join(root, "home"), "TMPDIR": r.temp,
		"IMAGEGATE_CACHE_DIR": database(t)}
	policy, err := os.ReadFile("../examples/policies/starter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(r.workspace, "policy.yaml"), policy)
	r.key = filepath.Join(root, "cosign.key")
	generate := r.bash(t, `imagegate key generate "$KEY"`, map[string]string{"KEY": filepath.Join(root, "cosign"), "COSIGN_PASSWORD": keyPassword})
	if generate.code != 0 {
		t.Fatalf("making a key: exit code %d\n%s", generate.code, generate.log)
	}
	r.known = map[string]string{"runner.temp": r.temp, "runner.os": "Linux", "runner.arch": "X64", "github.action_path": moduleRoot(t)}
	return r
}

func registry(t *testing.T, opts lab.Options) *lab.Registry {
	t.Helper()
	r, err := lab.StartRegistry(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

var mirrored = sync.OnceValues(func() ([]byte, error) {
	return exec.Command("imagegate", "db", "build", "../examples/records", "--to", filepath.Join(shared, "mirror")).CombinedOutput()
})

// mirror removes the runner's database, serves a database over HTTP, as a company mirror does, and
// returns the URL.
func (r *runner) mirror(t *testing.T) string {
	t.Helper()
	if out, err := mirrored(); err != nil {
		t.Fatalf("building a mirror: %v\n%s", err, out)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(shared, "mirror"))))
	t.Cleanup(server.Close)
	r.env["IMAGEGATE_CACHE_DIR"] = filepath.Join(t.TempDir(), "cache")
	return server.URL
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// ran is the result of a script.
type ran struct {
	code int
	log  string // standard output and standard error in the order of writing
}

// bash runs a script in the workspace, with the options that GitHub sets for "shell: bash". GitLab
// sets the same options.
func (r *runner) bash(t *testing.T, script string, env map[string]string) ran {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.sh")
	write(t, file, []byte(script))
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", file)
	cmd.Dir = r.workspace
	all := maps.Clone(r.env)
	maps.Copy(all, env)
	for k, v := range all {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running bash: %v", err)
	}
	return ran{cmd.ProcessState.ExitCode(), string(out)}
}

// install writes a script to path, where the build would write the imagegate binary. The script
// runs the imagegate binary of the test.
func (r *runner) install(t *testing.T, path string) {
	t.Helper()
	program, err := exec.LookPath("imagegate")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$@\"\n", program))
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func (r ran) must(t *testing.T, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, not %d\n%s", r.code, code, r.log)
	}
}

func (r ran) mustSay(t *testing.T, what string) {
	t.Helper()
	if !strings.Contains(r.log, what) {
		t.Errorf("it does not say %q:\n%s", what, r.log)
	}
}

func (r *runner) mustBePromoted(t *testing.T, tags ...string) {
	t.Helper()
	for _, tag := range tags {
		ref, err := name.NewTag(r.target + ":" + tag)
		if err != nil {
			t.Fatal(err)
		}
		d, err := remote.Get(ref, remote.WithAuth(r.approved.Authenticator()), remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if err := completeImage(d); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func (r *runner) mustBeUntouched(t *testing.T) {
	t.Helper()
	if w := r.approved.Writes(); len(w) != 0 {
		t.Errorf("the approved registry has seen %v", w)
	}
}

// mustReport fails the test unless the JSON report in the workspace has a decision that agrees with
// passed.
func (r *runner) mustReport(t *testing.T, file string, passed bool) {
	t.Helper()
	if !filepath.IsAbs(file) {
		file = filepath.Join(r.workspace, file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Command  string
		Decision *struct{ Passed bool }
		Error    any
	}
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	if report.Decision == nil || report.Decision.Passed != passed || report.Error != nil {
		t.Errorf("%s: want a decision with passed=%v and no error:\n%s", file, passed, data)
	}
}

// dryBuild returns an environment that makes "go build" only print its commands. A real build takes
// minutes on a new machine; "make build" tests it.
func dryBuild(t *testing.T) map[string]string {
	t.Helper()
	env := map[string]string{"GOFLAGS": "-buildvcs=false -n", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
	for _, key := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.CommandContext(t.Context(), "go", "env", key).Output()
		if err != nil {
			t.Fatal(err)
		}
		env[key] = strings.TrimSpace(string(out))
	}
	return env
}

// gitlab runs a job of the example with all variables that a project must set. The build only
// prints its commands, because the binary already exists.
func (r *runner) gitlab(t *testing.T, name, approvedLogin string) ran {
	t.Helper()
	return r.gitlabWith(t, name, approvedLogin, dryBuild(t))
}

// gitlabWith runs a job of the example with more variables.
func (r *runner) gitlabWith(t *testing.T, name, approvedLogin string, more map[string]string) ran {
	t.Helper()
	job := readJob(t, name)
	env := map[string]string{
		"CI_PROJECT_DIR": r.workspace, "CI_COMMIT_SHA": "1", "CI_COMMIT_SHORT_SHA": "1a2b3c4d",
		"CI_REGISTRY": r.staging.Host(), "CI_REGISTRY_IMAGE": r.image,
		"CI_REGISTRY_USER": "job", "CI_REGISTRY_PASSWORD": stagingPassword,
		"APPROVED_REPOSITORY": r.target, "IMAGEGATE_KEY": r.key, "COSIGN_PASSWORD": keyPassword,
		"IMAGEGATE_DB_URL": r.mirror(t),
		"DOCKER_AUTH_CONFIG": fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.approved.Host(),
			base64.StdEncoding.EncodeToString([]byte(approvedLogin))),
	}
	for k, v := range job.Variables {
		env[k] = os.Expand(v, func(name string) string {
			value, ok := env[name]
			if !ok {
				t.Errorf("%s: there is no variable %s", k, name)
			}
			return value
		})
	}
	maps.Copy(env, more)
	if err := os.Symlink(moduleRoot(t), env["GATE_SOURCE"]); err != nil {
		t.Fatal(err)
	}
	if env["GATE_VERSION"] == "" {
		r.install(t, filepath.Join(r.workspace, "imagegate-bin", "imagegate"))
	}
	result := r.bash(t, job.commands(), env)
	r.bash(t, strings.Join(job.AfterScript, "\n"), env).must(t, 0)
	for _, secret := range []string{stagingPassword, approvedPassword, keyPassword, env["DOCKER_AUTH_CONFIG"]} {
		if strings.Contains(result.log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	return result
}

func gitlabRunner(t *testing.T, kind string) *runner {
	return newRunner(t, kind, lab.Options{User: "job", Password: stagingPassword}, lab.Options{User: "promoter", Password: approvedPassword})
}

// mustKeep checks that the job has written every artifact and report that it uploads.
func (r *runner) mustKeep(t *testing.T, job gitlabJob) {
	t.Helper()
	kinds := []string{"codequality", "container_scanning", "cyclonedx", "dotenv", "junit"}
	if diff := cmp.Diff(kinds, slices.Sorted(maps.Keys(job.Artifacts.Reports))); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	for _, pattern := range slices.AppendSeq(slices.Clone(job.Artifacts.Paths), maps.Values(job.Artifacts.Reports)) {
		if files, err := filepath.Glob(filepath.Join(r.workspace, pattern)); err != nil || len(files) == 0 {
			t.Errorf("there is no %s: %v", pattern, err)
		}
	}
}

func TestCIGitLabPromotes(t *testing.T) {
	r := gitlabRunner(t, "fixed")
	result := r.gitlab(t, "promote", "promoter:"+approvedPassword)
	result.must(t, 0)
	result.mustSay(t, "PASSED")
	result.mustSay(t, filepath.Join(r.workspace, "imagegate-bin")) // the log shows the command of the build
	r.mustBePromoted(t, "1a2b3c4d")
	job := readJob(t, "promote")
	r.mustKeep(t, job)
	r.mustReport(t, job.Artifacts.Paths[0], true)
	if job.IDTokens["SIGSTORE_ID_TOKEN"].Audience != "sigstore" {
		t.Errorf("the job has no identity token for Sigstore: %v", job.IDTokens)
	}
	if len(job.AllowFailure.ExitCodes) != 0 {
		t.Errorf("a failed promotion is allowed: %v", job.AllowFailure.ExitCodes)
	}
	// The cache must not be in the checkout, because a merge request can put any file there.
	if len(job.Cache.Paths) > 0 || strings.Contains(job.Variables["IMAGEGATE_CACHE_DIR"], "CI_PROJECT_DIR") {
		t.Errorf("the cache is in the checkout: %q, %q", job.Cache.Paths, job.Variables["IMAGEGATE_CACHE_DIR"])
	}
	// The login to the approved registry must not be in a file.
	config, err := os.ReadFile(filepath.Join(r.workspace, ".docker", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(config, []byte(r.approved.Host())) {
		t.Error("the login to the approved registry was written to a file")
	}
}

// TestCIGitLabInstallsARelease checks that a job with a version needs no other imagegate, and that
// nothing is compiled.
func TestCIGitLabInstallsARelease(t *testing.T) {
	r := gitlabRunner(t, "fixed")
	rel, url := serveForInstall(t, r)
	release := map[string]string{"GATE_VERSION": installVersion, "GATE_SHA256_" + strings.ToUpper(runtime.GOARCH): rel.sum,
		"GATE_RELEASE_URL": url, "GATE_TRUSTED_ROOT": rel.root, "CGO_ENABLED": "compile", "GOCACHE": "off"}
	result := r.gitlabWith(t, "promote", "promoter:"+approvedPassword, release)
	result.must(t, 0)
	result.mustSay(t, "verified imagegate_1.2.3_linux_")
	r.mustBePromoted(t, "1a2b3c4d")
}

func TestCIGitLabDeniedIsNotASuccess(t *testing.T) {
	r := gitlabRunner(t, "vulnerable")
	result := r.gitlab(t, "promote", "promoter:"+approvedPassword)
	result.must(t, 2)
	result.mustSay(t, "DENIED")
	r.mustBeUntouched(t)
	job := readJob(t, "promote")
	r.mustKeep(t, job)
	r.mustReport(t, job.Artifacts.Paths[0], false)
	if job.Artifacts.When != "always" {
		t.Errorf("artifacts are kept %q: the report of a denial would be lost", job.Artifacts.When)
	}
	if slices.Contains(job.Retry.ExitCodes, result.code) || slices.Contains(job.Retry.When, "always") || slices.Contains(job.Retry.When, "script_failure") {
		t.Error("a denial is tried again")
	}
}

func TestCIGitLabRetriesARegistryThatRefuses(t *testing.T) {
	r := gitlabRunner(t, "fixed")
	result := r.gitlab(t, "promote", "promoter:another password")
	result.must(t, 4)
	result.mustSay(t, "approved registry")
	if !slices.Contains(readJob(t, "promote").Retry.ExitCodes, result.code) {
		t.Error("a registry that refuses is not tried again")
	}
}

// TestCIGitLabChecksAMergeRequest checks that only a denial is a warning in a merge request, and that
// the job needs neither a key nor an approved registry.
func TestCIGitLabChecksAMergeRequest(t *testing.T) {
	for kind, code := range map[string]int{"fixed": 0, "vulnerable": 2} {
		t.Run(kind, func(t *testing.T) {
			r := gitlabRunner(t, kind)
			r.gitlab(t, "check", "promoter:"+approvedPassword).must(t, code)
			r.mustBeUntouched(t)
			r.mustReport(t, "imagegate.json", code == 0)
		})
	}
	if allowed := readJob(t, "check").AllowFailure.ExitCodes; !slices.Equal(allowed, []int{2}) {
		t.Errorf("allowed exit codes: %v", allowed)
	}
}

// TestCIGitLabDropsALargeSBOM checks that the job removes exactly the CycloneDX files that GitLab
// refuses by default.
func TestCIGitLabDropsALargeSBOM(t *testing.T) {
	r := gitlabRunner(t, "fixed")
	const limit = 1 << 20
	for name, size := range map[string]int{"gl-sbom-a.cdx.json": limit, "gl-sbom-b.cdx.json": limit + 1} {
		write(t, filepath.Join(r.workspace, name), make([]byte, size))
	}
	r.bash(t, strings.Join(readJob(t, "promote").AfterScript, "\n"), nil).must(t, 0)
	left, err := filepath.Glob(filepath.Join(r.workspace, "gl-sbom-*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "gl-sbom-a.cdx.json" {
		t.Errorf("%q are left, %v", left, err)
	}
}

// lint runs "imagegate policy lint" on a file and returns its output.
func lint(t *testing.T, file string) (out string, err error) {
	t.Helper()
	data, err := exec.CommandContext(t.Context(), "imagegate", "policy", "lint", file).CombinedOutput()
	return string(data), err
}

func TestCIPoliciesAreValid(t *testing.T) {
	files, err := filepath.Glob("../examples/policies/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there are no policies")
	}
	for _, file := range files {
		if out, err := lint(t, file); err != nil || !strings.Contains(out, ": valid, ") || strings.Contains(out, "warning") {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// TestCIPoliciesInDocumentsAreValid checks that the policies and test cases in the README and
// docs/policy.md are valid, because users copy these policies first.
func TestCIPoliciesInDocumentsAreValid(t *testing.T) {
	for _, document := range []string{"../README.md", "../docs/policy.md"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		var first []byte
		for _, block := range regexp.MustCompile("(?ms)^```ya?ml\n(.*?)^```$").FindAllSubmatch(text, -1) {
			if bytes.Contains(block[1], []byte("\ncases:\n")) {
				holds(t, first, block[1])
				continue
			}
			if !bytes.HasPrefix(block[1], []byte("version: 1\n")) {
				continue
			}
			if found++; first == nil {
				first = block[1]
			}
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "exceptions"), 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "policy.yaml")
			if bytes.Contains(block[1], []byte("\nrules:")) {
				write(t, file, block[1])
			} else { // the block is a file with exceptions, not a policy
				write(t, filepath.Join(dir, "exceptions", "web.yaml"), block[1])
				write(t, file, []byte("version: 1\nrules: [{name: all}]\nexceptions: {folder: exceptions}\n"))
			}
			// Warnings are accepted, because the exceptions in the documents expire some day.
			if out, err := lint(t, file); err != nil {
				t.Errorf("%s: %v\n%s%s", document, err, block[1], out)
			}
		}
		if found == 0 {
			t.Errorf("there are no policies in %s", document)
		}
	}
}

// holds checks that the policy test cases in a document pass with the first policy in the same
// document.
func holds(t *testing.T, policy, cases []byte) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "policy.yaml"), policy)
	write(t, filepath.Join(dir, "cases.yaml"), cases)
	out, err := exec.CommandContext(t.Context(), "imagegate", "policy", "test", filepath.Join(dir, "cases.yaml")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s%s", err, cases, out)
	}
}
