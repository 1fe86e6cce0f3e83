package lab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

// withBlob starts a registry and pushes an image. It returns the registry, and the path and the
// content of the image's layer.
func withBlob(t *testing.T) (*lab.Registry, string, []byte) {
	t.Helper()
	r := start(t, lab.Options{})
	img := build(t, small("linux/amd64"))
	must(r.Push(t.Context(), "app:1", img))(t)
	path := "/v2/app/blobs/" + must(img.Manifest())(t).Layers[0].Digest.String()
	return r, path, must(get(t, r, path))(t).body
}

func TestFailAnswersWithTheStatus(t *testing.T) {
	r := start(t, lab.Options{})
	for code, word := range map[int]string{500: "UNKNOWN", 401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN"} {
		r.SetHook(lab.Fail(code))
		got := must(get(t, r, "/v2/"))(t)
		if got.status != code || !strings.Contains(string(got.body), `"`+word+`"`) {
			t.Errorf("got %d %s, want %d and %s", got.status, got.body, code, word)
		}
	}
	r.SetHook(nil)
	if got := must(get(t, r, "/v2/"))(t); got.status != 200 {
		t.Errorf("without a hook: %d", got.status)
	}
}

func TestRateLimitSetsRetryAfter(t *testing.T) {
	r := start(t, lab.Options{Hook: lab.RateLimit(1500 * time.Millisecond)})
	got := must(get(t, r, "/v2/"))(t)
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "2" {
		t.Errorf("got %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
}

func TestCutBodyEndsWithinTheBlob(t *testing.T) {
	r, path, blob := withBlob(t)
	r.SetHook(lab.CutBody(10))
	got := must(get(t, r, path))(t)
	if got.status != 200 || !bytes.Equal(got.body, blob[:10]) || !errors.Is(got.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d, %d bytes, %v", got.status, len(got.body), got.err)
	}
	r.SetHook(lab.CutBody(int64(len(blob))))
	if got := must(get(t, r, path))(t); got.err != nil || !bytes.Equal(got.body, blob) {
		t.Errorf("a body of just that length: %d bytes, %v", len(got.body), got.err)
	}
}

func TestCorruptBlobDoesNotHashToItsDigest(t *testing.T) {
	r, path, blob := withBlob(t)
	r.SetHook(lab.When(lab.IsBlob, lab.Corrupt(int64(len(blob)-1))))
	got := must(get(t, r, path))(t)
	if got.err != nil || len(got.body) != len(blob) || bytes.Equal(got.body, blob) {
		t.Errorf("got %d bytes, %v, equal: %t", len(got.body), got.err, bytes.Equal(got.body, blob))
	}
	img := must(pull(t, r, "app:1").Image())(t)
	rc := must(must(img.Layers())(t)[0].Compressed())(t)
	defer rc.Close()
	if _, err := io.Copy(io.Discard, rc); err == nil {
		t.Error("a client that verifies did not notice")
	}
}

func TestEndlessBody(t *testing.T) {
	r, path, blob := withBlob(t)
	r.SetHook(lab.Endless())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Host()+path, nil))(t)
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, int64(len(blob))+4<<20); err != nil {
		t.Errorf("it ended after %d bytes: %v", n, err)
	}
	if resp.ContentLength != -1 {
		t.Errorf("it has a length: %d", resp.ContentLength)
	}
}

func TestDelayPassesTheRequestOn(t *testing.T) {
	r := start(t, lab.Options{Hook: lab.Delay(time.Millisecond)})
	if got := must(get(t, r, "/v2/"))(t); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
}

func TestDelayEndsWithTheClient(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan any)
	delay := lab.Delay(time.Hour)
	r := start(t, lab.Options{Hook: func(w http.ResponseWriter, req *http.Request) bool {
		defer func() { left <- recover() }()
		close(arrived)
		return delay(w, req)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Host()+"/v2/", nil))(t)
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Error("it was answered")
	}
	if p := <-left; p != any(http.ErrAbortHandler) {
		t.Errorf("the hook ended with %v", p)
	}
}

func TestHooksCombine(t *testing.T) {
	r := start(t, lab.Options{})
	statuses := func(n int) (out []int) {
		for range n {
			out = append(out, must(get(t, r, "/v2/"))(t).status)
		}
		return out
	}
	for name, tc := range map[string]struct {
		hook lab.Hook
		want []int
	}{
		"times": {lab.Times(2, lab.Fail(500)), []int{500, 500, 200}},
		"after": {lab.After(2, lab.Fail(500)), []int{200, 200, 500}},
		"any":   {lab.Any(lab.Times(1, lab.Fail(500)), lab.After(1, lab.Fail(503))), []int{500, 200, 503}},
		"when":  {lab.When(lab.IsWrite, lab.Fail(500)), []int{200, 200, 200}},
	} {
		r.SetHook(tc.hook)
		got := statuses(3)
		if got[0] != tc.want[0] || got[1] != tc.want[1] || got[2] != tc.want[2] {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// TestTagWriteIsNotADigestWrite checks that lab.IsTagWrite does not match a manifest that is
// written by digest. Many tests use lab.IsTagWrite to check that the tag is written last.
func TestTagWriteIsNotADigestWrite(t *testing.T) {
	r := start(t, lab.Options{Hook: lab.When(lab.IsTagWrite, lab.Fail(403))})
	img := build(t, small("linux/amd64"))
	digest := must(img.Digest())(t)
	must(r.Push(t.Context(), "app@"+digest.String(), img))(t)
	if _, err := r.Push(t.Context(), "app:1", img); status(err) != 403 {
		t.Errorf("got %v, want 403", err)
	}
	if _, err := remote.Head(must(name.NewTag(r.Ref("app:1")))(t)); status(err) != 404 {
		t.Errorf("got %v, want no tag", err)
	}
}

func TestMatchers(t *testing.T) {
	for _, tc := range []struct {
		method, path                    string
		write, blob, manifest, tagWrite bool
	}{
		{"GET", "/v2/", false, false, false, false},
		{"GET", "/v2/a/b/blobs/sha256:00", false, true, false, false},
		{"HEAD", "/v2/a/manifests/1", false, false, true, false},
		{"PUT", "/v2/a/manifests/1", true, false, true, true},
		{"PUT", "/v2/a/manifests/sha256:00", true, false, true, false},
		{"POST", "/v2/a/blobs/uploads/", true, false, false, false},
		{"PATCH", "/v2/a/blobs/uploads/1b4e", true, false, false, false},
		{"DELETE", "/v2/a/manifests/1", true, false, true, false},
	} {
		req := must(http.NewRequest(tc.method, "http://registry.invalid"+tc.path, nil))(t)
		for name, got := range map[string][2]bool{
			"write": {lab.IsWrite(req), tc.write}, "blob": {lab.IsBlob(req), tc.blob},
			"manifest": {lab.IsManifest(req), tc.manifest}, "tag write": {lab.IsTagWrite(req), tc.tagWrite},
		} {
			if got[0] != got[1] {
				t.Errorf("%s %s is a %s: %t", tc.method, tc.path, name, got[0])
			}
		}
	}
}
