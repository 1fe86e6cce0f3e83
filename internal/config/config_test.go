package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// keys are a selection of imagegate's keys.
var keys = []Key{
	{Name: "policy", Variable: "IMAGEGATE_POLICY", Repeatable: true, Form: Path},
	{Name: "key", Variable: "IMAGEGATE_KEY", Form: PathOrURI},
	{Name: "audit-log", Variable: "IMAGEGATE_AUDIT_LOG", Form: PathOrURI, Words: []string{"-", "syslog"}},
	{Name: "cache-dir", Variable: "IMAGEGATE_CACHE_DIR", Form: Path},
	{Name: "temp-dir", Variable: "IMAGEGATE_TEMP_DIR", Form: Path},
	{Name: "keyless", Variable: "IMAGEGATE_KEYLESS", Bool: true},
	{Name: "at", Variable: "IMAGEGATE_AT"},
	{Name: "output", Variable: "IMAGEGATE_OUTPUT", Repeatable: true, Form: Output, Words: []string{"text", "json", "sarif"}, Extensions: []string{".json", ".sarif", ".txt"}},
	{Name: "details", Variable: "IMAGEGATE_DETAILS", Bool: true},
	{Name: "log-format", Variable: "IMAGEGATE_LOG_FORMAT", Words: []string{"text", "json"}},
	{Name: "progress", Variable: "IMAGEGATE_PROGRESS", Words: []string{"auto", "plain", "tty", "quiet"}},
	{Name: "color", Variable: "IMAGEGATE_COLOR", Words: []string{"auto", "always", "never"}},
	{Name: "quiet", Variable: "IMAGEGATE_QUIET", Bool: true},
	{Name: "cache-max", Variable: "IMAGEGATE_CACHE_MAX"},
	{Name: "allow-override"}, {Name: "signature-only"}, {Name: "override"},
}

