package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// action is the content of an action.yml. Parsing fails on other keys that GitHub supports, such as
// continue-on-error, because they could let a denied image through.
type action struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Inputs      map[string]struct {
		Description string `yaml:"description"`
		Required    bool   `yaml:"required"`
		Default     string `yaml:"default"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Description string `yaml:"description"`
		Value       string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Using string       `yaml:"using"`
		Steps []githubStep `yaml:"steps"`
	} `yaml:"runs"`
}

// githubStep is a step of an action or of a job.
type githubStep struct {
	Name  string            `yaml:"name"`
	ID    string            `yaml:"id"`
	If    string            `yaml:"if"`
	Uses  string            `yaml:"uses"`
	With  map[string]string `yaml:"with"`
	Shell string            `yaml:"shell"`
	Env   map[string]string `yaml:"env"`
	Run   string            `yaml:"run"`
}

// expression matches the expressions that GitHub replaces before a shell sees them.
var expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)

// expand replaces the expressions in s by their values.
func (r *runner) expand(t *testing.T, s string) string {
	t.Helper()
	return expression.ReplaceAllStringFunc(s, func(e string) string {
		return r.evaluate(t, expression.FindStringSubmatch(e)[1], false)
	})
}

var tokens = regexp.MustCompile(`\s*('[^']*'|\|\||&&|==|!=|!|\(\)|[A-Za-z_][A-Za-z0-9_.()-]*)`)

// evaluate returns the value of an expression. It knows the operators ||, &&, == and !=, texts, names
// and the functions for the state of the job. An unknown name fails the test, although GitHub takes it
// for an empty text: only an output of a step may be missing, if the step was skipped or did not set it.
func (r *runner) evaluate(t *testing.T, e string, failed bool) string {
	t.Helper()
	if got := tokens.ReplaceAllString(e, ""); strings.TrimSpace(got) != "" {
		t.Fatalf("the expression %q has %q", e, got)
	}
	var words []string
	for _, m := range tokens.FindAllStringSubmatch(e, -1) {
		words = append(words, m[1])
	}
	value := ""
	for part := range splitWords(words, "||") {
		for operand := range splitWords(part, "&&") {
			if value = r.compare(t, operand, failed); value == "" || value == "false" {
				break
			}
		}
		if value != "" && value != "false" {
			break
		}
	}
	return value
}

func splitWords(words []string, at string) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for {
			i := slices.Index(words, at)
			if i < 0 {
				yield(words)
				return
			}
			if !yield(words[:i]) {
				return
			}
			words = words[i+1:]
		}
	}
}

func (r *runner) compare(t *testing.T, words []string, failed bool) string {
	t.Helper()
	if len(words) == 3 && (words[1] == "==" || words[1] == "!=") {
		same := r.operand(t, words[0], failed) == r.operand(t, words[2], failed)
		return fmt.Sprint(same == (words[1] == "=="))
	}
	if len(words) != 1 {
		t.Fatalf("the expression %q is not supported", words)
	}
	return r.operand(t, words[0], failed)
}

func (r *runner) operand(t *testing.T, word string, failed bool) string {
	t.Helper()
	if text, ok := strings.CutPrefix(word, "'"); ok {
		return strings.TrimSuffix(text, "'")
	}
	switch word {
	case "failure()":
		return fmt.Sprint(failed)
	case "always()":
		return "true"
	}
	value, ok := r.known[word]
	if !ok && !strings.HasPrefix(word, "steps.") {
		t.Errorf("nothing is known by the name %q", word)
	}
	return value
}

// savedCache is a folder in the cache service of GitHub.
type savedCache struct{ key, dir string }

// use is a use of an action in a job.
type use struct {
	ran
	outputs map[string]string
	summary string
	// steps are the names of the steps that ran, or the actions that they used.
	steps []string
	// commands are the workflow commands in the log that GitHub obeys.
	commands []string
}

// act runs a use of the action in a folder, as GitHub's runner does: the steps one after the other, each
// with its own files for outputs and summaries, and steps with a condition only if it holds. The test
// takes the place of the actions by GitHub, and of the compiler. A missing input has its default value or
// is empty, because GitHub does not enforce required inputs.
func (r *runner) act(t *testing.T, dir string, inputs map[string]string) use {
	t.Helper()
	var a action
	decode(t, filepath.Join(dir, "action.yml"), &a, true)
	for name := range r.known {
		if strings.HasPrefix(name, "steps.") || strings.HasPrefix(name, "inputs.") {
			delete(r.known, name)
		}
	}
	r.known["github.action_path"] = dir
	for name, in := range a.Inputs {
		r.known["inputs."+name] = in.Default
	}
	for name, value := range inputs {
		if _, ok := a.Inputs[name]; !ok {
			t.Fatalf("the action has no input %q", name)
		}
		r.known["inputs."+name] = value
	}
	u := use{outputs: map[string]string{}}
	for _, s := range a.Runs.Steps {
		failed := u.code != 0
		if s.If == "" && failed || s.If != "" && (!strings.Contains(s.If, "failure()") && failed || r.evaluate(t, s.If, failed) != "true") {
			continue
		}
		u.steps = append(u.steps, strings.TrimSpace(s.Name+s.Uses))
		if s.Uses != "" {
			r.nested(t, s)
			continue
		}
		result := r.step(t, s)
		if u.log += result.log; u.code == 0 {
			u.code = result.code
		}
		u.summary += result.summary
	}
	for name, o := range a.Outputs {
		u.outputs[name] = r.expand(t, o.Value)
	}
	u.commands = obeyed(u.log)
	return u
}

