package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documentPrograms returns the folder with the programs that the documents use, which "make test-docs"
// builds. Without this folder, the test is skipped.
func documentPrograms(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("IMAGEGATE_TEST_DOCS")
	if dir == "" {
		t.Skip("IMAGEGATE_TEST_DOCS is not set: run make test-docs")
	}
	return dir
}

// newSession returns a session with an empty folder and home folder.
func newSession(t *testing.T, hosts ...string) session {
	t.Helper()
	root := t.TempDir()
	s := session{dir: filepath.Join(root, "work"), hosts: hosts}
	home := filepath.Join(root, "home")
	for _, dir := range []string{s.dir, home} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath("imagegate")
	if err != nil {
		t.Fatal(err)
	}
	path := []string{filepath.Dir(program), documentPrograms(t), os.Getenv("PATH")}
	s.env = []string{"PATH=" + strings.Join(path, string(os.PathListSeparator)), "HOME=" + home, "TMPDIR=" + home}
	return s
}

// shortPort returns a free port with four digits. The ports of the tutorial have as many, so that lines
// are wrapped at the same words.
func shortPort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 2000 + rand.IntN(8000)
		l, err := net.Listen("tcp", fmt.Sprintf("localhost:%d", port))
		if err == nil {
			l.Close()
			return fmt.Sprint(port)
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// TestTutorialRuns runs the commands of the tutorial in a folder with the examples, as in a clone.
func TestTutorialRuns(t *testing.T) {
	s := newSession(t, "localhost:5001", "localhost:"+shortPort(t), "localhost:5002", "localhost:"+shortPort(t))
	if err := os.Symlink(filepath.Join(moduleRoot(t), "examples"), filepath.Join(s.dir, "examples")); err != nil {
		t.Fatal(err)
	}
	s.run(t, readDocument(t, "../docs/tutorial.md"))
	if _, err := os.Stat(filepath.Join(s.dir, "tutorial")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tutorial does not clean up: %v", err)
	}
}

// TestTutorialInstallsTheTestedCrane checks that the tutorial runs with the version of crane that its
// readers install.
func TestTutorialInstallsTheTestedCrane(t *testing.T) {
	const module = "github.com/google/go-containerregistry"
	data, err := os.ReadFile("tools/pipeline/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(data)
	if version == nil {
		t.Fatal("the module of the tools does not require crane")
	}
	text, err := os.ReadFile("../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "go install " + module + "/cmd/crane@" + string(version[1]); !strings.Contains(string(text), want) {
		t.Errorf("the tutorial lacks %q", want)
	}
}
