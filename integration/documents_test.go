package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a code block of a document.
type block struct {
	line     int    // the line of the fence, from 1
	language string // the word after the fence
	text     string
	file     string // the name of the file with this content, or empty
	notRun   bool   // the commands of the block are only shown
}

// document is a page whose commands are run by a test.
type document struct {
	path   string
	blocks []block
}

var fileName = regexp.MustCompile("`([^` ]+)`:$")

// readDocument reads the code blocks of a page:
//
//   - The block after a line that ends with a name in backquotes and a colon is the content of this file.
//   - Another block of the language sh has commands. After the line "<!-- not run -->", the commands are
//     only shown.
//   - A block of the language text after commands is their output.
func readDocument(t *testing.T, path string) document {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := document{path: path}
	before, inside := "", false
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case inside && line == "```":
			inside, before = false, ""
		case inside:
			last := &d.blocks[len(d.blocks)-1]
			last.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			b := block{line: i + 1, language: strings.TrimPrefix(line, "```"), notRun: before == "<!-- not run -->"}
			if m := fileName.FindStringSubmatch(before); m != nil {
				b.file = m[1]
			}
			d.blocks, inside = append(d.blocks, b), true
		case line != "":
			before = line
		}
	}
	if inside {
		t.Fatalf("%s: a code block has no end", path)
	}
	return d
}

// file returns the content of the block with this name.
func (d document) file(t *testing.T, name string) string {
	t.Helper()
	i := slices.IndexFunc(d.blocks, func(b block) bool { return b.file == name })
	if i < 0 {
		t.Fatalf("%s: there is no file %q", d.path, name)
	}
	return d.blocks[i].text
}

// session runs the commands of a document in one shell.
type session struct {
	dir string
	env []string
	// hosts replaces the registries that the document names with the registries of the test. The
	// pairs are in the order of strings.NewReplacer.
	hosts []string
}

// enter replaces the names of the document with the names of the test, and leave does the opposite.
func (s session) enter(text string) string { return strings.NewReplacer(s.hosts...).Replace(text) }

func (s session) leave(text string) string {
	back := slices.Clone(s.hosts)
	slices.Reverse(back)
	return strings.NewReplacer(back...).Replace(text)
}

const blockMarker = "=== the commands of line "

// run writes the files of the document, runs its commands with "bash -e" as one script, and compares
// the output with the output in the document.
func (s session) run(t *testing.T, d document) {
	t.Helper()
	// The shell stops the servers that the document starts in the background.
	script := "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
	for _, b := range d.blocks {
		switch {
		case b.file != "":
			s.write(t, b.file, b.text)
		case b.language == "sh" && !b.notRun:
			script += fmt.Sprintf("echo '%s%d'\n%s\n", blockMarker, b.line, s.enter(b.text))
		}
	}
	code, log := s.bash(t, script)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s", d.path, code, log)
	}
	printed := map[int]string{}
	for part := range strings.SplitSeq(log, blockMarker) {
		var line int
		first, rest, _ := strings.Cut(part, "\n")
		if _, err := fmt.Sscan(first, &line); err == nil {
			printed[line] = s.leave(rest)
		}
	}
	for i, b := range d.blocks {
		if b.language != "text" || b.file != "" {
			continue
		}
		if i == 0 || d.blocks[i-1].language != "sh" {
			t.Errorf("%s:%d: there are no commands before this output", d.path, b.line)
			continue
		}
		if got := printed[d.blocks[i-1].line]; !d.blocks[i-1].notRun {
			if err := compareOutput(b.text, got); err != nil {
				t.Errorf("%s:%d: %v\nthe commands print:\n%s", d.path, b.line, err, got)
			}
		}
	}
}

// write writes a file of the document into the folder of the session.
func (s session) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, []byte(s.enter(text)))
}

// bash runs a script, and returns its exit code and its output.
func (s session) bash(t *testing.T, script string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-e", "-c", script)
	return s.finish(t, cmd)
}

// imagegate runs imagegate, and returns its exit code and its output.
func (s session) imagegate(t *testing.T, args ...string) (int, string) {
	t.Helper()
	return s.finish(t, exec.CommandContext(t.Context(), "imagegate", args...))
}

