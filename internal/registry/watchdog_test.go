package registry

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// slowBody is a request body that returns one byte after each pause.
type slowBody struct {
	left  int
	pause time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(b.pause)
	b.left--
	return copy(p, "x"), nil
}

// TestSilentRegistryIsNotWaitedForForever checks that a request times out if the registry sends
// nothing, before the response or within the response body.
func TestSilentRegistryIsNotWaitedForForever(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/body") {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
			w.(http.Flusher).Flush()
		}
		<-release
	}))
	defer server.Close()
	defer close(release)
	client := http.Client{Transport: NewTransport(50 * time.Millisecond)}
	for _, path := range []string{"/header", "/body"} {
		resp, err := client.Get(server.URL + path)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSlowUploadIsNotTakenForSilence checks that a slow upload does not time out, although the
// registry sends nothing for longer than the idle timeout.
func TestSlowUploadIsNotTakenForSilence(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != 40 {
			t.Errorf("%d bytes came, %v", n, err)
		}
	}))
	defer server.Close()
	const limit = 500 * time.Millisecond
	client := http.Client{Transport: NewTransport(limit)}
	resp, err := client.Post(server.URL, "application/octet-stream", &slowBody{left: 40, pause: limit / 20})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