// nested takes the place of an action by GitHub.
func (r *runner) nested(t *testing.T, s githubStep) {
	t.Helper()
	name, _, _ := strings.Cut(s.Uses, "@")
	with := map[string]string{}
	for k, v := range s.With {
		with[k] = r.expand(t, v)
	}
	switch name {
	case "actions/setup-go":
		if _, err := os.Stat(with["go-version-file"]); err != nil {
			t.Errorf("setup-go: %v", err)
		}
	case "actions/cache": // of the build, which the test does not do
	case "actions/cache/save":
		if slices.ContainsFunc(r.caches, func(c savedCache) bool { return c.key == with["key"] }) || strings.Contains(with["key"], ",") {
			t.Errorf("the key %q cannot be saved", with["key"])
		}
		saved := savedCache{with["key"], t.TempDir()}
		copyFolder(t, with["path"], saved.dir)
		r.caches = append(r.caches, saved)
	case "actions/cache/restore":
		for _, prefix := range []string{with["key"], with["restore-keys"]} {
			for _, c := range slices.Backward(r.caches) {
				if strings.HasPrefix(c.key, prefix) {
					copyFolder(t, c.dir, with["path"])
					r.known["steps."+s.ID+".outputs.cache-matched-key"] = c.key
					return
				}
			}
		}
	default:
		t.Errorf("the action uses %q", s.Uses)
	}
}

// stepped is the result of a step with a script.
type stepped struct {
	ran
	summary string
}

// step runs a script of an action or workflow, and adds its outputs to the known values. The binary of
// the test takes the place of the compiled one. The scripts that use Go only run if r.compiles is set, and
// then print the commands of the build.
func (r *runner) step(t *testing.T, s githubStep) stepped {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{}
	for _, name := range []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"} {
		files[name] = filepath.Join(dir, name)
		write(t, files[name], nil)
	}
	env := map[string]string{"RUNNER_TEMP": r.temp, "RUNNER_OS": r.known["runner.os"], "RUNNER_ARCH": r.known["runner.arch"],
		"GITHUB_WORKSPACE": r.workspace, "GITHUB_RUN_ID": "7", "GITHUB_ACTIONS": "true", "CI": "true"}
	maps.Copy(env, files)
	compiles := strings.Contains(s.Run, "go env") || strings.Contains(s.Run, "go build")
	if compiles {
		maps.Copy(env, dryBuild(t))
	}
	for k, v := range s.Env {
		if _, isCache := env[k]; !isCache || !strings.HasPrefix(k, "GO") {
			env[k] = r.expand(t, v)
		}
	}
	var result stepped
	if !compiles || r.compiles {
		result.ran = r.bash(t, s.Run, env)
	}
	if strings.Contains(s.Run, "go build") && result.code == 0 {
		r.install(t, env["BINARY"])
	}
	read := func(name string) string {
		data, err := os.ReadFile(files[name])
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, value := range parseOutputs(t, read("GITHUB_OUTPUT")) {
		if s.ID == "" {
			t.Errorf("the step %q has no id, but writes the output %s", s.Name, name)
		}
		r.known["steps."+s.ID+".outputs."+name] = value
	}
	for _, name := range []string{"GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"} {
		if text := read(name); text != "" {
			t.Errorf("the step %q writes to %s, which later steps of the job see: %q", s.Name, name, text)
		}
	}
	if result.summary = read("GITHUB_STEP_SUMMARY"); len(result.summary) >= 1<<20 {
		t.Errorf("GitHub drops a summary of %d bytes", len(result.summary))
	}
	return result
}

// parseOutputs reads the file GITHUB_OUTPUT as the runner does.
func parseOutputs(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for lines := strings.Split(text, "\n"); len(lines) > 0; {
		line := lines[0]
		lines = lines[1:]
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case line == "":
		case heredoc >= 0 && (equals < 0 || heredoc < equals):
			name, delimiter := line[:heredoc], line[heredoc+2:]
			end := slices.Index(lines, delimiter)
			if end < 0 || delimiter == "" {
				t.Fatalf("the output %q has no end", name)
			}
			out[name] = strings.Join(lines[:end], "\n")
			lines = lines[end+1:]
		case equals > 0:
			out[line[:equals]] = line[equals+1:]
		default:
			t.Errorf("invalid output %q", line)
		}
	}
	return out
}

// obeyed returns the workflow commands in a log that GitHub's runner obeys.
func obeyed(log string) []string {
	var out []string
	stopped := ""
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		token, stops := strings.CutPrefix(line, "::stop-commands::")
		switch {
		case stopped != "":
			if line == "::"+stopped+"::" {
				stopped = ""
			}
		case stops:
			stopped = token
		case strings.HasPrefix(line, "::"), strings.Contains(line, "##["):
			out = append(out, line)
		}
	}
	return out
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
