package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"

	"github.com/imagegate/imagegate/internal/trust"
)

var servers = []string{
	"github.com/sigstore/fulcio",
	"github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix",
}

// binaries is the folder with the servers and imagegate. TestMain builds them.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sigstore-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries = dir
	build := exec.Command("go", append([]string{"build", "-o", dir + string(filepath.Separator)}, servers...)...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the servers:", err)
		return 1
	}
	product := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "imagegate"), ".") // the same command as in "make build"
	product.Dir, product.Stderr = filepath.Join("..", ".."), os.Stderr
	product.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := product.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the product:", err)
		return 1
	}
	return m.Run()
}

// stack is a running Sigstore.
type stack struct {
	issuer *issuer
	fulcio string
	// rekor is a proxy for the transparency log. Tests can make the proxy fail.
	rekor *proxy
	// tsa is the full URL of the timestamp authority.
	tsa string
	// root is the trusted root in JSON.
	root []byte
	stop []func()
}

// close stops all servers immediately. At the end of a test, t.Cleanup calls close, too.
func (s *stack) close() {
	for _, stop := range s.stop {
		stop()
	}
	s.stop = nil
}

const email = "releases@example.com"

func startStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{}
	t.Cleanup(s.close)
	s.issuer = newIssuer(t)
	s.stop = append(s.stop, s.issuer.server.Close)

	ca := s.startFulcio(t)
	log := s.startRekor(t)
	authority := s.startTSA(t)
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{ca}, nil,
		[]root.TimestampingAuthority{authority}, map[string]*root.TransparencyLog{hex.EncodeToString(log.ID): log})
	if err != nil {
		t.Fatal(err)
	}
	if s.root, err = trusted.MarshalJSON(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stack) startFulcio(t *testing.T) *root.FulcioCertificateAuthority {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("oidc-issuers:\n  %[1]s:\n    issuer-url: %[1]s\n    client-id: sigstore\n    type: email\n", s.issuer.server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	port, grpc, metrics := freePort(t), freePort(t), freePort(t)
	s.serve(t, "fulcio", "serve", "--ca=ephemeralca", "--ct-log-url=", "--config-path="+config, "--host=127.0.0.1", "--port="+port,
		"--grpc-host=127.0.0.1", "--grpc-port="+grpc, "--metrics-port="+metrics, "--legacy-unix-domain-socket="+filepath.Join(dir, "legacy"))
	s.fulcio = "http://127.0.0.1:" + port
	chain := certificates(t, get(t, s.fulcio+"/api/v1/rootCert"))
	return &root.FulcioCertificateAuthority{Root: chain[len(chain)-1], Intermediates: chain[:len(chain)-1],
		ValidityPeriodStart: time.Now().Add(-time.Hour), URI: s.fulcio}
}

func (s *stack) startRekor(t *testing.T) *root.TransparencyLog {
	t.Helper()
	const hostname = "127.0.0.1"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	port, grpc, metrics := freePort(t), freePort(t), freePort(t)
	s.serve(t, "posix", "serve", "--hostname="+hostname, "--signer-filepath="+file, "--storage-dir="+filepath.Join(dir, "log"),
		"--http-port="+port, "--grpc-port="+grpc, "--http-metrics-port="+metrics, "--checkpoint-interval=1s", "--batch-max-age=10ms")
	get(t, "http://127.0.0.1:"+port+"/healthz")
	s.rekor = newProxy(t, "http://127.0.0.1:"+port)
	s.stop = append(s.stop, s.rekor.server.Close)
	_, id, err := note.KeyHash(hostname, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &root.TransparencyLog{BaseURL: s.rekor.server.URL, ID: id, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
		PublicKey: key.Public(), ValidityPeriodStart: time.Now().Add(-time.Hour)}
}

// timestamps is the handler of the timestamp authority. All stacks in a process share one handler,
// because its library keeps the key in a global variable. The tests do not run the server command,
// because it needs a fixed port.
var timestamps = sync.OnceValue(func() http.Handler {
	viper.Set("timestamp-signer", "memory")
	viper.Set("timestamp-signer-hash", "sha256")
	viper.Set("default-policy-oid", "1.3.6.1.4.1.57264.2")
	viper.Set("accepted-policy-oids", []string{"1.3.6.1.4.1.57264.2"})
	return server.NewRestAPIServer("127.0.0.1", 0, []string{"http"}, false, time.Minute, time.Minute).GetHandler()
})

func (s *stack) startTSA(t *testing.T) *root.SigstoreTimestampingAuthority {
	t.Helper()
	authority := httptest.NewServer(timestamps())
	s.stop = append(s.stop, authority.Close)
	s.tsa = authority.URL + "/api/v1/timestamp"
	chain := certificates(t, get(t, s.tsa+"/certchain"))
	return &root.SigstoreTimestampingAuthority{Leaf: chain[0], Intermediates: chain[1 : len(chain)-1], Root: chain[len(chain)-1],
		ValidityPeriodStart: time.Now().Add(-time.Hour), URI: s.tsa}
}

// serve starts a server that runs until the stack is closed.
func (s *stack) serve(t *testing.T, name string, args ...string) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(filepath.Join(binaries, name), args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop = append(s.stop, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			const enough = 4000
			text := output.Bytes()
			t.Logf("%s: %s", name, text[max(0, len(text)-enough):])
		}
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// get requests the address until the server responds, and returns the response.
func get(t *testing.T, address string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return body
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func certificates(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		t.Fatalf("no certificate in %q", text)
	}
	return out
}

// proxy forwards requests to a server. Tests can make it fail.
type proxy struct {
	server *httptest.Server
	// fail may respond instead of the server, or after it. It returns false to pass the request on.
	fail atomic.Pointer[func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool]
	seen atomic.Int64
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	pass := httputil.NewSingleHostReverseProxy(target)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.seen.Add(1)
		if fail := p.fail.Load(); fail != nil && (*fail)(w, r, pass) {
			return
		}
		pass.ServeHTTP(w, r)
	}))
	return p
}

// set replaces the function that makes the proxy fail, and resets the counter.
func (p *proxy) set(fail func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool) {
	p.seen.Store(0)
	if fail == nil {
		p.fail.Store(nil)
		return
	}
	p.fail.Store(&fail)
}

// services returns the services of the stack as a signer's configuration.
func (s *stack) services(t *testing.T) trust.Services {
	t.Helper()
	return trust.Services{Fulcio: s.fulcio, Logs: []trust.Log{{URL: s.rekor.server.URL, Version: 2}}, TimestampAuthorities: []string{s.tsa},
		Root: s.trustedRoot(t), Now: time.Now}
}

func (s *stack) trustedRoot(t *testing.T) *trust.Root {
	t.Helper()
	r, err := trust.LoadRoot(s.root)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
