package cli

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// stall is how long a registry may say and take nothing in the middle of an
// exchange. Storing a large blob takes some registries a minute or two.
const stall = 5 * time.Minute

// registryTransport is the library's, which waits forever for a registry that
// has fallen silent, with an end to that: a job that hangs until its runner is
// killed says nothing about why.
func registryTransport(stall time.Duration) http.RoundTripper {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &attentive{conn, stall}, nil
	}
	return t
}

// attentive is a connection that fails once nothing has moved for a while.
// What moves in one direction keeps the other one alive: whoever uploads hears
// nothing until the end.
type attentive struct {
	net.Conn
	stall time.Duration
}

func (c *attentive) Read(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *attentive) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
