package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

const componentFile = "../examples/ci/gitlab-component/templates/imagegate.yml"

var updateComponent = flag.Bool("update-component", false, "copy install.sh and gate.sh into the GitLab component")

// componentScripts returns the text of the component with the scripts of examples/ci. GitLab gives a
// component no other file, so the component contains a copy of each script.
func componentScripts(t *testing.T, text string) string {
	t.Helper()
	for _, script := range []string{"install", "gate"} {
		content, err := os.ReadFile("../examples/ci/" + script + ".sh")
		if err != nil {
			t.Fatal(err)
		}
		end := "END_OF_" + strings.ToUpper(script)
		before, rest, ok := strings.Cut(text, "<<'"+end+"'\n")
		_, after, closed := strings.Cut(rest, "      "+end+"\n")
		if !ok || !closed || strings.Contains(string(content), end) {
			t.Fatalf("the component has no place for %s.sh", script)
		}
		indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(string(content), "      $1")
		text = before + "<<'" + end + "'\n" + indented + "      " + end + "\n" + after
	}
	return text
}

func TestCIGitLabComponentHasTheScripts(t *testing.T) {
	text, err := os.ReadFile(componentFile)
	if err != nil {
		t.Fatal(err)
	}
	want := componentScripts(t, string(text))
	if *updateComponent {
		write(t, componentFile, []byte(want))
	} else if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("run: go test ./integration -run ComponentHasTheScripts -update-component\n(-scripts +component)\n%s", diff)
	}
}

// gitlabInput is an input of a GitLab component.
type gitlabInput struct {
	Description string   `yaml:"description"`
	Type        string   `yaml:"type"`
	Options     []string `yaml:"options"`
	Regex       string   `yaml:"regex"`
	Default     *string  `yaml:"default"`
}

// readComponent returns the inputs and the jobs of the component. Parsing fails on unknown keys.
func readComponent(t *testing.T) (map[string]gitlabInput, map[string]gitlabJob) {
	t.Helper()
	text, err := os.ReadFile(componentFile)
	if err != nil {
		t.Fatal(err)
	}
	var header struct {
		Spec struct {
			Inputs map[string]gitlabInput `yaml:"inputs"`
		} `yaml:"spec"`
	}
	jobs := map[string]gitlabJob{}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := errors.Join(dec.Decode(&header), dec.Decode(&jobs)); err != nil {
		t.Fatal(err)
	}
	return header.Spec.Inputs, jobs
}

// componentJob is the name of the component's job before GitLab replaces the input.
const componentJob = "$[[ inputs.job-name ]]"

// TestCIGitLabComponentInputsAreNotCode checks that the scripts get inputs only as variables, and that
// no input can end the text in quotation marks that GitLab pastes it into.
func TestCIGitLabComponentInputsAreNotCode(t *testing.T) {
	inputs, jobs := readComponent(t)
	job := jobs[componentJob]
	if script := strings.Join(slices.Concat(job.Script, job.AfterScript), "\n"); strings.Contains(script, "$[[") {
		t.Error("GitLab would paste an input into the script")
	}
	text, err := os.ReadFile(componentFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, input := range inputs {
		if input.Description == "" || !bytes.Contains(text, []byte("$[[ inputs."+name+" ]]")) {
			t.Errorf("the input %s has no description, or no effect", name)
		}
		if input.Type == "boolean" || input.Options != nil {
			continue
		}
		allowed, err := regexp.Compile(input.Regex)
		if err != nil || input.Regex == "" {
			t.Errorf("%s: the regular expression %q: %v", name, input.Regex, err)
			continue
		}
		if input.Default != nil && !allowed.MatchString(*input.Default) {
			t.Errorf("%s: GitLab refuses the default %q", name, *input.Default)
		}
		for _, hostile := range []string{`x"`, "x\nscript: [evil]", `x\`, `v1.2.3"`, "v1.2.3\n", strings.Repeat("0", 64) + "\n"} {
			if allowed.MatchString(hostile) && name != "policy" {
				t.Errorf("%s accepts %q", name, hostile)
			}
		}
	}
	for _, used := range regexp.MustCompile(`\$\[\[ inputs\.([a-z0-9-]+) \]\]`).FindAllStringSubmatch(string(text), -1) {
		if _, ok := inputs[used[1]]; !ok {
			t.Errorf("there is no input %s", used[1])
		}
	}
}

// TestCIGitLabComponentDescribesItsInputs compares the README of the component with its inputs.
func TestCIGitLabComponentDescribesItsInputs(t *testing.T) {
	inputs, _ := readComponent(t)
	readme := mustRead(t, "../examples/ci/gitlab-component/README.md")
	_, table, _ := bytes.Cut(readme, []byte("\n| input | default | value |\n"))
	table, _, _ = bytes.Cut(table, []byte("\n\n"))
	var described []string
	for line := range bytes.Lines(table) {
		first, _, _ := bytes.Cut(bytes.TrimPrefix(line, []byte("| ")), []byte(" | "))
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(first, -1) {
			described = append(described, string(name[1]))
		}
	}
	slices.Sort(described)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(inputs)), described); diff != "" {
		t.Errorf("inputs (-component +README):\n%s", diff)
	}
	used := 0
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllSubmatch(readme, -1) {
		var pipeline struct {
			Include []struct {
				Inputs map[string]any `yaml:"inputs"`
			} `yaml:"include"`
		}
		if err := yaml.Unmarshal(block[1], &pipeline); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
		for _, include := range pipeline.Include {
			used++
			for name, input := range inputs {
				if _, ok := include.Inputs[name]; !ok && input.Default == nil {
					t.Errorf("the README does not use the required input %s", name)
				}
			}
			for name := range include.Inputs {
				if _, ok := inputs[name]; !ok {
					t.Errorf("the README uses the input %s, which does not exist", name)
				}
			}
		}
	}
	if used == 0 {
		t.Error("the README does not use the component")
	}
}

