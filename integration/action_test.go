package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	emptyimage "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

// verifyAction is the folder of the action that verifies an image.
const verifyAction = ".github/actions/verify"

func readAction(t *testing.T, dir string) action {
	t.Helper()
	var a action
	decode(t, filepath.Join("..", dir, "action.yml"), &a, true)
	return a
}

// gate uses the action that promotes or checks an image.
func (r *runner) gate(t *testing.T, inputs map[string]string) use {
	t.Helper()
	u := r.act(t, moduleRoot(t), inputs)
	u.mustAgree(t)
	return u
}

// inputs returns the inputs for an ordinary promotion with an existing database. The inputs in
// replaced override them.
func (r *runner) inputs(replaced map[string]string) map[string]string {
	in := map[string]string{"image": r.image + ":1", "approved": r.target + ":1", "policy": "policy.yaml",
		"key": r.key, "key-password": keyPassword, "update-database": "false"}
	maps.Copy(in, replaced)
	return in
}

// mustAgree checks that the outputs, the summary and the annotations agree with the exit code.
func (u use) mustAgree(t *testing.T) {
	t.Helper()
	want := map[int]string{0: "passed", 2: "denied"}[u.code]
	if want == "" {
		want = "error"
	}
	if u.outputs["decision"] != want || u.outputs["exit-code"] != fmt.Sprint(u.code) {
		t.Errorf("exit code %d: the outputs have the decision %q and the exit code %q\n%s", u.code, u.outputs["decision"], u.outputs["exit-code"], u.log)
	}
	heading := map[string]string{"passed": "imagegate: PASSED", "denied": "imagegate: DENIED\n", "error": "imagegate: FAILED\n"}[want]
	if strings.Count(u.summary, heading) != 1 {
		t.Errorf("exit code %d: the summary is %q", u.code, u.summary)
	}
	if errors := u.annotations("error"); (len(errors) > 0) != (u.code != 0) || len(errors) > 10 {
		t.Errorf("exit code %d: the annotations are %q", u.code, errors)
	}
}

// annotations returns the annotations of a kind.
func (u use) annotations(kind string) []string {
	return slices.DeleteFunc(slices.Clone(u.commands), func(c string) bool { return !strings.HasPrefix(c, "::"+kind) })
}

func TestCIActionPromotes(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	mirror := r.mirror(t)
	inputs := r.inputs(map[string]string{"database-url": mirror, "output": "text\nsarif=out.sarif"})
	delete(inputs, "update-database") // the default of update-database is true
	u := r.gate(t, inputs)
	u.must(t, 0)
	u.mustSay(t, "PASSED")
	u.mustSay(t, mirror) // the log must name the source of the database
	r.mustBePromoted(t, "1")
	digest := u.outputs["digest"]
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(digest) || u.outputs["approved"] != r.target+"@"+digest {
		t.Errorf("digest %q, approved %q", digest, u.outputs["approved"])
	}
	if u.outputs["blocking"] != "0" || u.outputs["warnings"] == "" || u.outputs["sarif"] != "out.sarif" || !strings.HasSuffix(u.outputs["database-built"], "Z") {
		t.Errorf("outputs: %v", u.outputs)
	}
	r.mustReport(t, u.outputs["json"], true)
	if text, err := os.ReadFile(u.outputs["markdown"]); err != nil || !strings.Contains(string(text), "imagegate: PASSED") {
		t.Errorf("the Markdown report: %v\n%s", err, text)
	}
	if !strings.Contains(u.summary, digest) || len(u.commands) != 0 {
		t.Errorf("commands %q, summary:\n%s", u.commands, u.summary)
	}
}

