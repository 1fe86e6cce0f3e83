package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// receive accepts connections on l and reads one message from each. It returns the channel of these
// messages.
func receive(t *testing.T, l net.Listener) <-chan string {
	got := make(chan string, 4)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			var size int
			if _, err := fmt.Fscanf(in, "%d ", &size); err != nil {
				got <- err.Error()
				return
			}
			message := make([]byte, size)
			if _, err := io.ReadFull(in, message); err != nil {
				got <- err.Error()
				return
			}
			_ = conn.Close()
			got <- string(message)
		}
	}()
	return got
}

var message5424 = regexp.MustCompile(`^<8[346]>1 2026-11-30T12:00:01\.500000Z host imagegate 1 decision - (\{.*\})$`)

func checkMessage(t *testing.T, message string) {
	t.Helper()
	m := message5424.FindStringSubmatch(message)
	if m == nil {
		t.Fatalf("message %q", message)
	}
	var e Event
	if err := json.Unmarshal([]byte(m[1]), &e); err != nil || e.ID != "1" {
		t.Errorf("record %+v, %v", e, err)
	}
}

func TestSyslogOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	got := receive(t, l)
	log, _ := open(t, "syslog+tcp://"+l.Addr().String())
	check(t, log.Prepare(t.Context(), event("1")))
	check(t, send(t, log, event("1")))
	checkMessage(t, <-got)
}

func TestSyslogOverDatagrams(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	path := filepath.Join(t.TempDir(), "log")
	unix, err := net.ListenPacket("unixgram", path)
	check(t, err)
	for target, conn := range map[string]net.PacketConn{"syslog+udp://" + udp.LocalAddr().String(): udp, "syslog+unix://" + path: unix} {
		t.Cleanup(func() { _ = conn.Close() })
		log, _ := open(t, target)
		check(t, log.Prepare(t.Context(), event("1")))
		check(t, send(t, log, event("1")))
		buf := make([]byte, 65536)
		check(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, _, err := conn.ReadFrom(buf)
		check(t, err)
		checkMessage(t, string(buf[:n]))
	}
}

// TestDeadSyslogStopsTheRun checks that the run ends before the tag if the syslog server is down
// from the start, or goes down during the run.
func TestDeadSyslogStopsTheRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	log, _ := open(t, "syslog+tcp://"+l.Addr().String())
	conn := <-accepted
	check(t, l.Close())
	check(t, conn.Close())
	time.Sleep(50 * time.Millisecond) // until the client's kernel knows that the server closed the connection
	if err := log.Prepare(t.Context(), event("1")); err == nil {
		t.Error("a server that went down is accepted")
	}
	if _, _, err := Open(t.Context(), "syslog+tcp://"+l.Addr().String(), Options{Now: time.Now, Spool: t.TempDir()}); err == nil {
		t.Error("a server that is down is accepted")
	}
}

// TestLongRecordFitsIntoAMessage checks that a record with long lists and texts is shortened to the
// size of a message, counts the omitted entries, and stays valid.
func TestLongRecordFitsIntoAMessage(t *testing.T) {
	long := event("1")
	for i := range 1000 {
		long.Data.Exceptions = append(long.Data.Exceptions, Exception{ID: fmt.Sprintf("CVE-2026-%d", i), Reason: strings.Repeat("r", 100)})
		long.Data.Rules = append(long.Data.Rules, Rule{Name: fmt.Sprint("rule ", i)})
	}
	long.Data.Error = &Error{Class: "other", Message: strings.Repeat("ü", 100000)}
	s := newSyslog("tcp", "", Options{Host: "host", PID: 1})
	message, err := s.message(long)
	check(t, err)
	if len(message) > maxSyslog {
		t.Errorf("%d bytes", len(message))
	}
	var e Event
	check(t, json.Unmarshal(message[strings.IndexByte(string(message), '{'):], &e))
	if e.Data.Omitted < 1900 || !strings.HasSuffix(e.Data.Error.Message, "ü...") {
		t.Errorf("omitted %d, message %q", e.Data.Omitted, e.Data.Error.Message)
	}
	if len(long.Data.Exceptions) != 1000 || len(long.Data.Error.Message) != 200000 {
		t.Error("the caller's record was changed")
	}
}