// TestCIGitLabComponentNeverAllowsAFailedPromotion checks the jobs that the inputs select.
func TestCIGitLabComponentNeverAllowsAFailedPromotion(t *testing.T) {
	inputs, jobs := readComponent(t)
	if got, want := inputs["denial"].Default, "fail"; got == nil || *got != want {
		t.Errorf("the default of denial is not %s", want)
	}
	var selectable []string
	for _, command := range inputs["command"].Options {
		for _, denial := range inputs["denial"].Options {
			name := ".imagegate-" + command + "-" + denial
			if _, ok := jobs[name]; ok {
				selectable = append(selectable, name)
			}
		}
	}
	if diff := cmp.Diff([]string{".imagegate-check-fail", ".imagegate-check-warn", ".imagegate-promote-fail"}, selectable); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	for name, job := range jobs {
		if allowed := job.AllowFailure.ExitCodes; name == ".imagegate-check-warn" != slices.Equal(allowed, []int{2}) {
			t.Errorf("%s allows the exit codes %v", name, allowed)
		}
		if (name == ".imagegate-promote-fail") != (job.IDTokens["SIGSTORE_ID_TOKEN"].Audience == "sigstore") {
			t.Errorf("%s has the identity tokens %v", name, job.IDTokens)
		}
	}
	job := jobs[componentJob]
	if !slices.Equal(job.Retry.ExitCodes, []int{1, 4}) || !slices.Equal(job.Retry.When, []string{"runner_system_failure"}) || job.Artifacts.When != "always" {
		t.Errorf("retry %v, artifacts %q", job.Retry, job.Artifacts.When)
	}
	if !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(*inputs["image"].Default) {
		t.Errorf("the image %s is not pinned", *inputs["image"].Default)
	}
}