// TestCIActionTakesSeveralLines checks that the action accepts inputs with several values, one on
// each line. Lines may end with CR LF, as in web forms, have spaces around the value, or be empty.
func TestCIActionTakesSeveralLines(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	policy, err := os.ReadFile(filepath.Join(r.workspace, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(r.workspace, "second.yaml"), policy)
	u := r.gate(t, r.inputs(map[string]string{
		"policy":            "policy.yaml\r\nsecond.yaml\r\n",
		"approved":          r.target + ":1\r\n\r\n  " + r.target + ":1.0\t\r\n" + r.target + ":latest",
		"output":            "text\n\n json=one.json \njson=two words.json\n",
		"insecure-registry": r.staging.Host() + "\n" + r.approved.Host() + "\n",
	}))
	u.must(t, 0)
	u.mustSay(t, "PASSED")
	r.mustBePromoted(t, "1", "1.0", "latest")
	r.mustReport(t, "one.json", true)
	r.mustReport(t, "two words.json", true)
	if n := len(strings.Split(u.outputs["approved"], "\n")); n != 3 {
		t.Errorf("approved: %q", u.outputs["approved"])
	}
}

func TestCIActionDeniedIsNotASuccess(t *testing.T) {
	for _, command := range []string{"promote", "check"} {
		t.Run(command, func(t *testing.T) {
			r := newRunner(t, "vulnerable", lab.Options{}, lab.Options{})
			u := r.gate(t, r.inputs(map[string]string{"command": command, "output": "text\njson=report.json"}))
			u.must(t, 2)
			u.mustSay(t, "DENIED")
			r.mustReport(t, "report.json", false)
			r.mustBeUntouched(t)
			if u.outputs["blocking"] == "0" || u.outputs["approved"] != "" || !strings.HasPrefix(u.outputs["digest"], "sha256:") {
				t.Errorf("outputs: %v", u.outputs)
			}
			r.mustAnnotate(t, u)
		})
	}
}

// mustAnnotate checks that each annotation is on the line of its rule in the policy.
func (r *runner) mustAnnotate(t *testing.T, u use) {
	t.Helper()
	policy, err := os.ReadFile(filepath.Join(r.workspace, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(policy), "\n")
	for _, a := range u.annotations("error") {
		m := regexp.MustCompile(`^::error file=policy\.yaml,line=(\d+),title=imagegate%3A (.+?)::\d+ problems?: `).FindStringSubmatch(a)
		if m == nil {
			t.Errorf("the annotation %q has no line of the policy", a)
			continue
		}
		var line int
		if _, err := fmt.Sscan(m[1], &line); err != nil || line > len(lines) || !strings.Contains(lines[line-1], m[2]) {
			t.Errorf("the annotation %q is on the line %q", a, lines[line-1])
		}
	}
}

// TestCIActionChecks checks that the command check of the action needs neither a key nor an
// approved registry.
func TestCIActionChecks(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	u := r.gate(t, map[string]string{"command": "check", "image": r.image + ":1", "policy": "policy.yaml", "update-database": "false"})
	u.must(t, 0)
	u.mustSay(t, "PASSED")
	r.mustBeUntouched(t)
	if u.outputs["approved"] != "" || u.outputs["sarif"] != "" {
		t.Errorf("outputs: %v", u.outputs)
	}
}

// TestCIActionFailsWhatItCannotDo checks that the action fails for each mistake in its inputs, with
// the exit code in the README, and writes nothing to the approved registry. The summary has the reason.
func TestCIActionFailsWhatItCannotDo(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	for name, tc := range map[string]struct {
		replaced map[string]string
		code     int
		says     string
	}{
		"another command":   {map[string]string{"command": "verify"}, 3, "the input command is neither promote nor check"},
		"no command":        {map[string]string{"command": ""}, 3, "the input command is neither promote nor check"},
		"two commands":      {map[string]string{"command": "check promote"}, 3, "the input command is neither promote nor check"},
		"neither":           {map[string]string{"cache": "no"}, 3, "the input cache is neither true nor false"},
		"no boolean":        {map[string]string{"move-tag": "maybe"}, 3, "IMAGEGATE_MOVE_TAG"},
		"no image":          {map[string]string{"image": ""}, 3, "argument 1 is empty"},
		"no policy":         {map[string]string{"policy": ""}, 3, "no policy"},
		"no approved":       {map[string]string{"approved": "\n"}, 3, "at least one APPROVED"},
		"no key":            {map[string]string{"key": ""}, 3, "no key"},
		"no password":       {map[string]string{"key-password": ""}, 6, "COSIGN_PASSWORD"},
		"another password":  {map[string]string{"key-password": "wrong"}, 6, "loading key"},
		"no such format":    {map[string]string{"output": "text\nyaml"}, 3, "the format must be text, json, sarif"},
		"no override":       {map[string]string{"override": "reason"}, 3, "is not a key=value pair"},
		"no configuration":  {map[string]string{"config": "none.yaml"}, 3, "none.yaml"},
		"no such image":     {map[string]string{"image": r.image + ":none"}, 4, "staging registry"},
		"no approved there": {map[string]string{"approved": "127.0.0.1:1/app:1"}, 4, "approved registry"},
		"no release":        {map[string]string{"install": "release"}, 3, "This commit of the action has no release for the runner"},
		"another install":   {map[string]string{"install": "brew"}, 3, "The input install is neither auto nor release nor source"},
		"no version":        {map[string]string{"version": "latest"}, 3, "The input version is not a version"},
		"version of source": {map[string]string{"version": "v1.2.3"}, 3, "The input version needs a release"},
	} {
		t.Run(name, func(t *testing.T) {
			u := r.gate(t, r.inputs(tc.replaced))
			u.must(t, tc.code)
			u.mustSay(t, tc.says)
			if !strings.Contains(strings.ReplaceAll(u.summary, "`", ""), tc.says) && tc.says != "COSIGN_PASSWORD" {
				t.Errorf("the summary does not say %q:\n%s", tc.says, u.summary)
			}
			r.mustBeUntouched(t)
		})
	}
	t.Run("no database", func(t *testing.T) {
		u := r.gate(t, r.inputs(map[string]string{"cache-dir": t.TempDir()}))
		u.must(t, 5)
		u.mustSay(t, "is missing")
		r.mustBeUntouched(t)
	})
	t.Run("invalid configuration of the workspace", func(t *testing.T) {
		write(t, filepath.Join(r.workspace, "imagegate.yaml"), []byte("policy: other.yaml\n"))
		defer os.Remove(filepath.Join(r.workspace, "imagegate.yaml"))
		u := r.gate(t, r.inputs(nil))
		u.must(t, 3)
		r.mustBeUntouched(t)
	})
}

// hostileInputs are texts that a pull request could put into an input. The first has several attacks,
// because every use of the action takes time.
var hostileInputs = []string{
	"x; touch pwned # $(touch pwned) `touch pwned` a[$(touch pwned)] \" && touch pwned && echo \" ' ; touch pwned ; '" +
		"\ntouch pwned\nEOF\n::error::pwned\n ::set-output name=exit-code::0\n##[error]pwned\n::stop-commands::x\nexit-code=0\ndecision<<E\npassed\nE",
	"x; touch pwned; $(touch pwned)",
	"--help=true", // as a flag, this text would make imagegate exit with code 0
	"../../![x](https://evil.example/beacon.png) <img src=https://evil.example/x>",
}

// TestCIActionInputsAreNotCode checks that neither action ever runs the text of an input as code, treats
// it as a flag, or prints it as a workflow command. No such text can make an action pass.
func TestCIActionInputsAreNotCode(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	try := func(dir, text string, names ...string) {
		t.Helper()
		// With another mistake as well, the action ends before it reads an image.
		inputs := map[string]string{"image": r.target + ":none", "key": r.key}
		if dir == "." {
			inputs = r.inputs(map[string]string{"image": "127.0.0.1:1/app:1"})
		}
		for _, name := range names {
			inputs[name] = text
		}
		u := r.act(t, filepath.Join(moduleRoot(t), dir), inputs)
		if u.code == 0 || u.code == 2 {
			t.Errorf("%s: exit code %d\n%s", names, u.code, u.log)
		}
		u.mustAgree(t)
		checkHarmless(t, names, u)
		for _, folder := range []string{r.workspace, r.temp, r.env["HOME"]} {
			if _, err := os.Lstat(filepath.Join(folder, "pwned")); err == nil {
				t.Fatalf("%s: %q ran as code", names, text)
			}
		}
	}
	for _, dir := range []string{".", verifyAction} {
		names := slices.Sorted(maps.Keys(readAction(t, dir).Inputs))
		for _, name := range names {
			try(dir, hostileInputs[0], name)
		}
		// The step that installs refuses its inputs before the others are read.
		names = slices.DeleteFunc(names, func(n string) bool { return n == "install" || n == "version" || n == "release-url" })
		for _, text := range hostileInputs[1:] {
			for _, name := range []string{"image", "policy", "output"} {
				try(dir, text, name)
			}
			try(dir, text, names...)
		}
	}
	r.mustBeUntouched(t)
}

var ours = regexp.MustCompile(`^::(error|warning)( (file|line|title)=[^:,]*(,(file|line|title)=[^:,]*)*)?::`)

func checkHarmless(t *testing.T, inputs []string, u use) {
	t.Helper()
	for _, command := range u.commands {
		if !ours.MatchString(command) || strings.HasPrefix(command, "::error::pwned") {
			t.Errorf("%s: GitHub would obey %q", inputs, command)
		}
	}
	if d := u.outputs["decision"]; d != map[int]string{0: "passed", 2: "denied"}[u.code] && d != "error" {
		t.Errorf("%s: exit code %d and decision %q", inputs, u.code, d)
	}
	body := regexp.MustCompile("`[^`\n]*`").ReplaceAllString(u.summary, "")
	if strings.Contains(body, "evil.example") || strings.Contains(body, "<img") || strings.Contains(body, "\n::") {
		t.Errorf("%s: the summary has markup:\n%s", inputs, u.summary)
	}
}

// TestCIActionUsesDoNotMeet checks that a use of the action in a job changes nothing for the next one:
// neither an input, a report, an output nor the environment.
func TestCIActionUsesDoNotMeet(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	first := r.gate(t, r.inputs(map[string]string{"move-tag": "true", "output": "sarif=one.sarif"}))
	first.must(t, 0)
	before, err := os.ReadFile(first.outputs["json"])
	if err != nil {
		t.Fatal(err)
	}
	second := r.gate(t, map[string]string{"update-database": "false", "image": r.image + ":1", "approved": r.target + ":2", "policy": "policy.yaml"})
	second.must(t, 3)
	second.mustSay(t, "no key") // of the first use
	if second.outputs["approved"] != "" || second.outputs["sarif"] != "" || second.outputs["json"] == first.outputs["json"] {
		t.Errorf("the second use has the outputs %v", second.outputs)
	}
	third := r.gate(t, r.inputs(map[string]string{"approved": r.target + ":2"}))
	third.must(t, 0)
	if after, err := os.ReadFile(first.outputs["json"]); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a later use changed the report of the first one: %v", err)
	}
}

// TestCIActionKeepsTheArchive checks the cache of the archive: one save for each build of the database, a
// restored archive that is not downloaded again, and another archive or database that is not used.
func TestCIActionKeepsTheArchive(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	mirror := r.mirror(t)
	delete(r.env, "IMAGEGATE_CACHE_DIR")
	run := func(t *testing.T, saved int, replaced map[string]string) use {
		t.Helper()
		folders, err := filepath.Glob(filepath.Join(r.temp, "imagegate-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range folders { // another job has another machine
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
		inputs := map[string]string{"command": "check", "image": r.image + ":1", "policy": "policy.yaml", "database-url": mirror}
		maps.Copy(inputs, replaced)
		u := r.gate(t, inputs)
		if len(r.caches) != saved {
			t.Errorf("%d caches are saved, not %d: %v", len(r.caches), saved, r.caches)
		}
		return u
	}
	restored := func() bool { return r.known["steps.restored.outputs.cache-matched-key"] != "" }
	run(t, 1, nil).must(t, 0)
	if key := r.caches[0].key; !regexp.MustCompile(`^imagegate-db-archive-v6\.\d+\.\d+-[0-9a-f]{12}-\d{8}T\d{6}Z$`).MatchString(key) {
		t.Errorf("the key is %q", key)
	}
	if u := run(t, 1, nil); u.code != 0 || !restored() {
		t.Errorf("exit code %d, restored: %v", u.code, restored())
	}
	archive := onlyArchive(t, r.caches[0].dir)
	flip(t, archive)
	run(t, 2, nil).must(t, 0)
	sum := strings.TrimSuffix(filepath.Base(archive), ".archive")
	if kept, err := os.ReadFile(onlyArchive(t, r.caches[1].dir)); err != nil || sumOf(kept) != sum {
		t.Errorf("the changed archive was kept: %v", err)
	}
	if u := run(t, 2, map[string]string{"command": "promote", "approved": r.target + ":1", "key": r.key, "key-password": keyPassword}); u.code != 0 || restored() {
		t.Errorf("promote: exit code %d, restored: %v", u.code, restored())
	}
}

// onlyArchive returns the path of the archive in a saved cache.
func onlyArchive(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 || filepath.Ext(files[0]) != ".archive" {
		t.Fatalf("the cache has %q, %v", files, err)
	}
	return files[0]
}

// TestCIActionWithoutTheMirror checks that a failed update is not a failure while the policy accepts the
// database, and that the gate then decides.
func TestCIActionWithoutTheMirror(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	inputs := r.inputs(map[string]string{"update-database": "true", "database-url": "http://127.0.0.1:1/"})
	u := r.gate(t, inputs)
	u.must(t, 0)
	u.mustSay(t, "updating the vulnerability database")
	if w := u.annotations("warning"); len(w) != 1 || !strings.Contains(w[0], "was not updated") {
		t.Errorf("warnings: %q", w)
	}
	inputs["cache-dir"], inputs["approved"] = t.TempDir(), r.target+":2"
	u = r.gate(t, inputs)
	u.must(t, 5)
	u.mustSay(t, "is missing")
	inputs["database-url"] = "ftp://mirror.example/"
	if u = r.gate(t, inputs); u.code == 0 || u.code == 2 {
		t.Errorf("an invalid mirror: exit code %d\n%s", u.code, u.log)
	}
}

// TestCIActionChecksAFork checks the archive of an image without any secret, as for a pull request from
// a fork. Files of the pull request cannot change the result.
func TestCIActionChecksAFork(t *testing.T) {
	for kind, code := range map[string]int{"fixed": 0, "vulnerable": 2} {
		t.Run(kind, func(t *testing.T) {
			r := newRunner(t, kind, lab.Options{}, lab.Options{})
			img, err := images[kind]()
			if err != nil {
				t.Fatal(err)
			}
			saveArchive(t, img, filepath.Join(r.workspace, "image.tar"))
			u := r.gate(t, map[string]string{"command": "check", "image": "oci-archive:image.tar", "policy": "policy.yaml",
				"update-database": "false", "output": "text\nsarif=imagegate.sarif"})
			u.must(t, code)
			if u.outputs["sarif"] != "imagegate.sarif" || !strings.Contains(u.summary, "oci-archive:image.tar") {
				t.Errorf("outputs %v, summary:\n%s", u.outputs, u.summary)
			}
		})
	}
}

// TestCIVerifyAction checks that the action for deployments gives the digest of a verified image only.
func TestCIVerifyAction(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	promoted := r.gate(t, r.inputs(nil))
	promoted.must(t, 0)
	verify := func(t *testing.T, replaced map[string]string) use {
		t.Helper()
		inputs := map[string]string{"image": r.target + ":1", "key": strings.TrimSuffix(r.key, ".key") + ".pub"}
		maps.Copy(inputs, replaced)
		return r.act(t, filepath.Join(moduleRoot(t), verifyAction), inputs)
	}
	u := verify(t, map[string]string{"policy": "policy.yaml", "max-age": "1h", "output": "json=verify.json"})
	u.must(t, 0)
	u.mustAgree(t)
	if u.outputs["digest"] != promoted.outputs["digest"] || !strings.Contains(u.outputs["summary"], r.target) {
		t.Errorf("outputs: %v", u.outputs)
	}
	if _, err := os.Stat(filepath.Join(r.workspace, "verify.json")); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(r.workspace, "other.yaml"), []byte("version: 1\nrules: [{name: all}]\n"))
	for name, c := range map[string]struct {
		replaced map[string]string
		code     int
	}{
		"another policy": {map[string]string{"policy": "other.yaml"}, 6},
		"another name":   {map[string]string{"policy-name": "strict"}, 6},
		"a missing tag":  {map[string]string{"image": r.target + ":none"}, 4},
		"no key":         {map[string]string{"key": ""}, 3},
		"not a boolean":  {map[string]string{"any-tag": "maybe"}, 3},
		"an old one":     {map[string]string{"max-age": "1ns"}, 6},
		"another image":  {map[string]string{"image": r.image + ":1"}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			u := verify(t, c.replaced)
			u.must(t, c.code)
			u.mustAgree(t)
			if u.outputs["digest"] != "" {
				t.Errorf("outputs: %v", u.outputs)
			}
		})
	}
}

// TestCIActionBuilds runs the action without a release, and checks that it compiles this source with
// empty caches of its own.
func TestCIActionBuilds(t *testing.T) {
	for _, dir := range []string{".", verifyAction} {
		r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
		r.compiles = true
		// The caller's project has a go.work file that does not list this module.
		r.env["GOWORK"] = filepath.Join(r.workspace, "go.work")
		write(t, r.env["GOWORK"], []byte("go 1.26\n"))
		u := r.act(t, filepath.Join(moduleRoot(t), dir), map[string]string{"image": r.image + ":1"})
		u.mustSay(t, filepath.Join("bin", "imagegate"))
		steps := readAction(t, dir).Runs.Steps
		i := slices.IndexFunc(steps, func(s githubStep) bool { return strings.Contains(s.Run, "go build") })
		for _, key := range []string{"GOMODCACHE", "GOCACHE"} {
			if folder := r.expand(t, steps[i].Env[key]); filepath.Dir(filepath.Dir(folder)) != r.known["steps.install.outputs.dir"] {
				t.Errorf("%s: %s is %q", dir, key, folder)
			}
		}
		for _, s := range steps {
			if strings.Contains(s.Uses, "actions/cache") && !strings.Contains(s.With["path"], "archives") {
				t.Errorf("%s: the cache has %q", dir, s.With["path"])
			}
		}
	}
}

// TestCIActionBuildsOnEachSystem checks the name of the binary, and that the path of go.mod comes from the
// runner. The paths of Git's shell on Windows, such as /d/a, are unknown to setup-go.
func TestCIActionBuildsOnEachSystem(t *testing.T) {
	for system, binary := range map[string]string{"Linux X64": "imagegate", "Linux ARM64": "imagegate", "macOS ARM64": "imagegate",
		"Windows X64": "imagegate.exe", "Windows ARM64": "imagegate.exe", "Linux ARM": "imagegate"} {
		for _, dir := range []string{".", verifyAction} {
			r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
			r.known["runner.os"], r.known["runner.arch"], _ = strings.Cut(system, " ")
			u := r.act(t, filepath.Join(moduleRoot(t), dir), map[string]string{"image": ""})
			u.must(t, 3) // the image is missing
			u.mustAgree(t)
			if got := filepath.Base(r.known["steps.install.outputs.binary"]); got != binary {
				t.Errorf("%s: the binary is %q", system, got)
			}
		}
		for _, dir := range []string{".", verifyAction} {
			for _, s := range readAction(t, dir).Runs.Steps {
				if file := s.With["go-version-file"]; strings.Contains(file, "steps.") {
					t.Errorf("%s: setup-go reads %s", dir, file)
				}
			}
		}
	}
}

// TestCIActionHoldsTogether checks that the steps of an action use exactly the declared inputs, that the
// gate itself has no condition, that nested actions are pinned by commit, and that both actions install
// in the same way.
func TestCIActionHoldsTogether(t *testing.T) {
	var installs [2][]githubStep
	for i, dir := range []string{".", verifyAction} {
		a := readAction(t, dir)
		if a.Name == "" || a.Description == "" || a.Runs.Using != "composite" {
			t.Errorf("name %q, description %q, using %q", a.Name, a.Description, a.Runs.Using)
		}
		used := map[string]bool{}
		var always []string
		for _, s := range a.Runs.Steps {
			if s.If == "" {
				always = append(always, s.ID)
			}
			if (s.Run == "") == (s.Uses == "") || s.Run != "" && s.Shell != "bash" {
				t.Errorf("the step %q%q is neither a script for bash nor another action", s.Name, s.Uses)
			}
			if s.Uses != "" && !regexp.MustCompile(`^actions/(setup-go|cache|cache/restore|cache/save)@[0-9a-f]{40}$`).MatchString(s.Uses) {
				t.Errorf("%s uses %s", dir, s.Uses)
			}
			texts := append(slices.Collect(maps.Values(s.Env)), slices.Collect(maps.Values(s.With))...)
			for _, m := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(strings.Join(append(texts, s.If), "\n"), -1) {
				used[m[1]] = true
			}
			if strings.Contains(s.Run, "go build") {
				installs[i] = slices.Clone(a.Runs.Steps[:slices.IndexFunc(a.Runs.Steps, func(o githubStep) bool { return o.Name == s.Name })+1])
			}
		}
		if diff := cmp.Diff(slices.DeleteFunc([]string{"install", "place", "run"}, func(id string) bool { return id == "place" && dir != "." }), always); diff != "" {
			t.Errorf("%s: steps without a condition (-want +got):\n%s", dir, diff)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(a.Inputs)), slices.Sorted(maps.Keys(used))); diff != "" {
			t.Errorf("inputs (-stated +used):\n%s", diff)
		}
		for name, in := range a.Inputs {
			if in.Description == "" || in.Required && in.Default != "" {
				t.Errorf("input %q: description %q, required %v, default %q", name, in.Description, in.Required, in.Default)
			}
		}
	}
	for _, steps := range installs {
		delete(steps[0].Env, "SCRIPTS") // the paths from the folder of the action
		delete(steps[1].With, "go-version-file")
	}
	if diff := cmp.Diff(installs[0], installs[1]); diff != "" {
		t.Errorf("the actions install in different ways (-gate +verify):\n%s", diff)
	}
}

