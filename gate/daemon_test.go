package gate

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestDaemonsImageGivesTheSameEvidence checks that an image from a container engine gives the same
// evidence as the same image from a registry. A real engine cannot run inside a test, so a test
// server responds to the two calls of the Docker Engine API.
func TestDaemonsImageGivesTheSameEvidence(t *testing.T) {
	h := newTester(t)
	img := h.image(dirty)
	tag := h.source("team/app:1").Ref
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.43")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
		case strings.HasSuffix(r.URL.Path, "/json"):
			config, err := img.ConfigName()
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"Id":"` + config.String() + `","Os":"linux","Architecture":"amd64","RootFS":{"Type":"layers"},"Config":{}}`))
		case strings.HasSuffix(r.URL.Path, "/images/get") || strings.HasSuffix(r.URL.Path, "/get"):
			if err := tarball.Write(tag, img, w); err != nil {
				t.Error(err)
			}
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer engine.Close()
	t.Setenv("DOCKER_HOST", "tcp://"+engine.Listener.Addr().String())
	want := h.check(h.gate(blockCritical), h.push("app:1", img)).Input.Platforms[0]
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	r := h.check(h.gate(blockCritical), h.source("docker-daemon:team/app:1"))
	if left, err := os.ReadDir(spool); err != nil || len(left) != 0 {
		t.Errorf("the system's folder for temporary files holds %v, %v", left, err)
	}
	if got := r.Input.Platforms[0]; !slices.Equal(findingIDs(got), findingIDs(want)) || r.Decision.Passed {
		t.Errorf("%v, not %v", findingIDs(got), findingIDs(want))
	}
}