// TestCIGitLabComponentLinksAreData checks the links for GitLab's page of the job, and that the job
// keeps neither logins nor a CycloneDX report that GitLab refuses.
func TestCIGitLabComponentLinksAreData(t *testing.T) {
	_, jobs := readComponent(t)
	const url = "https://gitlab.example/team/app/-/jobs/7"
	report := `{"external_link":{"label":"report","url":"` + url + `/artifacts/file/imagegate.html"}}`
	approved := `{"external_link":{"label":"approved: approved.example/team/app@sha256:ab","url":"https://approved.example/team/app"}}`
	for label, tc := range map[string]struct{ dotenv, url, links string }{
		"passed":        {"GATE_EXIT_CODE=0\nGATE_APPROVED_IMAGE=approved.example/team/app@sha256:ab\n", url, report + "," + approved},
		"denied":        {"GATE_EXIT_CODE=2\n", url, report},
		"no gate":       {"", url, report},
		"a hostile url": {"GATE_APPROVED_IMAGE=a\"}}]\n", url + `"}}, {"x": {"`, ""},
	} {
		t.Run(label, func(t *testing.T) {
			for _, shell := range []string{"bash", "busybox"} {
				t.Run(shell, func(t *testing.T) {
					dir := t.TempDir()
					if tc.dotenv != "" {
						write(t, filepath.Join(dir, "imagegate.env"), []byte(tc.dotenv))
					}
					const limit = 1 << 20
					for name, size := range map[string]int{"gl-sbom-a.cdx.json": limit, "gl-sbom-b.cdx.json": limit + 1, "imagegate.html": 1} {
						write(t, filepath.Join(dir, name), make([]byte, size))
					}
					afterScript(t, shell, dir, jobs[componentJob], tc.url)
					var compact bytes.Buffer
					if err := json.Compact(&compact, mustRead(t, filepath.Join(dir, "gl-annotations.json"))); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(`{"imagegate":[`+tc.links+`]}`, strings.TrimSpace(compact.String())); diff != "" {
						t.Errorf("(-want +got)\n%s", diff)
					}
					left, err := filepath.Glob(filepath.Join(dir, "gl-sbom-*"))
					if err != nil || len(left) != 1 || filepath.Base(left[0]) != "gl-sbom-a.cdx.json" {
						t.Errorf("%q are left, %v", left, err)
					}
				})
			}
		})
	}
}

// afterScript runs the after_script of a job as a runner of GitLab does: with bash, or with the programs
// of busybox, as in Alpine. It checks that the folder with the logins is removed.
func afterScript(t *testing.T, shell, dir string, job gitlabJob, url string) {
	t.Helper()
	logins := filepath.Join(dir, ".imagegate")
	if err := os.Mkdir(logins, 0o700); err != nil {
		t.Fatal(err)
	}
	path, program := os.Getenv("PATH"), "bash"
	if shell == "busybox" {
		path = t.TempDir()
		addBusybox(t, path, "sh", "rm", "find", "grep", "printf")
		program = filepath.Join(path, "sh")
	}
	cmd := exec.CommandContext(t.Context(), program, "-eo", "pipefail", "-c", strings.Join(job.AfterScript, "\n"))
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + path, "CI_JOB_URL=" + url}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(logins); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder with the logins is left: %v", err)
	}
}

// gitlabPipeline is a project with the component, and gitlab-ci-local, which runs its pipeline.
type gitlabPipeline struct {
	*runner
	program   string
	release   published
	inputs    map[string]any
	variables map[string]any
	event     string // the value of CI_PIPELINE_SOURCE
}

// newPipeline makes a project that uses the component with a command. IMAGEGATE_TEST_GITLAB is the
// path of gitlab-ci-local, which "make test-gitlab" installs.
func newPipeline(t *testing.T, kind, command string) *gitlabPipeline {
	t.Helper()
	program := os.Getenv("IMAGEGATE_TEST_GITLAB")
	if program == "" {
		t.Skip("IMAGEGATE_TEST_GITLAB names no gitlab-ci-local")
	}
	r := gitlabRunner(t, kind)
	rel, url := serveForInstall(t, r)
	write(t, filepath.Join(r.workspace, "imagegate-component.yml"), mustRead(t, componentFile))
	write(t, filepath.Join(r.workspace, "trusted_root.json"), mustRead(t, rel.root))
	p := &gitlabPipeline{runner: r, program: program, release: rel, event: "merge_request_event",
		inputs: map[string]any{"command": command, "version": installVersion, "sha256-" + runtime.GOARCH: rel.sum,
			"release-url": url, "release-trusted-root": "trusted_root.json", "database-url": r.mirror(t)},
		variables: map[string]any{"CI_REGISTRY": r.staging.Host(), "CI_REGISTRY_IMAGE": r.image, "CI_REGISTRY_USER": "job",
			"CI_REGISTRY_PASSWORD": stagingPassword, "CI_COMMIT_SHA": "1"},
	}
	if command == "promote" {
		p.event = "push"
		p.inputs["approved"] = r.target + ":1"
		p.variables["IMAGEGATE_KEY"] = map[string]any{"type": "file", "values": map[string]string{"*": string(mustRead(t, r.key))}}
		p.variables["COSIGN_PASSWORD"] = keyPassword
		p.login("promoter:" + approvedPassword)
	}
	return p
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// login sets the variable with the login to the approved registry.
func (p *gitlabPipeline) login(login string) {
	p.variables["DOCKER_AUTH_CONFIG"] = fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, p.approved.Host(),
		base64.StdEncoding.EncodeToString([]byte(login)))
}