// TestCIScriptsHaveNoExpressions checks that the scripts for GitHub and GitLab have valid syntax
// and no expressions. GitHub pastes the value of an expression into the script, so the value would
// run as code.
func TestCIScriptsHaveNoExpressions(t *testing.T) {
	steps := slices.Concat(readAction(t, ".").Runs.Steps, readAction(t, verifyAction).Runs.Steps)
	for _, j := range readWorkflow(t).Jobs {
		steps = append(steps, j.Steps...)
	}
	scripts := map[string]string{"GitLab check": readJob(t, "check").commands(), "GitLab promote": readJob(t, "promote").commands()}
	for _, s := range steps {
		if s.Run != "" {
			scripts[s.Name] = s.Run
		}
	}
	files, err := filepath.Glob("../.github/actions/*.sh")
	if err != nil || len(files) < 3 {
		t.Fatalf("scripts: %q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts[file] = string(data)
	}
	for name, script := range scripts {
		if strings.Contains(script, "${{") {
			t.Errorf("%s: there is an expression in the script", name)
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) != 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if shellcheck, err := exec.LookPath("shellcheck"); err == nil {
		if out, err := exec.CommandContext(t.Context(), shellcheck, files...).CombinedOutput(); err != nil {
			t.Errorf("shellcheck: %v\n%s", err, out)
		}
	}
}

// TestCINoReportIsNotAPass checks that the step fails if imagegate says that the image passed, but wrote
// no report or the report of something else.
func TestCINoReportIsNotAPass(t *testing.T) {
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	for name, script := range map[string]string{
		"no report":       "exit 0",
		"no valid report": `echo '{}' > "${1#--output=json=}"; exit 0`,
		"a denial":        "exit 2",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "imagegate"), []byte("#!/bin/sh\nif [ \"$1\" = report ]; then exec imagegate \"$@\"; fi\nshift\n"+script+"\n"))
			if err := os.Chmod(filepath.Join(dir, "imagegate"), 0o700); err != nil {
				t.Fatal(err)
			}
			a := readAction(t, ".")
			s := a.Runs.Steps[slices.IndexFunc(a.Runs.Steps, func(s githubStep) bool { return s.ID == "run" })]
			for name := range a.Inputs {
				r.known["inputs."+name] = ""
			}
			r.known["inputs.command"], r.known["inputs.image"] = "check", "app"
			r.known["steps.install.outputs.binary"], r.known["steps.install.outputs.dir"] = filepath.Join(dir, "imagegate"), dir
			r.known["github.action_path"] = moduleRoot(t)
			if got := r.step(t, s); got.code != 1 || r.known["steps.run.outputs.decision"] == "passed" {
				t.Errorf("exit code %d, decision %q\n%s", got.code, r.known["steps.run.outputs.decision"], got.log)
			}
		})
	}
}