// write creates a file below dir, with its parent folders, and returns its path.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mkdir makes a folder below dir and returns its path.
func mkdir(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

// temp returns a new folder whose path contains no symbolic links.
func temp(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// load calls Load, and fails the test on a warning.
func load(t *testing.T, o Options) (*File, error) {
	t.Helper()
	o.Keys = keys
	o.Warn = func(s string) { t.Errorf("unexpected warning: %s", s) }
	return Load(o)
}

// texts returns the values of a file by key name.
func texts(f *File) map[string][]string {
	out := map[string][]string{}
	for _, v := range f.Values {
		out[v.Key.Name] = v.Texts
	}
	return out
}

// TestNamedFileSetsEveryKeyWithAVariable checks that a named file can set every key that has a
// variable. Its paths are relative to its own folder.
func TestNamedFileSetsEveryKeyWithAVariable(t *testing.T) {
	file := write(t, t.TempDir(), "ci/gate.yaml", `# the gate of all teams
policy: [base.yaml, ../team.yaml, /etc/imagegate/policy.yaml]
key: awskms:///alias/gate
cache-dir: "  cache  "
keyless: false
at: 2026-12-31
output:
- text
- json=out/report.json
cache-max: 0
`)
	got, err := load(t, Options{Named: file})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	want := map[string][]string{
		"policy": {dir + "/base.yaml", dir + "/../team.yaml", "/etc/imagegate/policy.yaml"},
		"key":    {"awskms:///alias/gate"}, "cache-dir": {dir + "/cache"}, "keyless": {"false"}, "at": {"2026-12-31"},
		"output": {"text", "json=" + dir + "/out/report.json"}, "cache-max": {"0"},
	}
	if diff := cmp.Diff(want, texts(got)); diff != "" || got.Found || got.Path != file {
		t.Errorf("%+v\n%s", got, diff)
	}
	if at := got.Values[1].Position; At(at) != file+":3:1" {
		t.Errorf("the key is at %v", at)
	}
}

// TestLogIsAPathOrAWord checks the values of a flag that takes a path, a URI or a fixed word, such
// as --audit-log.
func TestLogIsAPathOrAWord(t *testing.T) {
	dir := t.TempDir()
	for value, want := range map[string]string{
		"syslog": "syslog", "'-'": "-", "syslog+tls://logs.example:6514": "syslog+tls://logs.example:6514", "audit.log": dir + "/audit.log", "./syslog": dir + "/./syslog",
	} {
		got, err := load(t, Options{Named: write(t, dir, "gate.yaml", "audit-log: "+value+"\n")})
		if err != nil || got.Values[0].Texts[0] != want {
			t.Errorf("%s: %+v, %v", value, got, err)
		}
	}
}

// TestNamedFileInThisFolderKeepsPaths checks that paths in a file in the working folder are not
// changed.
func TestNamedFileInThisFolderKeepsPaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, dir, "gate.yaml", "policy: policy.yaml\nkey: keys/cosign.key\n")
	got, err := load(t, Options{Named: "gate.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"policy": {"policy.yaml"}, "key": {"keys/cosign.key"}}, texts(got)); diff != "" {
		t.Error(diff)
	}
}

// TestFoundFileSetsOnlyReportingAndCacheSize checks that a found file can set the keys about
// reporting and the cache size.
func TestFoundFileSetsOnlyReportingAndCacheSize(t *testing.T) {
	dir := temp(t)
	mkdir(t, dir, ".git")
	mkdir(t, dir, "reports")
	write(t, dir, "reports/old.json", "{\n  \"schema\": \"1\",\n  \"tool\": {\n    \"name\": \"imagegate\",\n")
	write(t, dir, Name, "output: [text, json=reports/old.json, sarif=new.sarif]\ndetails: true\nlog-format: json\nprogress: plain\ncolor: never\nquiet: false\ncache-max: 2GB\n")
	got, err := load(t, Options{Dir: mkdir(t, dir, "a/b")})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"output": {"text", "json=../../reports/old.json", "sarif=../../new.sarif"}, "details": {"true"}, "log-format": {"json"},
		"progress": {"plain"}, "color": {"never"}, "quiet": {"false"}, "cache-max": {"2GB"},
	}
	if diff := cmp.Diff(want, texts(got)); diff != "" || !got.Found || got.Path != filepath.Join(dir, Name) {
		t.Errorf("%+v\n%s", got, diff)
	}
}

// TestFoundFileNeverSetsPolicyKeysOrTrust checks that every other key in a found file is an error
// with a line number, and that the error says what to do.
func TestFoundFileNeverSetsPolicyKeysOrTrust(t *testing.T) {
	tried := 0
	for _, k := range keys {
		if k.Variable == "" || k.Found() {
			continue
		}
		tried++
		dir := temp(t)
		file := write(t, dir, Name, "details: true\n"+k.Name+": true\n")
		_, err := load(t, Options{Dir: dir, Home: dir})
		for _, want := range []string{file + `:2:1: "` + k.Name + `" cannot be in a file that imagegate finds by itself: `, "Put the key into a file outside the checkout and name that file with --config, or set " + k.Variable} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", k.Name, err, want)
			}
		}
		if k.Name == "cache-dir" && !strings.Contains(err.Error(), "the folder holds the vulnerability database") {
			t.Errorf("no reason: %v", err)
		}
	}
	if tried < 6 {
		t.Errorf("only %d keys", tried)
	}
}

