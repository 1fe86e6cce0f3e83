package sigstore

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestServe runs a Sigstore for tests in another process. It prints a line when the Sigstore is
// ready, and runs until its standard input ends. It writes these files into the folder in
// IMAGEGATE_TEST_SIGSTORE:
//
//   - root.json: the trusted root
//   - signing.json: the signing configuration
//   - tuf.json: the initial root of a TUF repository with both
//   - sigstore.json: the URL of that repository, and the subject and issuer of the token
//   - token: the identity token, which TestServe renews as long as it runs
func TestServe(t *testing.T) {
	dir := os.Getenv("IMAGEGATE_TEST_SIGSTORE")
	if dir == "" {
		t.Log("IMAGEGATE_TEST_SIGSTORE names no folder: nobody is to be served")
		return
	}
	s := startStack(t)
	p := &product{T: t, dir: dir}
	p.configure(s, true)
	about, err := json.Marshal(map[string]string{"mirror": p.mirrored(s), "subject": email, "issuer": s.issuer.server.URL})
	if err != nil {
		t.Fatal(err)
	}
	renew := func() error {
		token, err := s.issuer.token(t.Context())
		if err != nil {
			return err
		}
		return replace(filepath.Join(dir, "token"), []byte(token))
	}
	for name, data := range map[string][]byte{"root.json": s.root, "sigstore.json": about} {
		if err := replace(filepath.Join(dir, name), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return
		case <-time.After(time.Minute):
			if err := renew(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// replace replaces a file atomically, because other processes may be reading it.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