// sh returns a command in the workspace with only the variables of the runner.
func (r *runner) sh(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script}, args...)...)
	cmd.Dir = r.workspace
	for k, v := range r.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// pipelineRun is the result of a pipeline with one job.
type pipelineRun struct {
	ran
	verdict string // the line of the summary about the job, such as "FAIL 2", or empty if no job ran
}

// verdictOf matches the line with the result of the job. A job that is allowed to fail has WARN, and
// gitlab-ci-local then exits with code 0.
var verdictOf = regexp.MustCompile(`(?m)^imagegate finished in .*?(?:  (FAIL|WARN) (\d+) *)?$`)

// run commits the project and runs its pipeline.
func (p *gitlabPipeline) run(t *testing.T) pipelineRun {
	t.Helper()
	for file, content := range map[string]any{
		".gitlab-ci.yml": map[string]any{"stages": []string{"test"},
			"include": []any{map[string]any{"local": "imagegate-component.yml", "inputs": p.inputs}}},
		".gitlab-ci-local-variables.yml": p.variables,
	} {
		text, err := yaml.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(p.workspace, file), text)
	}
	const commit = `git init -q -b main . && git remote add origin https://gitlab.example/team/app.git && git add . &&
		git -c user.name=dev -c user.email=dev@team.example commit -q -m test && git update-ref refs/remotes/origin/main HEAD &&
		git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main && git config user.name dev && git config user.email dev@team.example`
	if out, err := p.sh(t, commit).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := p.sh(t, `exec "$0" "$@"`, p.program, "--force-shell-executor", "--no-color", "--variable", "CI_PIPELINE_SOURCE="+p.event)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	result := pipelineRun{ran: ran{cmd.ProcessState.ExitCode(), string(out)}}
	if m := verdictOf.FindStringSubmatch(result.log); m != nil {
		result.verdict = strings.TrimSpace(m[1] + " " + m[2])
		if m[1] == "" {
			result.verdict = "PASS"
		}
	}
	for _, secret := range []string{stagingPassword, approvedPassword, keyPassword} {
		if strings.Contains(result.log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	return result
}

// must checks the result of the job and of the pipeline.
func (r pipelineRun) must(t *testing.T, verdict string) {
	t.Helper()
	if fails := strings.HasPrefix(verdict, "FAIL"); r.verdict != verdict || (r.code != 0) != fails {
		t.Fatalf("the job ended with %q and the pipeline with exit code %d, want %q\n%s", r.verdict, r.code, verdict, r.log)
	}
}

// mustReportToGitLab checks that each report of the job exists and is what GitLab reads.
func (p *gitlabPipeline) mustReportToGitLab(t *testing.T, exitCode int) {
	t.Helper()
	_, jobs := readComponent(t)
	job := jobs[componentJob]
	kinds := []string{"annotations", "codequality", "container_scanning", "cyclonedx", "dotenv", "junit"}
	if diff := cmp.Diff(kinds, slices.Sorted(maps.Keys(job.Artifacts.Reports))); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	for _, pattern := range slices.AppendSeq(slices.Clone(job.Artifacts.Paths), maps.Values(job.Artifacts.Reports)) {
		if files, err := filepath.Glob(filepath.Join(p.workspace, pattern)); err != nil || len(files) == 0 {
			t.Errorf("there is no %s: %v", pattern, err)
		}
	}
	p.mustReport(t, "imagegate.json", exitCode == 0)
	dotenv := mustRead(t, filepath.Join(p.workspace, job.Artifacts.Reports["dotenv"]))
	if len(dotenv) > 5<<10 || !regexp.MustCompile(`\A([A-Za-z0-9_]+=\S*\n)+\z`).Match(dotenv) {
		t.Errorf("GitLab refuses %q", dotenv)
	}
	if !bytes.Contains(dotenv, fmt.Appendf(nil, "GATE_EXIT_CODE=%d\n", exitCode)) {
		t.Errorf("the variables are %s", dotenv)
	}
	t.Run("schema", func(t *testing.T) { // a missing schema skips only this part
		schema := foreignSchema(t, "gitlab-container-scanning-15.2.4.schema.json")
		scan, err := jsonschema.UnmarshalJSON(bytes.NewReader(mustRead(t, filepath.Join(p.workspace, job.Artifacts.Reports["container_scanning"]))))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(scan); err != nil {
			t.Error(err)
		}
	})
}

// mustNotStart checks that the gate did not run, and that no file of an unverified release is left.
func (p *gitlabPipeline) mustNotStart(t *testing.T) {
	t.Helper()
	p.mustBeUntouched(t)
	for _, file := range []string{"imagegate.env", "imagegate.json", ".imagegate"} {
		if _, err := os.Stat(filepath.Join(p.workspace, file)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there is a file %s: %v", file, err)
		}
	}
}

// TestCIGitLabComponentPromotesOnlyOnAPass runs the component with gitlab-ci-local, which uses the
// files of the project as GitLab does.
func TestCIGitLabComponentPromotesOnlyOnAPass(t *testing.T) {
	for label, tc := range map[string]struct {
		kind, command, denial string
		verdict               string
		code                  int
	}{
		"check passed":        {"fixed", "check", "fail", "PASS", 0},
		"check passed (warn)": {"fixed", "check", "warn", "PASS", 0},
		"check denied":        {"vulnerable", "check", "fail", "FAIL 2", 2},
		"check warned":        {"vulnerable", "check", "warn", "WARN 2", 2},
		"promoted":            {"fixed", "promote", "fail", "PASS", 0},
		"promotion denied":    {"vulnerable", "promote", "fail", "FAIL 2", 2},
	} {
		t.Run(label, func(t *testing.T) {
			p := newPipeline(t, tc.kind, tc.command)
			p.inputs["denial"] = tc.denial
			result := p.run(t)
			result.must(t, tc.verdict)
			result.mustSay(t, "verified imagegate_1.2.3_linux_")
			p.mustReportToGitLab(t, tc.code)
			if tc.verdict != "PASS" || tc.command == "check" {
				p.mustBeUntouched(t)
				return
			}
			p.mustBePromoted(t, "1")
			tag, err := name.NewTag(p.target + ":1")
			if err != nil {
				t.Fatal(err)
			}
			d, err := remote.Get(tag, remote.WithAuth(p.approved.Authenticator()), remote.WithContext(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			approved := "GATE_APPROVED_IMAGE=" + p.target + "@" + d.Digest.String() + "\n"
			if dotenv := mustRead(t, filepath.Join(p.workspace, "imagegate.env")); !bytes.Contains(dotenv, []byte(approved)) {
				t.Errorf("%s is not in %s", approved, dotenv)
			}
			if links := mustRead(t, filepath.Join(p.workspace, "gl-annotations.json")); !bytes.Contains(links, []byte(`"url": "https://`+p.target+`"`)) {
				t.Errorf("there is no link to the approved image in %s", links)
			}
		})
	}
}

// TestCIGitLabComponentFailsClosed checks the jobs that make no decision. None of them is a warning,
// and none writes to the approved registry.
func TestCIGitLabComponentFailsClosed(t *testing.T) {
	for label, tc := range map[string]struct {
		command string
		breaks  func(p *gitlabPipeline)
		verdict string
		started bool
		says    string
	}{
		"another SHA-256": {"promote", func(p *gitlabPipeline) {
			p.inputs["sha256-"+runtime.GOARCH] = strings.Repeat("0", 64)
		}, "FAIL 6", false, "has the SHA-256"},
		"no SHA-256": {"promote", func(p *gitlabPipeline) {
			delete(p.inputs, "sha256-"+runtime.GOARCH)
		}, "FAIL 3", false, "is not set"},
		"another signer": {"promote", func(p *gitlabPipeline) {
			p.inputs["version"], p.inputs["sha256-"+runtime.GOARCH] = "v"+otherSigner, p.release.sum
		}, "FAIL 6", false, "was not verified"},
		"no release": {"promote", func(p *gitlabPipeline) { p.inputs["version"] = "v9.9.9" }, "FAIL 4", false, "downloading"},
		"another version": {"promote", func(p *gitlabPipeline) { // gitlab-ci-local ignores "regex"
			p.inputs["version"] = "v1.2.3/../" + installVersion
		}, "FAIL 3", false, "is not a tag"},
		"another root":                   {"promote", func(p *gitlabPipeline) { p.inputs["release-trusted-root"] = "policy.yaml" }, "FAIL 3", false, "policy.yaml"},
		"a registry refuses":             {"promote", func(p *gitlabPipeline) { p.login("promoter:another password") }, "FAIL 4", true, "approved registry"},
		"a registry refuses (warn)":      {"check", func(p *gitlabPipeline) { p.variables["CI_COMMIT_SHA"] = "none" }, "FAIL 4", true, "staging registry"},
		"an invalid policy (warn)":       {"check", func(p *gitlabPipeline) { p.inputs["policy"] = "none.yaml" }, "FAIL 3", true, "none.yaml"},
		"no mirror (warn)":               {"check", func(p *gitlabPipeline) { p.inputs["database-url"] = "http://127.0.0.1:1/" }, "FAIL 5", true, "database"},
		"both a key and keyless":         {"promote", func(p *gitlabPipeline) { p.inputs["keyless"] = true }, "FAIL 3", true, "keyless"},
		"a warning instead of a failure": {"promote", func(p *gitlabPipeline) { p.inputs["denial"] = "warn" }, "", false, ".imagegate-promote-warn"},
	} {
		t.Run(label, func(t *testing.T) {
			p := newPipeline(t, "fixed", tc.command)
			if tc.command == "check" {
				p.inputs["denial"] = "warn"
			}
			tc.breaks(p)
			result := p.run(t)
			// For a job that is allowed to fail with other exit codes, gitlab-ci-local exits with code 0.
			if result.verdict != tc.verdict || tc.command == "promote" && result.code == 0 {
				t.Errorf("the job ended with %q and the pipeline with exit code %d, want %q\n%s", result.verdict, result.code, tc.verdict, result.log)
			}
			result.mustSay(t, tc.says)
			p.mustBeUntouched(t)
			if !tc.started {
				p.mustNotStart(t)
			}
		})
	}
}

// TestCIGitLabComponentIgnoresReportsOfOtherJobs checks that a report that is in the project, or that
// an earlier job made, is not taken for a report of this job.
func TestCIGitLabComponentIgnoresReportsOfOtherJobs(t *testing.T) {
	p := newPipeline(t, "fixed", "promote")
	p.inputs["version"] = "v9.9.9"
	for _, file := range []string{"imagegate.json", "imagegate.env", "gl-container-scanning-report.json"} {
		write(t, filepath.Join(p.workspace, file), []byte("GATE_APPROVED_IMAGE=approved.example/evil@sha256:ab\n"))
	}
	if err := os.MkdirAll(filepath.Join(p.workspace, ".imagegate"), 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(p.workspace, ".imagegate", "imagegate"), []byte("#!/bin/sh\n"))
	p.run(t).must(t, "FAIL 4")
	p.mustNotStart(t)
	if links := mustRead(t, filepath.Join(p.workspace, "gl-annotations.json")); bytes.Contains(links, []byte("evil")) {
		t.Errorf("the links are %s", links)
	}
}

// TestCIGitLabJobsFollowTheSchema has gitlab-ci-local read the plain jobs. It contains GitLab's schema.
func TestCIGitLabJobsFollowTheSchema(t *testing.T) {
	program := os.Getenv("IMAGEGATE_TEST_GITLAB")
	if program == "" {
		t.Skip("IMAGEGATE_TEST_GITLAB names no gitlab-ci-local")
	}
	text := mustRead(t, "../examples/ci/gitlab-ci.yml")
	for label, tc := range map[string]struct {
		text  []byte
		valid bool
	}{
		"valid":   {text, true},
		"invalid": {bytes.Replace(text, []byte("when: always"), []byte("when: sometimes"), 1), false},
	} {
		t.Run(label, func(t *testing.T) {
			r := gitlabRunner(t, "fixed")
			write(t, filepath.Join(r.workspace, ".gitlab-ci.yml"), tc.text)
			out, err := r.sh(t, `git init -q -b main . && git remote add origin https://gitlab.example/team/app.git &&
				git add . && git -c user.name=dev -c user.email=dev@team.example commit -q -m test && exec "$0" --list-csv-all`, program).CombinedOutput()
			if (err == nil) != tc.valid {
				t.Errorf("%v\n%s", err, out)
			}
			if tc.valid && (!bytes.Contains(out, []byte("\ncheck;")) || !bytes.Contains(out, []byte("\npromote;"))) {
				t.Errorf("the jobs are\n%s", out)
			}
		})
	}
}
