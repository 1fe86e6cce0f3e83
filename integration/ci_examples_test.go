package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/lab"
)

// foreignSchema compiles a schema of a CI system. The schemas are not part of the project. A run with
// IMAGEGATE_TEST_SCHEMAS set must have them.
func foreignSchema(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	dir := os.Getenv("IMAGEGATE_TEST_SCHEMAS")
	if dir == "" {
		dir = "../../shared/schemas"
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			t.Skip("there are no schemas next to the checkout")
		}
	}
	return compiled(t, readSchema(t, filepath.Join(dir, file)), "https://schemas.example/ci.json", "")
}

// argoSchema compiles the schema of a kind of Argo Workflows. "make test-examples" downloads the module
// with the schema, and sets IMAGEGATE_TEST_ARGO to its folder.
func argoSchema(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	dir := os.Getenv("IMAGEGATE_TEST_ARGO")
	if dir == "" {
		t.Skip("IMAGEGATE_TEST_ARGO names no folder with the module of Argo Workflows")
	}
	root := readSchema(t, filepath.Join(dir, "api", "jsonschema", "schema.json"))
	// The schema allows unknown keys, but a misspelt key is an error in an example.
	for _, definition := range root["definitions"].(map[string]any) {
		if d := definition.(map[string]any); d["properties"] != nil {
			d["additionalProperties"] = false
		}
	}
	return compiled(t, root, root["$id"].(string), "#/definitions/io.argoproj.workflow.v1alpha1."+kind)
}