// githubWorkflow has the parts of a workflow that the tests use.
type githubWorkflow struct {
	On map[string]struct {
		Inputs map[string]any `yaml:"inputs"`
	} `yaml:"on"`
	Jobs map[string]struct {
		Environment string            `yaml:"environment"`
		Permissions map[string]string `yaml:"permissions"`
		Outputs     map[string]string `yaml:"outputs"`
		Steps       []githubStep      `yaml:"steps"`
	} `yaml:"jobs"`
}

func readWorkflow(t *testing.T) githubWorkflow {
	t.Helper()
	var w githubWorkflow
	decode(t, "../examples/ci/promote.github.yml", &w, false)
	return w
}

// find returns the first step of a job that uses the action, or has the name.
func (w githubWorkflow) find(t *testing.T, job, what string) githubStep {
	t.Helper()
	steps := w.Jobs[job].Steps
	i := slices.IndexFunc(steps, func(s githubStep) bool {
		return s.Name == what || s.Uses == what || strings.HasPrefix(s.Uses, what+"@")
	})
	if i < 0 {
		t.Fatalf("the job %q has no step %q", job, what)
	}
	return steps[i]
}

// localActions are the uses of the actions in the workflow, by job.
var localActions = map[string]string{"check": "./imagegate", "promote": "./imagegate", "deploy": "./imagegate/" + verifyAction}

