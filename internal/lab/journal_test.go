package lab_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/lab"
)

// answer is a response as a plain HTTP client received it.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // error of reading the body of the response
}

func get(t *testing.T, r *lab.Registry, path string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Host()+path, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err}, nil
}

func TestJournalHasEveryRequestInOrder(t *testing.T) {
	r := start(t, lab.Options{})
	for _, path := range []string{"/v2/", "/v2/none/manifests/1?x=y", "/elsewhere"} {
		must(get(t, r, path))(t)
	}
	type row struct {
		Method, Path, Query string
		Status              int
	}
	var got []row
	for _, req := range r.Requests() {
		got = append(got, row{req.Method, req.Path, req.Query, req.Status})
	}
	want := []row{{"GET", "/v2/", "", 200}, {"GET", "/v2/none/manifests/1", "x=y", 404}, {"GET", "/elsewhere", "", 404}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if first := r.Requests()[0]; first.BytesOut != 2 || first.String() != "GET /v2/ 200" {
		t.Errorf("got %d bytes, %q", first.BytesOut, first)
	}
}

func TestJournalCountsPushesAsWrites(t *testing.T) {
	r := start(t, lab.Options{})
	img := build(t, small("linux/amd64"))
	must(r.Push(t.Context(), "app:1", img))(t)
	writes := r.Writes()
	if len(writes) == 0 || len(writes) == len(r.Requests()) {
		t.Fatalf("%d writes of %d requests", len(writes), len(r.Requests()))
	}
	last := writes[len(writes)-1]
	if last.Method != http.MethodPut || last.Path != "/v2/app/manifests/1" || last.Status != http.StatusCreated || !last.IsWrite() {
		t.Errorf("the last write is %s, want that of the tag", last)
	}
	if want := must(img.Size())(t); last.BytesIn != want {
		t.Errorf("%d bytes in, the manifest has %d", last.BytesIn, want)
	}
	r.ResetRequests()
	if n := len(r.Requests()); n != 0 {
		t.Errorf("%d requests after the reset", n)
	}
}

func TestBlobBytesAreCountedOncePerPull(t *testing.T) {
	r := start(t, lab.Options{})
	img := build(t, small("linux/amd64"))
	must(r.Push(t.Context(), "app:1", img))(t)
	if n := r.BlobBytesServed(); n != 0 {
		t.Errorf("%d blob bytes served by a push", n)
	}
	manifest := must(img.Manifest())(t)
	r.ResetRequests()
	if err := check(must(pull(t, r, "app:1").Image())(t)); err != nil {
		t.Fatal(err)
	}
	if len(r.Writes()) != 0 {
		t.Errorf("a pull wrote: %v", r.Writes())
	}
	var want int64
	for _, req := range r.Requests() {
		if n, ok := map[string]int64{
			"/v2/app/blobs/" + manifest.Config.Digest.String():    manifest.Config.Size,
			"/v2/app/blobs/" + manifest.Layers[0].Digest.String(): manifest.Layers[0].Size,
		}[req.Path]; ok {
			want += n
		}
	}
	if got := r.BlobBytesServed(); got != want || want < manifest.Config.Size+manifest.Layers[0].Size {
		t.Errorf("%d blob bytes served, want %d", got, want)
	}
	reads := r.BlobReads()
	if len(reads) != 2 || reads[manifest.Config.Digest.String()] == 0 || reads[manifest.Layers[0].Digest.String()] == 0 {
		t.Errorf("got reads %v", reads)
	}
}

// TestJournalHasAbortedRequests checks that the journal of the lab registry also records an
// interrupted write.
func TestJournalHasAbortedRequests(t *testing.T) {
	r := start(t, lab.Options{Hook: lab.Cut()})
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+r.Host()+"/v2/app/manifests/1", nil))(t)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("it was answered")
	}
	writes := r.Writes()
	if len(writes) != 1 || writes[0].Status != 0 {
		t.Errorf("got %v, want one write without a status", writes)
	}
}
