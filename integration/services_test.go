package integration

import (
	"bufio"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vault is a running Vault with the transit engine.
type vault struct {
	*testing.T
	address, token string
}

// startVault starts the Vault server of integration/tools/vault, and returns it once it responds.
func startVault(t *testing.T, program string) *vault {
	t.Helper()
	lines := serve(t, exec.CommandContext(t.Context(), program))
	v := &vault{T: t, address: <-lines, token: <-lines}
	if v.token == "" {
		t.Fatalf("%s has not said where it is", program)
	}
	t.Setenv("VAULT_ADDR", v.address)
	t.Setenv("VAULT_TOKEN", v.token)
	return v
}

// serve starts a program that runs until its standard input ends. It returns the lines that the
// program prints.
func serve(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop.Close()
		_ = cmd.Wait() // ignores the exit code of the program, because the tests check only its responses
	})
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	return lines
}

// ask sends a request to Vault and returns the data in the response.
func (v *vault) ask(method, path, body string) json.RawMessage {
	v.Helper()
	request, err := http.NewRequestWithContext(v.Context(), method, v.address+"/v1/transit/"+path, strings.NewReader(body))
	if err != nil {
		v.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", v.token)
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		v.Fatalf("%s %s: %s %s %v", method, path, resp.Status, raw, err)
	}
	var answer struct{ Data json.RawMessage }
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			v.Fatal(err)
		}
	}
	return answer.Data
}

// create makes a key and writes the public key to a file.
func (v *vault) create(name, kind, file string) {
	v.Helper()
	v.ask(http.MethodPost, "keys/"+name, `{"type":"`+kind+`"}`)
	var key struct {
		Keys map[string]struct {
			PublicKey string `json:"public_key"`
		}
	}
	if err := json.Unmarshal(v.ask(http.MethodGet, "keys/"+name, ""), &key); err != nil {
		v.Fatal(err)
	}
	public := []byte(key.Keys["1"].PublicKey)
	if kind == "ed25519" { // Vault returns an Ed25519 key as raw bytes
		raw, err := base64.StdEncoding.DecodeString(string(public))
		if err != nil {
			v.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw))
		if err != nil {
			v.Fatal(err)
		}
		public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	write(v.T, file, public)
}

// sigstore is a running Sigstore, with the files that a client needs to trust it.
type sigstore struct {
	dir, root string
	// authority and stamps are files with the certificates of the certificate authority and the
	// timestamp authority.
	authority, stamps string
	trusted           trustedRoot
	Mirror, Subject   string
	Issuer            string
}

// trustedRoot has the parts of a Sigstore trusted root that some consumers need in their own
// format.
type trustedRoot struct {
	Logs []struct {
		BaseURL   string `json:"baseUrl"`
		PublicKey struct {
			RawBytes []byte `json:"rawBytes"`
		} `json:"publicKey"`
	} `json:"tlogs"`
	Authorities []certified `json:"certificateAuthorities"`
	Stamps      []certified `json:"timestampAuthorities"`
}

type certified struct {
	Subject   struct{ Organization string }
	URI       string `json:"uri"`
	CertChain struct {
		Certificates []struct {
			RawBytes []byte `json:"rawBytes"`
		}
	} `json:"certChain"`
}

// startSigstore runs TestServe of integration/sigstore, which starts a Sigstore.
func startSigstore(t *testing.T, program string) *sigstore {
	t.Helper()
	s := &sigstore{dir: t.TempDir()}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", "^TestServe$", "-test.timeout", "1h")
	cmd.Dir, cmd.Env = "sigstore", append(os.Environ(), "IMAGEGATE_TEST_SIGSTORE="+s.dir)
	ready := false
	lines := serve(t, cmd)
	for line := range lines {
		if ready = line == "ready"; ready {
			break
		}
	}
	if !ready {
		t.Fatalf("%s does not serve", program)
	}
	go func() {
		for range lines { // discards the remaining logs of the servers
		}
	}()
	s.root = filepath.Join(s.dir, "root.json")
	for file, into := range map[string]any{"sigstore.json": s, "root.json": &s.trusted} {
		data, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	s.authority, s.stamps = filepath.Join(s.dir, "authority.pem"), filepath.Join(s.dir, "stamps.pem")
	write(t, s.authority, s.trusted.Authorities[0].pem())
	write(t, s.stamps, s.trusted.Stamps[0].pem())
	return s
}

func (c certified) pem() []byte {
	var out []byte
	for _, one := range c.CertChain.Certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.RawBytes})...)
	}
	return out
}