func TestCIWorkflowGivesWhatTheActionTakes(t *testing.T) {
	w := readWorkflow(t)
	for job, uses := range localActions {
		a, s := readAction(t, strings.TrimPrefix(uses, "./imagegate")), w.find(t, job, uses)
		for input := range s.With {
			if _, ok := a.Inputs[input]; !ok {
				t.Errorf("the action has no input %q", input)
			}
		}
		for input, in := range a.Inputs {
			if in.Required && s.With[input] == "" {
				t.Errorf("the input %q is required", input)
			}
		}
		for _, s := range w.Jobs[job].Steps {
			for _, m := range regexp.MustCompile(`steps\.(?:gate|verify)\.outputs\.([a-z-]+)`).FindAllStringSubmatch(s.If+fmt.Sprint(s.With, s.Env), -1) {
				if _, ok := a.Outputs[m[1]]; !ok {
					t.Errorf("the action has no output %q", m[1])
				}
			}
		}
	}
}

// useIn runs the use of an action in a job of the workflow.
func (r *runner) useIn(t *testing.T, w githubWorkflow, job string, extra map[string]string) use {
	t.Helper()
	inputs := maps.Clone(extra)
	for input, v := range w.find(t, job, localActions[job]).With {
		inputs[input] = r.expand(t, v)
	}
	u := r.act(t, filepath.Join(moduleRoot(t), strings.TrimPrefix(localActions[job], "./imagegate")), inputs)
	u.mustAgree(t)
	for name, value := range u.outputs {
		r.known["steps.gate.outputs."+name] = value
	}
	return u
}

