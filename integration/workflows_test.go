package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// documents returns the pages whose files and commands are tested.
func documents(t *testing.T) []document {
	t.Helper()
	pages, err := filepath.Glob(comingFrom + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []document
	for _, page := range append(pages, "../docs/tutorial.md") {
		all = append(all, readDocument(t, page))
	}
	return all
}

// gateAction is the action in the new workflows. The pages explain its placeholders.
const gateAction = "imagegate/imagegate@COMMIT"

// gateStep returns the step of a workflow that uses the imagegate action.
func gateStep(t *testing.T, workflow string) githubStep {
	t.Helper()
	for _, step := range workflowSteps(t, workflow) {
		if step.Uses == gateAction {
			return step
		}
	}
	t.Fatal("the workflow does not use the imagegate action")
	return githubStep{}
}

func workflowSteps(t *testing.T, workflow string) []githubStep {
	t.Helper()
	var w githubWorkflow
	if err := yaml.Unmarshal([]byte(workflow), &w); err != nil {
		t.Fatal(err)
	}
	var steps []githubStep
	for _, job := range w.Jobs {
		steps = append(steps, job.Steps...)
	}
	return steps
}

// action returns the arguments of imagegate for the inputs of its action. The values are known by the
// name of their expression.
func (s session) action(t *testing.T, with, known map[string]string) []string {
	t.Helper()
	input := func(name string) string {
		return expression.ReplaceAllStringFunc(s.enter(with[name]), func(e string) string {
			value, ok := known[expression.FindStringSubmatch(e)[1]]
			if !ok {
				t.Fatalf("nothing is known by the name %q", e)
			}
			return value
		})
	}
	command := input("command")
	if command == "" {
		command = "promote"
	}
	args := []string{command, input("image"), "--policy", input("policy")}
	args = append(args, strings.Fields(input("approved"))...)
	if key := input("key"); key != "" {
		args = append(args, "--key", key)
	}
	for _, output := range strings.Fields(input("output")) {
		args = append(args, "--output", output)
	}
	return args
}

// gateInputs are the inputs of the imagegate action that the documents may use.
var gateInputs = []string{"command", "image", "approved", "policy", "key", "key-password", "keyless", "output", "update-database", "database-url"}

var pinned = regexp.MustCompile(`(?m)^ *(?:- )?uses: [\w./-]+@(?:[0-9a-f]{40} # v\d+\.\d+\.\d+|COMMIT # action-vX\.Y\.Z)$`)

// TestWorkflowsInDocuments checks that the workflows pin each action to a commit, and use only existing
// inputs of the imagegate action. With the program of "make test-docs", actionlint checks them as well.
func TestWorkflowsInDocuments(t *testing.T) {
	count := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if !strings.HasPrefix(b.file, ".github/workflows/") {
				continue
			}
			count++
			steps := workflowSteps(t, b.text)
			if got, want := len(pinned.FindAllString(b.text, -1)), strings.Count(b.text, "uses:"); got != want {
				t.Errorf("%s:%d: %d of %d actions are pinned", d.path, b.line, got, want)
			}
			for _, step := range steps {
				for name := range step.With {
					if step.Uses == gateAction && !slices.Contains(gateInputs, name) {
						t.Errorf("%s:%d: the imagegate action has no input %q", d.path, b.line, name)
					}
				}
			}
			if dir := os.Getenv("IMAGEGATE_TEST_DOCS"); dir != "" {
				file := filepath.Join(t.TempDir(), filepath.Base(b.file))
				write(t, file, []byte(b.text))
				if out, err := exec.Command(filepath.Join(dir, "actionlint"), "-shellcheck=", "-pyflakes=", file).CombinedOutput(); err != nil {
					t.Errorf("%s:%d: actionlint: %v\n%s", d.path, b.line, err, out)
				}
			}
		}
	}
	if count != 5 {
		t.Errorf("there are %d workflows in the documents, not 5", count)
	}
}

// TestFilesInDocumentsParse checks the files that no command reads, and that the policies have no part
// without effect.
func TestFilesInDocumentsParse(t *testing.T) {
	policies := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			var value any
			switch filepath.Ext(b.file) {
			case ".yaml", ".yml":
				if err := yaml.Unmarshal([]byte(b.text), &value); err != nil {
					t.Errorf("%s:%d: %v", d.path, b.line, err)
				}
			case ".json":
				if err := json.Unmarshal([]byte(b.text), &value); err != nil {
					t.Errorf("%s:%d: %v", d.path, b.line, err)
				}
			}
			if b.file != "policy.yaml" {
				continue
			}
			policies++
			file := filepath.Join(t.TempDir(), b.file)
			write(t, file, []byte(b.text))
			lint := exec.Command("imagegate", "policy", "lint", file)
			lint.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
			out, err := lint.CombinedOutput()
			if err != nil || strings.Contains(string(out), "warning") {
				t.Errorf("%s:%d: %v\n%s", d.path, b.line, err, out)
			}
		}
	}
	if policies != 5 {
		t.Errorf("there are %d policies in the documents, not 5", policies)
	}
}