// TestNoFileSetsAFlagOfOneRun checks that neither a named nor a found file can set a flag without a
// variable, such as --override.
func TestNoFileSetsAFlagOfOneRun(t *testing.T) {
	for _, name := range []string{"allow-override", "signature-only", "override"} {
		dir := temp(t)
		file := write(t, dir, Name, name+": true\n")
		for _, o := range []Options{{Named: file}, {Dir: dir, Home: dir}} {
			if _, err := load(t, o); err == nil || !strings.Contains(err.Error(), file+`:1:1: "`+name+`" cannot be in a configuration file`) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestMistakesHaveALine checks that a configuration file is read strictly, and that each problem
// has a line and a column.
func TestMistakesHaveALine(t *testing.T) {
	for content, want := range map[string]string{
		"ouput: text\n":              `:1:1: unknown key "ouput" in the configuration: did you mean "output"?`,
		"details: true\nzzzzz: 1\n":  `:2:1: unknown key "zzzzz" in the configuration: expected one of policy, key, audit-log, cache-dir`,
		"color: alwys\n":             `:1:8: "color": "alwys" is unknown: did you mean "always"?`,
		"color: 1\n":                 `:1:8: "color": "1" is unknown: expected one of auto, always, never`,
		"output: [text, jsn=a]\n":    `:1:16: "output": "jsn" is unknown: did you mean "json"?`,
		"output: []\n":               `:1:9: "output" is empty`,
		"output: {text: a}\n":        `:1:9: "output" is a mapping: expected text or a list`,
		"color: [auto]\n":            `:1:8: "color" is a list: expected text`,
		"details: yes\n":             `:1:10: "details" is text: expected true or false`,
		"details: True\n":            `:1:10: "details": "True" must be true or false`,
		"details: \"true\"\n":        `:1:10: "details" is text: expected true or false`,
		"at: true\n":                 `:1:5: "at" is a boolean: expected text in quotes`,
		"at:\n":                      `:1:4: "at" is empty: expected text`,
		"at: ' '\n":                  `:1:5: "at": is blank`,
		"at: \"a\\nb\"\n":            `:1:5: "at": contains a line break or a control character`,
		"at: \"\\e[31m\"\n":          `:1:5: "at": contains a line break or a control character`,
		"\"\\e[31mx\": 1\n":          `:1:1: unknown key "\x1b[31mx" in the configuration`,
		"at: a\nat: b\n":             `:2:1: duplicate key "at", first on line 1`,
		"at: &a 1d\nkey: *a\n":       `:1:5: anchor "a": anchors and aliases are not allowed`,
		"<<: {at: 1d}\n":             `:1:1: merge key "<<"`,
		"at: !!str 1d\n":             `:1:5: tag "!!str": tags are not allowed`,
		"output:\n\t- text\n":        `:2:1: not valid YAML: `,
		"at: \"\x1b[31m\"\n":         `:1:1: not valid YAML: control characters are not allowed`,
		"details: true\nat: \xff\n":  `:2:5: the file is not UTF-8 text`,
		"at: 1d\n---\nat: 2d\n":      `:2:1: a second document`,
		"":                           `:1:1: the file is empty: set a key, or remove the file`,
		"# nothing\n":                `:1:1: the file is empty`,
		"- output\n":                 `:1:1: the configuration is a list: expected a mapping`,
		"config: other.yaml\n":       `:1:1: unknown key "config"`,
		"output: ['text', \"\"]\n":   `:1:18: "output": is blank`,
		"{allow-override: {a: b}}\n": `:1:2: "allow-override" cannot be in a configuration file`,
	} {
		file := write(t, t.TempDir(), "gate.yaml", content)
		got, err := load(t, Options{Named: file})
		var invalid *Error
		if !errors.As(err, &invalid) || got != nil || !strings.Contains(err.Error(), file+want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
		if err != nil && strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%q: the error has an escape sequence", content)
		}
	}
}

// TestAllProblemsAreListed checks that one error lists every problem of a file, in the order of the
// file.
func TestAllProblemsAreListed(t *testing.T) {
	file := write(t, t.TempDir(), "gate.yaml", "color: blue\nouput: text\noverride: x\n")
	_, err := load(t, Options{Named: file})
	var invalid *Error
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 || invalid.Problems[2].Position.Line != 3 {
		t.Fatal(err)
	}
}

// TestFileIsBounded checks that a file that is too large or not a regular file is refused, and that
// a missing named file is an error.
func TestFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		write(t, dir, "big.yaml", "at: 1d\n#"+strings.Repeat("x", maxSize)): "larger than 65536 bytes",
		mkdir(t, dir, "folder.yaml"):                                        "not a regular file",
		filepath.Join(dir, "none.yaml"):                                     "no such file",
	} {
		if _, err := load(t, Options{Named: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := load(t, Options{Named: write(t, dir, "full.yaml", "at: 1d\n#"+strings.Repeat("x", maxSize-8))}); err != nil {
		t.Error(err)
	}
}

// TestFoundFileWritesOnlyReportsInItsFolder checks which report files a found file can name.
// Reports contain text that the author of a change controls, so they must not replace other files.
func TestFoundFileWritesOnlyReportsInItsFolder(t *testing.T) {
	outside := t.TempDir()
	dir := temp(t)
	mkdir(t, dir, ".git")
	write(t, dir, "plain.txt", "x")
	link(t, filepath.Join(outside, "x.json"), filepath.Join(dir, "out.json"))
	link(t, "deploy.sh", filepath.Join(dir, "script.json"))
	link(t, outside, filepath.Join(dir, "folder"))
	link(t, ".git", filepath.Join(dir, "hooks"))
	mkdir(t, dir, "is.json")
	write(t, dir, "audit.json", `{"specversion":"1.0","type":"imagegate.run"}`)
	write(t, dir, "page.json", "imagegate v0.1.0 check, 2026-11-23 04:00 UTC\n") // a report in another format
	write(t, dir, "empty.json", "")
	mkdir(t, dir, "clone/.git")
	mkdir(t, dir, "tree/a")
	write(t, dir, "tree/.git", "gitdir: elsewhere\n")
	for path, want := range map[string]string{
		"../x.json":       "only into its own folder",
		"a/../../x.json":  "only into its own folder",
		"/tmp/x.json":     "only into its own folder",
		".":               "only into its own folder",
		".git/x.json":     `hidden name ".git"`,
		"a/../.git/x.txt": `hidden name ".git"`,
		".x.json":         "hidden name",
		"deploy.sh":       "must end in .json, .sarif, .txt",
		"policy.yaml":     "must end in",
		"{platform}.json": "leave out the braces",
		"out.json":        `through the symbolic link "out.json"`,
		"script.json":     "through the symbolic link",
		"folder/x.json":   `through the symbolic link "folder"`,
		"hooks/x.json":    "through the symbolic link",
		"is.json":         "not a regular file",
		"plain.txt/x.txt": "not a folder",
		"none/x.json":     `folder "none" does not exist`,
		"audit.json":      `can replace only reports of imagegate in the same format, and "audit.json" is none`,
		"page.json":       `"page.json" is none`,
		"empty.json":      `"empty.json" is none`,
		"clone/x.json":    `cannot write into another repository, and "clone" is one`,
		"tree/a/x.json":   `cannot write into another repository, and "tree" is one`,
	} {
		file := write(t, dir, Name, "output: [\"json="+path+"\"]\n")
		if _, err := load(t, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file+":1:10: ") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
		if _, err := load(t, Options{Named: file}); err != nil {
			t.Errorf("%s in a named file: %v", path, err)
		}
	}
}

// TestReportIsNotWrittenBehindALink checks that a report path with ".." after a symbolic link
// cannot lead out of the folder of the configuration file.
func TestReportIsNotWrittenBehindALink(t *testing.T) {
	dir := temp(t)
	link(t, t.TempDir(), filepath.Join(dir, "folder"))
	write(t, dir, Name, "output: json=folder/../x.json\n")
	got, err := load(t, Options{Dir: mkdir(t, dir, "sub"), Home: dir})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"json=../x.json"}, got.Values[0].Texts); diff != "" {
		t.Error(diff)
	}
}
