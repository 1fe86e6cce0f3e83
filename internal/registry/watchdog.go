package registry

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// IdleTimeout is the time after which a registry connection without traffic in either direction is
// closed. Some registries need a minute or two to store a large blob.
const IdleTimeout = 5 * time.Minute

// NewTransport returns the transport of go-containerregistry with an idle timeout. Without the
// timeout, the client waits forever for a silent registry, and the CI system ends the job without
// an error message.
func NewTransport(idle time.Duration) http.RoundTripper {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watchdog{conn, idle}, nil
	}
	return t
}

// watchdog is a connection that fails after an idle timeout. Traffic in one direction keeps the
// other direction open, because an uploading client receives nothing until the upload ends.
type watchdog struct {
	net.Conn
	idleTimeout time.Duration
}

// deadline returns the time when the connection times out, by the system clock.
func (c *watchdog) deadline() time.Time {
	return time.Now().Add(c.idleTimeout) //nolint:forbidigo // sockets use the clock of the system
}

func (c *watchdog) Read(b []byte) (int, error) {
	if err := c.SetDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *watchdog) Write(b []byte) (int, error) {
	if err := c.SetDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
