package trust

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/lab"
)

// newTUF returns a TUF repository with a trusted root and a signing configuration.
func newTUF(t *testing.T) (*lab.TUF, map[string][]byte, TUF) {
	t.Helper()
	repository, err := lab.NewTUF()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		rootTarget: []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`),
		configTarget: []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json",
			"caUrls":[{"url":"https://fulcio.example","majorApiVersion":1,"validFor":{"start":"2021-01-01T00:00:00Z"},"operator":"a"}],
			"oidcUrls":[{"url":"https://login.example","majorApiVersion":1,"validFor":{"start":"2021-01-01T00:00:00Z"},"operator":"a"}]}`),
	}
	publish(t, repository, 1, time.Hour, files)
	server := httptest.NewServer(repository)
	t.Cleanup(server.Close)
	return repository, files, TUF{URL: server.URL, Root: repository.Root, Dir: t.TempDir()}
}

func publish(t *testing.T, r *lab.TUF, version int64, within time.Duration, files map[string][]byte) {
	t.Helper()
	if err := r.Publish(version, time.Now().Add(within), files); err != nil {
		t.Fatal(err)
	}
}

func TestTUFRepositoryDescribesASigstore(t *testing.T) {
	repository, files, m := newTUF(t)
	for range 2 { // the second run uses the metadata that the first run stored
		services, err := m.Services(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if services.Root == nil || services.Fulcio != "https://fulcio.example" || services.Issuer != "https://login.example" {
			t.Errorf("%+v", services)
		}
	}
	files[configTarget] = []byte(strings.ReplaceAll(string(files[configTarget]), "fulcio.example", "next.example"))
	publish(t, repository, 2, time.Hour, files)
	if services, err := m.Services(t.Context(), time.Now()); err != nil || services.Fulcio != "https://next.example" {
		t.Errorf("after an update: %+v, %v", services, err)
	}
}

// TestTUFRepositoryIsVerified checks that files without valid TUF metadata are refused.
func TestTUFRepositoryIsVerified(t *testing.T) {
	for what, change := range map[string]func(*lab.TUF, map[string][]byte, *TUF){
		"tampered":         func(r *lab.TUF, _ map[string][]byte, _ *TUF) { r.Tamper(rootTarget, []byte(`{}`)) },
		"another root":     func(_ *lab.TUF, _ map[string][]byte, m *TUF) { m.Root = nil },
		"expired":          func(r *lab.TUF, files map[string][]byte, _ *TUF) { publish(t, r, 1, -time.Hour, files) },
		"without the file": func(r *lab.TUF, _ map[string][]byte, _ *TUF) { publish(t, r, 1, time.Hour, nil) },
		"with another file": func(r *lab.TUF, _ map[string][]byte, _ *TUF) {
			publish(t, r, 1, time.Hour, map[string][]byte{rootTarget: []byte("{}")})
		},
	} {
		repository, files, m := newTUF(t)
		change(repository, files, &m)
		if root, err := m.TrustedRoot(t.Context()); err == nil {
			t.Errorf("%s: %+v", what, root)
		}
	}
}

// TestOlderTUFStateIsRefused checks that TUF metadata is refused if it is older than the metadata
// of an earlier run.
func TestOlderTUFStateIsRefused(t *testing.T) {
	repository, files, m := newTUF(t)
	publish(t, repository, 5, time.Hour, files)
	if _, err := m.TrustedRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, repository, 4, time.Hour, files)
	if root, err := m.TrustedRoot(t.Context()); err == nil {
		t.Errorf("%+v", root)
	}
}