// TestCIWorkflowPromotes runs the example workflow with secrets in the form that GitHub stores: the
// promotion, the reports that the workflow uploads, and the check before the deployment.
func TestCIWorkflowPromotes(t *testing.T) {
	for kind, code := range map[string]int{"fixed": 0, "vulnerable": 2} {
		t.Run(kind, func(t *testing.T) {
			r := newRunner(t, kind, lab.Options{}, lab.Options{})
			key, err := os.ReadFile(r.key)
			if err != nil {
				t.Fatal(err)
			}
			w := readWorkflow(t)
			maps.Copy(r.known, map[string]string{"secrets.IMAGEGATE_KEY": string(key), "secrets.COSIGN_PASSWORD": keyPassword})
			given := map[string]string{"image": r.image + ":1", "approved": r.target + ":1"}
			for input := range w.On["workflow_dispatch"].Inputs {
				r.known["inputs."+input] = given[input]
			}
			r.step(t, w.find(t, "promote", "Write the signing key")).must(t, 0)
			written := filepath.Join(r.temp, "imagegate.key")
			if info, err := os.Stat(written); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key's file: %v, %v", info, err)
			}
			u := r.useIn(t, w, "promote", map[string]string{"database-url": r.mirror(t)})
			u.must(t, code)
			for action, input := range map[string]string{"actions/upload-artifact": "path", "github/codeql-action/upload-sarif": "sarif_file"} {
				s := w.find(t, "promote", action)
				file := r.expand(t, s.With[input])
				if !filepath.IsAbs(file) {
					file = filepath.Join(r.workspace, file)
				}
				if _, err := os.Stat(file); err != nil || r.evaluate(t, s.If, u.code != 0) != "true" {
					t.Errorf("%s is not uploaded after exit code %d: %v", file, u.code, err)
				}
			}
			r.mustReport(t, u.outputs["json"], code == 0)
			if code != 0 {
				r.mustBeUntouched(t)
				return
			}
			r.mustBePromoted(t, "1")
			r.known["needs.promote.outputs.approved"] = r.expand(t, w.Jobs["promote"].Outputs["approved"])
			public, err := os.ReadFile(strings.TrimSuffix(r.key, ".key") + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(r.workspace, "cosign.pub"), public)
			r.useIn(t, w, "deploy", map[string]string{}).must(t, 0)
		})
	}
}

