package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// maxSyslog is the maximum size of a message in bytes. It is below 8 KiB, the default limit of
// rsyslog, because servers cut off longer messages.
const maxSyslog = 8000

// closedWait is how long a probe waits to read the end of a connection. It can be short, because
// the kernel already knows whether the server has closed the connection.
const closedWait = 5 * time.Millisecond

// A message's priority is facility * 8 + severity (RFC 5424, section 6.2.1).
const (
	facilityAuth = 10 // security and authorization, private

	severityError   = 3
	severityWarning = 4
	severityInfo    = 6
)

// localSockets are the paths of the local syslog socket on Linux and macOS.
var localSockets = []string{"/dev/log", "/var/run/syslog"}

// syslog is a sink that sends records to a syslog server as RFC 5424 messages. Over TCP and TLS,
// each message is preceded by its length (RFC 5425, RFC 6587).
type syslog struct {
	network, address string // network "" means the local syslog socket
	host             string
	pid              int
	timeout          time.Duration
	now              func() time.Time
	conn             net.Conn
	framed           bool
}

// parseSyslog splits the URL of a syslog server. isURL is false if target does not contain "://".
// network is "" if the URL is invalid.
func parseSyslog(target string) (network, address string, isURL bool) {
	scheme, _, isURL := strings.Cut(target, "://")
	network, isSyslog := strings.CutPrefix(scheme, "syslog+")
	if !isURL || !isSyslog {
		return "", "", isURL
	}
	u, err := url.Parse(target)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", true
	}
	port, isNetwork := map[string]string{"udp": "514", "tcp": "601", "tls": "6514"}[network]
	switch {
	case network == "unix" && u.Host == "" && u.Path != "":
		return network, u.Path, true
	case isNetwork && u.Hostname() != "" && strings.Trim(u.Path, "/") == "":
		if u.Port() != "" {
			port = u.Port()
		}
		return network, net.JoinHostPort(u.Hostname(), port), true
	}
	return "", "", true
}

func newSyslog(network, address string, o Options) *syslog {
	return &syslog{network: network, address: address, host: o.Host, pid: o.PID, timeout: o.Timeout, now: o.Now}
}

// probe connects to the server, or checks that an existing connection is still open. UDP has no
// connections, so probe cannot detect that a UDP server is down.
func (s *syslog) probe(ctx context.Context) error {
	// For a local socket, only a new connection shows whether the server still runs.
	if local := s.network == "" || s.network == "unix"; s.conn != nil && (local || s.framed && s.isClosed()) {
		_ = s.conn.Close() // the server closed it, or a new connection replaces it
		s.conn = nil
	}
	if s.conn != nil {
		return nil
	}
	return s.connect(ctx)
}

// isClosed reports whether the server has closed a TCP connection. A syslog server never sends data.
func (s *syslog) isClosed() bool {
	if s.conn.SetReadDeadline(s.now().Add(closedWait)) != nil {
		return true
	}
	_, err := s.conn.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *syslog) connect(ctx context.Context) (err error) {
	dialer := &net.Dialer{Timeout: s.timeout}
	s.framed = false
	switch s.network {
	case "":
		for _, path := range localSockets {
			if s.conn, err = dialSocket(ctx, dialer, path); err == nil {
				return nil
			}
		}
		return fmt.Errorf("no local syslog socket at %s: %w", strings.Join(localSockets, " or "), err)
	case "unix":
		s.conn, err = dialSocket(ctx, dialer, s.address)
	case "tls":
		s.framed = true
		s.conn, err = (&tls.Dialer{NetDialer: dialer, Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", s.address)
	default:
		s.framed = s.network == "tcp"
		s.conn, err = dialer.DialContext(ctx, s.network, s.address)
	}
	return err
}

// dialSocket connects to a Unix socket, whether it is a datagram or a stream socket.
func dialSocket(ctx context.Context, d *net.Dialer, path string) (net.Conn, error) {
	conn, err := d.DialContext(ctx, "unixgram", path)
	if err != nil {
		return d.DialContext(ctx, "unix", path)
	}
	return conn, nil
}

// deliver sends a record as one message. If the connection was lost, it reconnects once.
func (s *syslog) deliver(ctx context.Context, e Event) error {
	if err := s.probe(ctx); err != nil {
		return err
	}
	message, err := s.message(e)
	if err != nil {
		return err
	}
	if err := s.send(message); err == nil {
		return nil
	}
	_ = s.conn.Close() // sending failed already
	s.conn = nil
	if err := s.connect(ctx); err != nil {
		return err
	}
	return s.send(message)
}

func (*syslog) reserve(int64) error { return nil }

func (s *syslog) send(message []byte) error {
	switch {
	case s.framed:
		message = append(fmt.Appendf(nil, "%d ", len(message)), message...)
	case s.conn.LocalAddr().Network() == "unix": // in a stream, a line break ends a message
		message = append(message, '\n')
	}
	// The deadline ends the write if the server does not read.
	if err := s.conn.SetWriteDeadline(s.now().Add(s.timeout)); err != nil {
		return err
	}
	n, err := s.conn.Write(message)
	if err == nil && n < len(message) {
		err = io.ErrShortWrite
	}
	return err
}

// message formats a record as an RFC 5424 message. It shortens a record that exceeds maxSyslog.
func (s *syslog) message(e Event) ([]byte, error) {
	severity := severityInfo
	switch {
	case e.Data.Error != nil || e.Data.Recovered:
		severity = severityError
	case e.Data.Outcome == "denied" || e.Data.Outcome == "overridden":
		severity = severityWarning
	}
	head := fmt.Appendf(nil, "<%d>1 %s %s imagegate %d decision - ", facilityAuth*8+severity,
		e.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), headerField(s.host), s.pid)
	for {
		line, err := encode(e)
		if err != nil {
			return nil, err
		}
		if len(head)+len(line) <= maxSyslog || !shorten(&e.Data) {
			return append(head, bytes.TrimSuffix(line, []byte("\n"))...), nil
		}
	}
}

// headerField makes a text valid as a header field of a message: printable ASCII without spaces.
func headerField(text string) string {
	text = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), 255)]
}

func (s *syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

// IsRemote reports whether a target of [Open] needs the network.
func IsRemote(target string) bool {
	network, _, _ := parseSyslog(target)
	return network != "" && network != "unix"
}

// IsFile reports whether a target of [Open] is the path of a file.
func IsFile(target string) bool {
	network, _, isURL := parseSyslog(target)
	return target != "" && target != "-" && target != "syslog" && network == "" && !isURL
}
