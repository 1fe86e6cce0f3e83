package sigstore

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/imagegate/imagegate/internal/lab"
)

// mirrored moves the Sigstore configuration files of p into a TUF repository, and returns the URL
// of the repository.
func (p *product) mirrored(s *stack) (url string) {
	p.Helper()
	config, err := os.ReadFile(filepath.Join(p.dir, "signing.json"))
	if err != nil {
		p.Fatal(err)
	}
	repository, err := lab.NewTUF()
	if err != nil {
		p.Fatal(err)
	}
	files := map[string][]byte{"trusted_root.json": s.root, "signing_config.v0.2.json": config}
	if err := repository.Publish(1, time.Now().Add(time.Hour), files); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "tuf.json"), repository.Root, 0o600); err != nil {
		p.Fatal(err)
	}
	server := httptest.NewServer(repository)
	p.Cleanup(server.Close)
	return server.URL
}

// TestMirrorStandsForFiles checks that the URL and the initial root of a TUF repository are enough
// to sign and to verify, without configuration files.
func TestMirrorStandsForFiles(t *testing.T) {
	s := startStack(t)
	p := newProduct(t, s, true)
	mirror := []string{"--tuf-mirror", p.mirrored(s), "--tuf-root", "tuf.json"}
	staged, approved := p.staged.Ref("team/app:1"), p.approved.Ref("prod/app:1")
	promote := append([]string{"promote", staged, approved, "--policy", "policy.yaml", "--keyless", "--identity-token", "token"}, mirror...)
	verify := append([]string{"verify", approved, "--certificate-identity", email, "--certificate-oidc-issuer", s.issuer.server.URL}, mirror...)
	p.run(3, append(promote, "--offline")...)
	p.run(6, promote[:len(promote)-2]...) // verification of the TUF repository fails without its initial root
	p.run(0, promote...)
	p.run(0, verify...)
	p.run(6, verify[:len(verify)-2]...)
	if err := os.Rename(filepath.Join(p.dir, "tuf.json"), filepath.Join(p.dir, "away")); err != nil {
		t.Fatal(err)
	}
	p.run(3, verify...)
}

// TestPersonAtATerminalLogsIn checks that promote --keyless without a token lets the user log in
// with a browser, but only if the command runs in a terminal.
func TestPersonAtATerminalLogsIn(t *testing.T) {
	s := startStack(t)
	p := newProduct(t, s, true)
	p.loginAt(s)
	p.promote(3, "--keyless")
	if got := s.issuer.logins.Load(); got != 0 {
		t.Fatalf("%d logins without a terminal", got)
	}
	out, err := p.atTerminal("promote", p.staged.Ref("team/app:1"), p.approved.Ref("prod/app:1"), "--policy", "policy.yaml",
		"--keyless", "--signing-config", "signing.json", "--trusted-root", "root.json")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := s.issuer.logins.Load(); got != 1 {
		t.Errorf("%d logins", got)
	}
	if !strings.Contains(out, s.issuer.server.URL) {
		t.Errorf("it is not told what to visit:\n%s", out)
	}
	p.verify(0, email, s.issuer.server.URL)
}

// loginAt adds the issuer of the stack to the signing configuration.
func (p *product) loginAt(s *stack) {
	p.Helper()
	path := filepath.Join(p.dir, "signing.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		p.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		p.Fatal(err)
	}
	config["oidcUrls"] = []map[string]any{{"url": s.issuer.server.URL, "majorApiVersion": 1,
		"validFor": map[string]string{"start": "2020-01-01T00:00:00Z"}, "operator": "tests"}}
	if raw, err = json.Marshal(config); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		p.Fatal(err)
	}
}

// atTerminal runs the imagegate command in a new terminal, with a browser in the PATH.
func (p *product) atTerminal(args ...string) (string, error) {
	p.Helper()
	desktop := filepath.Join(p.dir, "desktop")
	build := exec.CommandContext(p.Context(), "go", "build", "-o", filepath.Join(desktop, "xdg-open"), "./testdata/browser")
	if out, err := build.CombinedOutput(); err != nil {
		p.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(p.Context(), filepath.Join(binaries, "imagegate"), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "IMAGEGATE_CACHE_DIR="+filepath.Join(p.dir, "cache"), "IMAGEGATE_TEMP_DIR="+p.dir,
		"TERM=xterm", "PATH="+desktop)
	terminal, err := pty.Start(cmd)
	if err != nil {
		p.Fatal(err)
	}
	defer terminal.Close()
	var out bytes.Buffer
	_, _ = io.Copy(&out, terminal) // Copy returns an error when imagegate exits
	return out.String(), cmd.Wait()
}