func (s session) finish(t *testing.T, cmd *exec.Cmd) (int, string) {
	t.Helper()
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running %s: %v", cmd.Path, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// varying are the parts of an output that differ between two runs: versions, digests, times, dates,
// ages and sizes.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\bimagegate \S+ (check|promote|verify),`), "imagegate VERSION $1,"},
	{regexp.MustCompile(`\b[0-9a-f]{12,64}\b`), "HEX"},
	{regexp.MustCompile(`\b\d{4}[-/]\d\d[-/]\d\d([ T]\d\d:\d\d(:\d\d)?( UTC|Z)?)?`), "DATE"},
	{regexp.MustCompile(`\(just now\)|\(\d+ (second|minute)s? ago\)`), "(AGE)"},
	{regexp.MustCompile(`\b\d+ (day|hour|minute)s?\b`), "AGE"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?(B|kB|MB)\b`), "SIZE"},
	{regexp.MustCompile(`\b\d+(\.\d+)?s\b`), "TIME"},
	{regexp.MustCompile(`\bsize: \d+\b`), "size: N"},
	{regexp.MustCompile(`\s+`), " "},
}

func normalized(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		for _, v := range varying {
			line = v.pattern.ReplaceAllString(line, v.with)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// compareOutput returns an error if got does not have the lines of want in the same order. A line
// "..." in want stands for any number of lines. The varying parts of a line are not compared.
func compareOutput(want, got string) error {
	lines, skip := normalized(got), false
	for i, line := range normalized(want) {
		if line == "..." {
			skip = true
			continue
		}
		at := 0
		if skip {
			at = slices.Index(lines, line)
		}
		if at < 0 || at >= len(lines) || lines[at] != line {
			return fmt.Errorf("line %d of the output is not printed: %q", i+1, line)
		}
		lines, skip = lines[at+1:], false
	}
	if !skip && len(lines) > 0 {
		return fmt.Errorf("the output lacks the line %q", lines[0])
	}
	return nil
}

// TestOutputOfDocumentsIsCompared checks that a document with another output than the real one fails.
func TestOutputOfDocumentsIsCompared(t *testing.T) {
	const got = "imagegate v1 check, 2026-11-30 17:13 UTC\n\nImage    a@sha256:00000000aaaa\n  2 problems, read 557 B in 0.1s\nDENIED\n"
	for want, same := range map[string]bool{
		got: true,
		"imagegate v2 check, 2027-01-01 00:00 UTC\n\nImage  a@sha256:ffffffffffff\n  2 problems, read 1.5 kB in 12s\nDENIED\n": true,
		"...\nDENIED\n":                          true,
		"...\n2 problems, read 1 B in 1s\n...\n": true,
		"...\n":                                  true,
		"...\n2 problems, read 1 B in 1s\n":      false, // the last line is missing
		"DENIED\n":                               false,
		"...\nPASSED\n":                          false,
		"...\n3 problems, read 1 B in 1s\n...\n": false,
		"...\nDENIED\n...\n2 problems, read 1 B in 1s\n...\n": false, // another order
		got + "exit code 2\n": false,
		"":                    false,
	} {
		if err := compareOutput(want, got); (err == nil) != same {
			t.Errorf("the comparison with %q gives %v", want, err)
		}
	}
}

// TestDocumentBlocks checks which blocks are files, commands and output.
func TestDocumentBlocks(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	write(t, page, bytes.ReplaceAll([]byte(`# Page
The policy, in %a.yaml%:

%%%yaml
version: 1
%%%

%%%sh
true
%%%

%%%text
done
%%%

<!-- not run -->
%%%sh
false
%%%
`), []byte("%"), []byte("`")))
	got := readDocument(t, page)
	want := []block{{4, "yaml", "version: 1\n", "a.yaml", false}, {8, "sh", "true\n", "", false},
		{12, "text", "done\n", "", false}, {17, "sh", "false\n", "", true}}
	if !slices.Equal(got.blocks, want) {
		t.Errorf("the blocks are %+v, not %+v", got.blocks, want)
	}
}