// TestCIActionInAContainer checks that the action works in the container of a job: there, the job is
// root, and the folder of the runner belongs to another user.
func TestCIActionInAContainer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a folder to another user")
	}
	r := newRunner(t, "fixed", lab.Options{}, lab.Options{})
	url := r.mirror(t)
	r.env["TMPDIR"] = t.TempDir() // the container has a /tmp of its own
	delete(r.env, "IMAGEGATE_CACHE_DIR")
	if err := os.Chown(r.temp, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	u := r.gate(t, map[string]string{"command": "check", "image": r.image + ":1", "policy": "policy.yaml", "database-url": url})
	folder := r.known["steps.place.outputs.folder"]
	if filepath.Dir(folder) != "/tmp" {
		t.Fatalf("the cache is in %s", folder)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	t.Cleanup(func() { os.RemoveAll(r.known["steps.place.outputs.archives"]) })
	u.must(t, 0)
}

// TestCIWorkflowForForks checks that the jobs of a pull request have no secrets, use the policy of the
// target branch, and never run with pull_request_target.
func TestCIWorkflowForForks(t *testing.T) {
	data, err := os.ReadFile("../examples/ci/promote.github.yml")
	if err != nil {
		t.Fatal(err)
	}
	w := readWorkflow(t)
	if _, ok := w.On["pull_request"]; !ok || len(w.On) != 2 || bytes.Contains(data, []byte("pull_request_target:")) {
		t.Errorf("the workflow runs on %v", slices.Sorted(maps.Keys(w.On)))
	}
	for _, job := range []string{"build", "check"} {
		for _, s := range w.Jobs[job].Steps {
			if strings.Contains(fmt.Sprint(s.With, s.Env, s.Run), "secrets.") {
				t.Errorf("the job %s has a secret: %v", job, s)
			}
		}
	}
	for _, job := range []string{"promote", "deploy"} { // their secrets are only for protected branches
		if w.Jobs[job].Environment == "" {
			t.Errorf("the job %s has no environment", job)
		}
	}
	if ref := w.find(t, "check", "actions/checkout").With["ref"]; !strings.Contains(ref, "base.sha") {
		t.Errorf("the policy comes from %q", ref)
	}
	r := newRunner(t, "vulnerable", lab.Options{}, lab.Options{})
	img, err := images["vulnerable"]()
	if err != nil {
		t.Fatal(err)
	}
	// The artifact is outside the workspace, so that it cannot replace the policy.
	artifact := r.expand(t, w.find(t, "check", "actions/download-artifact").With["path"])
	if artifact != filepath.Join(r.temp, "image") {
		t.Errorf("the artifact is in %q", artifact)
	}
	if err := os.MkdirAll(artifact, 0o700); err != nil {
		t.Fatal(err)
	}
	saveArchive(t, img, filepath.Join(artifact, "image.tar"))
	u := r.useIn(t, w, "check", map[string]string{"database-url": r.mirror(t)})
	u.must(t, 2)
	upload := w.find(t, "check", "github/codeql-action/upload-sarif")
	r.known["github.repository"] = "team/app"
	for from, want := range map[string]string{"team/app": "true", "fork/app": "false"} {
		r.known["github.event.pull_request.head.repo.full_name"] = from
		if got := r.evaluate(t, upload.If, true); got != want {
			t.Errorf("the upload of a pull request from %s runs: %s", from, got)
		}
	}
}

// saveArchive writes an image as an OCI layout in a tar file.
func saveArchive(t *testing.T, img remote.Taggable, file string) {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, emptyimage.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img.(v1.Image)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-cf", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
}