func readSchema(t *testing.T, file string) map[string]any {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(mustRead(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(map[string]any)
}

// compiled compiles a part of the schema with this URL.
func compiled(t *testing.T, schema map[string]any, url, part string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(url, schema); err != nil {
		t.Fatal(err)
	}
	out, err := compiler.Compile(url + part)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// asJSON reads a YAML file as the JSON value that a schema describes.
func asJSON(t *testing.T, file string) any {
	t.Helper()
	var value any
	decode(t, file, &value, false)
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCIExamplesFollowTheirSchemas also adds a key that no schema knows, so that a schema that accepts
// everything fails the test.
func TestCIExamplesFollowTheirSchemas(t *testing.T) {
	for file, tc := range map[string]struct {
		schema string
		breaks func(root map[string]any)
	}{
		"argo-workflow-template.yaml": {"", func(root map[string]any) {
			root["spec"].(map[string]any)["templates"].([]any)[0].(map[string]any)["retry"] = map[string]any{"limit": "2"}
		}},
		"tekton-task.yaml": {"tekton-v1-task.schema.json", func(root map[string]any) {
			root["spec"].(map[string]any)["steps"] = "promote"
		}},
		"azure-pipelines.yml": {"azure-pipelines.schema.json", func(root map[string]any) { root["step"] = []any{} }},
		"circleci.yml": {"circleci.schema.json", func(root map[string]any) {
			root["jobs"].(map[string]any)["promote"].(map[string]any)["steps"] = "checkout"
		}},
		"buildkite.yml": {"buildkite-pipeline.schema.json", func(root map[string]any) {
			root["steps"].([]any)[1].(map[string]any)["retries"] = 2
		}},
	} {
		t.Run(file, func(t *testing.T) {
			var schema *jsonschema.Schema
			if tc.schema == "" {
				schema = argoSchema(t, "WorkflowTemplate")
			} else {
				schema = foreignSchema(t, tc.schema)
			}
			value := asJSON(t, "../examples/ci/"+file)
			if err := schema.Validate(value); err != nil {
				t.Error(err)
			}
			tc.breaks(value.(map[string]any))
			if schema.Validate(value) == nil {
				t.Error("the schema accepts a broken file")
			}
		})
	}
}

// TestCIJenkinsfileParses has Groovy parse the Jenkinsfile. IMAGEGATE_TEST_GROOVY is the path of
// npm-groovy-lint, which "make test-examples" installs. It needs Java.
func TestCIJenkinsfileParses(t *testing.T) {
	program := os.Getenv("IMAGEGATE_TEST_GROOVY")
	if program == "" {
		t.Skip("IMAGEGATE_TEST_GROOVY names no npm-groovy-lint")
	}
	text := mustRead(t, "../examples/ci/Jenkinsfile")
	for name, tc := range map[string]struct {
		text  []byte
		valid bool
	}{
		"valid":   {text, true},
		"invalid": {bytes.Replace(text, []byte("stages {"), []byte("stages "), 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "Jenkinsfile"), tc.text)
			cmd := exec.CommandContext(t.Context(), program, "--noserver", "--parse", "--failon", "error", "Jenkinsfile")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if parsed := !bytes.Contains(out, []byte("NglParseError")); parsed != tc.valid || (err == nil) != tc.valid {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// ciStep is a step of an example, as the CI system would run it.
type ciStep struct {
	script string
	env    map[string]string
	report string // the JSON report, relative to the workspace
}

// nameValue is an environment variable in a file of Kubernetes.
type nameValue struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// environment returns the variables with their placeholders replaced. A variable without a value comes
// from a secret of the cluster.
func environment(vars []nameValue, known *strings.Replacer) map[string]string {
	env := map[string]string{}
	for _, v := range vars {
		if v.Value != "" {
			env[v.Name] = known.Replace(v.Value)
		}
	}
	return env
}

// replaced returns the environment of a step with its placeholders replaced.
func replaced(env map[string]string, known *strings.Replacer) map[string]string {
	out := map[string]string{}
	for k, v := range env {
		out[k] = known.Replace(v)
	}
	return out
}

func jenkinsStep(t *testing.T, r *runner, _ string) ciStep {
	t.Helper()
	data, err := os.ReadFile("../examples/ci/Jenkinsfile")
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile(`sh\(script: '([^']*)', returnStatus: true\)`).FindSubmatch(data)
	if script == nil {
		t.Fatal("there is no sh step")
	}
	env := map[string]string{"STAGING_IMAGE": r.image + ":1", "APPROVED_IMAGE": r.target + ":1", "IMAGEGATE_KEY": r.key}
	for _, v := range regexp.MustCompile(`(?m)^ +([A-Z_]+) = '([^']*)'$`).FindAllSubmatch(data, -1) {
		env[string(v[1])] = strings.ReplaceAll(string(v[2]), `\n`, "\n")
	}
	return ciStep{string(script[1]), env, "imagegate.json"}
}

func tektonStep(t *testing.T, r *runner, gate string) ciStep {
	t.Helper()
	var task struct {
		Spec struct {
			Results []nameValue `yaml:"results"`
			Steps   []struct {
				Env    []nameValue `yaml:"env"`
				Script string      `yaml:"script"`
			} `yaml:"steps"`
		} `yaml:"spec"`
	}
	decode(t, "../examples/ci/tekton-task.yaml", &task, false)
	if len(task.Spec.Steps) != 1 {
		t.Fatalf("%d steps", len(task.Spec.Steps))
	}
	pairs := []string{"$(workspaces.gate.path)", gate, "$(workspaces.secrets.path)", filepath.Dir(r.key),
		"$(params.STAGING_IMAGE)", r.image + ":1", "$(params.APPROVED_IMAGE)", r.target + ":1", "/cache", r.temp}
	for _, result := range task.Spec.Results {
		pairs = append(pairs, "$(results."+result.Name+".path)", filepath.Join(r.temp, result.Name))
	}
	known, step := strings.NewReplacer(pairs...), task.Spec.Steps[0]
	if strings.Contains(step.Script, "$(params.") {
		t.Error("the script contains a parameter, which Tekton inserts as code")
	}
	return ciStep{known.Replace(step.Script), environment(step.Env, known), "imagegate.json"}
}

func argoStep(t *testing.T, r *runner, gate string) ciStep {
	t.Helper()
	var workflow struct {
		Spec struct {
			Templates []struct {
				Retry struct {
					Expression string `yaml:"expression"`
				} `yaml:"retryStrategy"`
				Script struct {
					Env    []nameValue `yaml:"env"`
					Source string      `yaml:"source"`
				} `yaml:"script"`
			} `yaml:"templates"`
		} `yaml:"spec"`
	}
	decode(t, "../examples/ci/argo-workflow-template.yaml", &workflow, false)
	if len(workflow.Spec.Templates) != 1 {
		t.Fatalf("%d templates", len(workflow.Spec.Templates))
	}
	promote := workflow.Spec.Templates[0]
	if want := "asInt(lastRetry.exitCode) in [1, 4]"; promote.Retry.Expression != want {
		t.Errorf("the expression for a retry is %q, not %q", promote.Retry.Expression, want)
	}
	if strings.Contains(promote.Script.Source, "{{") {
		t.Error("the script contains a parameter, which Argo inserts as code")
	}
	known := strings.NewReplacer("{{inputs.parameters.staging-image}}", r.image+":1", "{{inputs.parameters.approved-image}}", r.target+":1",
		"/gate/", gate+"/", "/secrets/cosign.key", r.key, "/work/", r.temp+"/")
	return ciStep{known.Replace(promote.Script.Source), environment(promote.Script.Env, known), "imagegate.json"}
}

func azureStep(t *testing.T, r *runner, _ string) ciStep {
	t.Helper()
	var pipeline struct {
		Steps []struct {
			Bash  string            `yaml:"bash"`
			Env   map[string]string `yaml:"env"`
			Retry any               `yaml:"retryCountOnTaskFailure"`
		} `yaml:"steps"`
	}
	decode(t, "../examples/ci/azure-pipelines.yml", &pipeline, false)
	known := strings.NewReplacer("${{ parameters.stagingImage }}", r.image+":1", "${{ parameters.approvedImage }}", r.target+":1",
		"$(Build.SourcesDirectory)", r.workspace, "$(key.secureFilePath)", r.key,
		"$(COSIGN_PASSWORD)", keyPassword, "$(DOCKER_AUTH_CONFIG)", r.env["DOCKER_AUTH_CONFIG"])
	for _, step := range pipeline.Steps {
		if step.Bash == "" {
			continue
		}
		if step.Retry != nil {
			t.Error("Azure would also retry a denial")
		}
		if strings.Contains(step.Bash, "${{") || strings.Contains(step.Bash, "$(Build") {
			t.Error("the script contains an expression, which Azure inserts as code")
		}
		env := replaced(step.Env, known)
		env["BUILD_SOURCESDIRECTORY"] = r.workspace
		return ciStep{step.Bash, env, "imagegate.json"}
	}
	t.Fatal("there is no script")
	return ciStep{}
}

func circleStep(t *testing.T, r *runner, _ string) ciStep {
	t.Helper()
	var config struct {
		Jobs map[string]struct {
			Environment map[string]string `yaml:"environment"`
			Steps       []yaml.Node       `yaml:"steps"`
		} `yaml:"jobs"`
	}
	decode(t, "../examples/ci/circleci.yml", &config, false)
	job := config.Jobs["promote"]
	env := replaced(job.Environment, strings.NewReplacer("staging.example/team/app", r.image, "approved.example/team/app", r.target,
		"/tmp/", r.temp+"/"))
	key, err := os.ReadFile(r.key)
	if err != nil {
		t.Fatal(err)
	}
	env["COSIGN_KEY_BASE64"], env["CIRCLE_SHA1"] = base64.StdEncoding.EncodeToString(key), "1"
	for _, node := range job.Steps {
		var step struct {
			Run struct {
				Command string `yaml:"command"`
				Reruns  int    `yaml:"max_auto_reruns"`
			} `yaml:"run"`
		}
		if node.Kind != yaml.MappingNode || node.Decode(&step) != nil || step.Run.Command == "" {
			continue
		}
		if step.Run.Reruns != 0 {
			t.Error("CircleCI would also retry a denial")
		}
		return ciStep{step.Run.Command, env, "reports/imagegate.json"}
	}
	t.Fatal("there is no script")
	return ciStep{}
}

// buildkiteStep returns the step that promotes, after the replacements of "buildkite-agent pipeline
// upload".
func buildkiteStep(t *testing.T, r *runner, _ string) ciStep {
	t.Helper()
	var pipeline struct {
		Env   map[string]string `yaml:"env"`
		Steps []struct {
			Key     string            `yaml:"key"`
			Command string            `yaml:"command"`
			Env     map[string]string `yaml:"env"`
			Soft    any               `yaml:"soft_fail"`
			Retry   struct {
				Automatic []struct {
					Status any `yaml:"exit_status"`
				} `yaml:"automatic"`
			} `yaml:"retry"`
		} `yaml:"steps"`
	}
	decode(t, "../examples/ci/buildkite.yml", &pipeline, false)
	known := strings.NewReplacer("staging.example/team/app", r.image, "approved.example/team/app", r.target,
		"${BUILDKITE_COMMIT}", "1", "/etc/imagegate/cosign.key", r.key, "$$", "$")
	for _, step := range pipeline.Steps {
		if step.Key != "promote" {
			continue
		}
		if step.Soft != nil {
			t.Error("a denied promotion is not a failure")
		}
		for _, retry := range step.Retry.Automatic {
			codes, ok := retry.Status.([]any)
			if retry.Status != -1 && (!ok || !slices.Equal(codes, []any{1, 4})) {
				t.Errorf("Buildkite retries %v", retry.Status)
			}
		}
		if regexp.MustCompile(`(^|[^$])\$[^${]`).MatchString(step.Command) {
			t.Error("Buildkite would replace a variable of the script")
		}
		env := replaced(pipeline.Env, known)
		maps.Copy(env, replaced(step.Env, known))
		return ciStep{known.Replace(step.Command), env, "imagegate.json"}
	}
	t.Fatal("there is no step that promotes")
	return ciStep{}
}

// TestCIExamplesPromoteOnlyOnAPass runs the script of each example with real registries, for an image
// that passes and for a denied image.
func TestCIExamplesPromoteOnlyOnAPass(t *testing.T) {
	for system, read := range map[string]func(*testing.T, *runner, string) ciStep{
		"Jenkins": jenkinsStep, "Tekton": tektonStep, "Argo Workflows": argoStep, "Azure": azureStep,
		"CircleCI": circleStep, "Buildkite": buildkiteStep,
	} {
		t.Run(system, func(t *testing.T) {
			for kind, code := range map[string]int{"fixed": 0, "vulnerable": 2} {
				r := newRunner(t, kind, lab.Options{}, lab.Options{})
				r.env["DOCKER_AUTH_CONFIG"], r.env["COSIGN_PASSWORD"] = `{"auths": {}}`, keyPassword
				r.env["IMAGEGATE_DB_URL"] = r.mirror(t)
				gate := t.TempDir()
				for _, dir := range []string{gate, filepath.Join(r.workspace, "ci")} {
					copyGate(t, dir)
				}
				policy, err := os.ReadFile(filepath.Join(r.workspace, "policy.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(gate, "policy.yaml"), policy)

				step := read(t, r, gate)
				result := r.bash(t, step.script, step.env)
				result.must(t, code)
				r.mustReport(t, step.report, code == 0)
				if code == 0 {
					r.mustBePromoted(t, "1")
				} else {
					r.mustBeUntouched(t)
				}
				if system == "Tekton" {
					tektonResults(t, r, code)
				}
			}
		})
	}
}

// tektonResults checks that the Task names an approved image only if the image passed.
func tektonResults(t *testing.T, r *runner, code int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.temp, "TEST_OUTPUT"))
	if err != nil {
		t.Fatal(err)
	}
	var output struct{ Result, Timestamp, Note string }
	if err := json.Unmarshal(data, &output); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	if want := map[int]string{0: "SUCCESS", 2: "FAILURE"}[code]; output.Result != want || output.Timestamp == "" {
		t.Errorf("TEST_OUTPUT is %s, want the result %s", data, want)
	}
	url, err := os.ReadFile(filepath.Join(r.temp, "IMAGE_URL"))
	if code != 0 {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("IMAGE_URL of a denied image: %s, %v", url, err)
		}
		return
	}
	digest, digestErr := os.ReadFile(filepath.Join(r.temp, "IMAGE_DIGEST"))
	if err != nil || digestErr != nil || string(url) != r.target+":1" || string(digest) != head(t, r.target+":1").Digest.String() {
		t.Errorf("IMAGE_URL %s, IMAGE_DIGEST %s: %v, %v", url, digest, err, digestErr)
	}
}
