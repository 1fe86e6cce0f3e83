package sigstore

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

// product is the built imagegate command, with a database and the configuration files of a
// Sigstore.
type product struct {
	*testing.T
	dir              string
	staged, approved *lab.Registry
}

func newProduct(t *testing.T, s *stack, withTSA bool) *product {
	t.Helper()
	p := &product{T: t, dir: t.TempDir()}
	for _, r := range []**lab.Registry{&p.staged, &p.approved} {
		registry, err := lab.StartRegistry(lab.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { registry.Close() })
		*r = registry
	}
	img, err := lab.Image(lab.ImageSpec{OSRelease: "debian 12", DebPackages: []lab.Deb{{Name: "openssl", Version: "3.0.13-1~deb12u1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.staged.Push(t.Context(), "team/app:1", img); err != nil {
		t.Fatal(err)
	}
	token, err := s.issuer.token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.configure(s, withTSA)
	for file, data := range map[string][]byte{"token": []byte(token), "root.json": s.root,
		"policy.yaml": []byte("version: 1\nrules:\n  - {name: no critical, severity: critical}\n")} {
		if err := os.WriteFile(filepath.Join(p.dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	records, err := filepath.Abs("../../examples/records")
	if err != nil {
		t.Fatal(err)
	}
	p.run(0, "db", "build", records, "--to", "db.tar.gz")
	p.run(0, "db", "import", "db.tar.gz")
	return p
}

// configure writes the Sigstore signing configuration, with or without a timestamp authority.
func (p *product) configure(s *stack, withTSA bool) {
	p.Helper()
	type service struct {
		URL      string            `json:"url"`
		Version  int               `json:"majorApiVersion"`
		ValidFor map[string]string `json:"validFor"`
		Operator string            `json:"operator"`
	}
	at := func(url string, version int) []service {
		return []service{{url, version, map[string]string{"start": "2020-01-01T00:00:00Z"}, "tests"}}
	}
	config := map[string]any{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls": at(s.fulcio, 1), "rekorTlogUrls": at(s.rekor.server.URL, 2), "rekorTlogConfig": map[string]string{"selector": "ANY"}}
	if withTSA {
		config["tsaUrls"], config["tsaConfig"] = at(s.tsa, 1), map[string]string{"selector": "ANY"}
	}
	raw, err := json.Marshal(config)
	if err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "signing.json"), raw, 0o600); err != nil {
		p.Fatal(err)
	}
}

// run runs the imagegate command, checks its exit code and returns its output.
func (p *product) run(want int, args ...string) string {
	p.Helper()
	cmd := exec.CommandContext(p.Context(), filepath.Join(binaries, "imagegate"), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "IMAGEGATE_CACHE_DIR="+filepath.Join(p.dir, "cache"), "IMAGEGATE_TEMP_DIR="+p.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		p.Fatal(err)
	}
	if code != want {
		p.Fatalf("imagegate %s: exit code %d, not %d\n%s", strings.Join(args, " "), code, want, &out)
	}
	return out.String()
}

func (p *product) promote(want int, more ...string) string {
	p.Helper()
	return p.run(want, append([]string{"promote", p.staged.Ref("team/app:1"), p.approved.Ref("prod/app:1"), "--policy", "policy.yaml",
		"--signing-config", "signing.json", "--trusted-root", "root.json"}, more...)...)
}

func (p *product) verify(want int, identity, issuer string) string {
	p.Helper()
	return p.run(want, "verify", p.approved.Ref("prod/app:1"), "--certificate-identity", identity, "--certificate-oidc-issuer", issuer, "--trusted-root", "root.json")
}

// TestPromoteWithAnIdentity promotes and verifies images with an identity of a real Sigstore, in
// each signature format.
func TestPromoteWithAnIdentity(t *testing.T) {
	s := startStack(t)
	for _, form := range []string{"", "bundle", "both", "legacy"} {
		t.Run(cmp.Or(form, "default"), func(t *testing.T) {
			p := newProduct(t, s, true)
			how := []string{"--keyless", "--identity-token", "token"}
			if form != "" {
				how = append(how, "--signature-format", form)
			}
			p.promote(0, how...)
			// The legacy format cannot store the inclusion proof of this log, so verify must report
			// that the log entry is missing.
			logged := form != "legacy"
			if !logged {
				p.verify(6, email, s.issuer.server.URL)
			}
			verify := []string{"verify", p.approved.Ref("prod/app:1"), "--trusted-root", "root.json", "--allow-unlogged"}
			if logged {
				verify = verify[:4]
			}
			if out := p.run(0, append(verify, "--certificate-identity", email, "--certificate-oidc-issuer", s.issuer.server.URL)...); !strings.Contains(out, email) {
				t.Errorf("it does not say who signed:\n%s", out)
			}
			p.run(0, append(verify, "--certificate-identity-regexp", ".*@example[.]com", "--certificate-oidc-issuer", s.issuer.server.URL)...)
			p.run(6, append(verify, "--certificate-identity", "somebody@example.com", "--certificate-oidc-issuer", s.issuer.server.URL)...)
			p.run(6, append(verify, "--certificate-identity", email, "--certificate-oidc-issuer", "https://elsewhere.example")...)
			p.run(3, append(verify, "--certificate-identity", email)...)
			if out := p.promote(0, how...); !strings.Contains(out, "already promoted") {
				t.Errorf("done again:\n%s", out)
			}
		})
	}
}

// TestLogOutageLeavesNoTag checks that promote writes nothing while the transparency log is down
// and no timestamp authority is configured. A second run, with the log and a timestamp authority,
// must complete the promotion.
func TestLogOutageLeavesNoTag(t *testing.T) {
	s := startStack(t)
	p := newProduct(t, s, false)
	s.rekor.set(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	p.promote(6, "--keyless", "--identity-token", "token", "--signature-format", "bundle")
	tag, err := name.NewTag(p.approved.Ref("prod/app:1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(tag); err == nil {
		t.Error("there is a tag")
	}
	if got := len(p.approved.Writes()); got != 0 {
		t.Errorf("%d writes", got)
	}
	s.rekor.set(nil)
	p.configure(s, true)
	p.promote(0, "--keyless", "--identity-token", "token", "--signature-format", "bundle")
	p.verify(0, email, s.issuer.server.URL)
}

// TestKeylessIsAskedForWhole checks that promote reports missing or conflicting flags for keyless
// signing before it sends a request to the approved registry.
func TestKeylessIsAskedForWhole(t *testing.T) {
	s := startStack(t)
	p := newProduct(t, s, true)
	for what, args := range map[string][]string{
		"no network":    {"--keyless", "--offline"},
		"no root":       {"--keyless", "--signing-config", "signing.json"},
		"half a mirror": {"--keyless", "--tuf-root", "root.json"},
		"both":          {"--keyless", "--key", "cosign.key"},
		"token alone":   {"--identity-token", "token", "--key", "cosign.key"},
		"no token":      {"--keyless", "--signing-config", "signing.json", "--trusted-root", "root.json"},
	} {
		t.Run(what, func(t *testing.T) {
			p.run(3, append([]string{"promote", p.staged.Ref("team/app:1"), p.approved.Ref("prod/app:1"), "--policy", "policy.yaml"}, args...)...)
		})
	}
	if got := len(p.approved.Requests()); got != 0 {
		t.Errorf("%d requests", got)
	}
}
