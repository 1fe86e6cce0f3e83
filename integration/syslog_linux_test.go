package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/audit"
)

// TestAuditRecordReachesRsyslog sends audit records to rsyslog over a Unix socket, UDP, TCP and TLS,
// and reads them in the file that rsyslog writes.
func TestAuditRecordReachesRsyslog(t *testing.T) {
	path, err := exec.LookPath("rsyslogd")
	if err != nil {
		t.Skip("rsyslog is not installed")
	}
	w := newWork(t, "fixed")
	server := startRsyslog(t, path)
	w.env = append(w.env, "SSL_CERT_FILE="+server.certificate)
	for _, target := range []string{
		"syslog+unix://" + server.socket,
		"syslog+udp://" + server.udp,
		"syslog+tcp://" + server.tcp,
		"syslog+tls://" + server.tls,
	} {
		out, err := w.command(t, "promote", w.source, w.target, "--policy", w.policy, "--key", w.key, "--audit-log", target).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", target, err, out)
		}
		e := server.record(t)
		if e.Type != audit.Type || e.Data.ExitCode != 0 || e.Data.Command != "promote" || len(e.Data.Destinations) != 1 || e.Data.Destinations[0].Reference != w.target {
			t.Errorf("%s: %+v", target, e)
		}
	}
	other := w.command(t, "check", w.source, "--policy", w.policy, "--audit-log", "syslog+tls://"+server.tls)
	other.Env = append(other.Env, "SSL_CERT_FILE=/dev/null")
	if out, err := other.CombinedOutput(); exitCode(t, err) != 1 || !strings.Contains(string(out), "certificate") {
		t.Errorf("unknown authority: %v\n%s", err, out)
	}
	server.stop()
	tag := strings.TrimSuffix(w.target, ":1") + ":2"
	for _, target := range []string{"syslog+tcp://" + server.tcp, "syslog+tls://" + server.tls, "syslog+unix://" + server.socket} {
		out, err := w.command(t, "promote", w.source, tag, "--policy", w.policy, "--key", w.key, "--audit-log", target).CombinedOutput()
		if code := exitCode(t, err); code != 1 {
			t.Errorf("%s after the end of the server: exit code %d\n%s", target, code, out)
		}
	}
	for _, r := range w.registries["approved"].Writes() {
		if strings.HasSuffix(r.Path, "/manifests/2") {
			t.Errorf("a tag is written: %s", r.Path)
		}
	}
}

// rsyslog is a running syslog server.
type rsyslog struct {
	socket, udp, tcp, tls string
	certificate           string
	file                  string
	read                  int // records that were returned
	stop                  func()
}

func startRsyslog(t *testing.T, path string) *rsyslog {
	t.Helper()
	dir := t.TempDir()
	s := &rsyslog{socket: filepath.Join(dir, "log"), udp: freePort(t), tcp: freePort(t), tls: freePort(t),
		certificate: filepath.Join(dir, "server.pem"), file: filepath.Join(dir, "messages")}
	key := filepath.Join(dir, "server.key")
	selfSigned(t, s.certificate, key)
	port := func(address string) string {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	config := filepath.Join(dir, "rsyslog.conf")
	write(t, config, fmt.Appendf(nil, `global(workDirectory=%q maxMessageSize="8k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile=%q defaultNetstreamDriverCertFile=%q defaultNetstreamDriverKeyFile=%q)
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
module(load="imptcp")
input(type="imuxsock" socket=%q useSpecialParser="off" parseHostname="on")
input(type="imudp" address="127.0.0.1" port=%q)
input(type="imptcp" address="127.0.0.1" port=%q)
input(type="imtcp" address="127.0.0.1" port=%q streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="message" type="string" string="%%app-name%% %%msgid%% %%syslogseverity-text%% %%msg%%\n")
if $app-name == "imagegate" then action(type="omfile" file=%q template="message")
`, dir, s.certificate, s.certificate, key, s.socket, port(s.udp), port(s.tcp), port(s.tls), s.file))
	var stderr bytes.Buffer
	cmd := exec.Command(path, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.stop = func() {
		_ = cmd.Process.Kill()
		<-done
	}
	t.Cleanup(s.stop)
	for range 100 {
		conn, err := net.Dial("tcp", s.tls)
		if err == nil {
			_ = conn.Close()
			if _, err := os.Stat(s.socket); err == nil {
				return s
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.stop()
	t.Fatalf("rsyslog does not start: %s", &stderr)
	return nil
}

// record waits for the next record in the server's file.
func (s *rsyslog) record(t *testing.T) (e audit.Event) {
	t.Helper()
	for range 100 {
		data, err := os.ReadFile(s.file)
		lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		if err == nil && len(data) > 0 && len(lines) > s.read {
			if len(lines) > s.read+1 {
				t.Fatalf("more than one new message:\n%s", data)
			}
			text, ok := strings.CutPrefix(lines[s.read], "imagegate decision info ")
			if err := json.Unmarshal([]byte(strings.TrimSpace(text)), &e); !ok || err != nil {
				t.Fatalf("%v in %q", err, lines[s.read])
			}
			s.read++
			return e
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the message does not arrive")
	return e
}

// freePort returns an address on the loopback interface that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// selfSigned writes a certificate for the loopback address, and its key.
func selfSigned(t *testing.T, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rsyslog"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}
