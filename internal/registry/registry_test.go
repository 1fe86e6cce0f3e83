package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// serve starts a server and returns a repository on it.
func serve(t *testing.T, handle http.HandlerFunc) name.Repository {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	repo, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func entry(n int) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064d","size":1}`, n)
}

func page(w http.ResponseWriter, entries ...string) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}`, strings.Join(entries, ","))
}

// listed returns the number of referrers that go-containerregistry returns with imagegate's
// transport.
func listed(t *testing.T, repo name.Repository) (int, error) {
	t.Helper()
	opts := append(Options{}.Remote(), remote.WithContext(t.Context()), remote.WithReferrersTagFallback(false))
	index, err := remote.Referrers(repo.Digest(digest), opts...)
	if err != nil {
		return 0, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return 0, err
	}
	return len(m.Manifests), nil
}

// TestNoPageIsLeftOut checks that all pages of a referrers list are read, with several spellings of
// the Link header.
func TestNoPageIsLeftOut(t *testing.T) {
	for _, link := range []string{
		`<%s>; rel="next"`, `<%s>;rel=next`, `<%s>; title="a, b; rel=x"; rel="last next"`, `<https://elsewhere.example/>; rel="help", <%s>; rel="NEXT"`,
	} {
		repo := serve(t, func(w http.ResponseWriter, r *http.Request) {
			n := 0
			fmt.Sscan(r.URL.Query().Get("at"), &n)
			if n < 4 {
				w.Header().Set("Link", fmt.Sprintf(link, fmt.Sprintf("%s?at=%d", r.URL.Path, n+1)))
			}
			page(w, entry(n), entry(n+100))
		})
		if n, err := listed(t, repo); err != nil || n != 10 {
			t.Errorf("%s: %d entries, %v", link, n, err)
		}
	}
}

// TestIncompleteListIsAnError checks that reading a referrers list fails if a page fails, is
// invalid or is endless.
func TestIncompleteListIsAnError(t *testing.T) {
	for what, handle := range map[string]http.HandlerFunc{
		"a page fails": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Link", `<?n=2>; rel="next"`)
			page(w, entry(1))
		},
		"a page is no index": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			if r.URL.RawQuery != "" {
				fmt.Fprint(w, `{}`)
				return
			}
			w.Header().Set("Link", `<?n=2>; rel="next"`)
			page(w, entry(1))
		},
		"a loop": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<?n=2>; rel="next"`)
			page(w, entry(1))
		},
		"no end": func(w http.ResponseWriter, r *http.Request) {
			n := 0
			fmt.Sscan(r.URL.Query().Get("n"), &n)
			w.Header().Set("Link", fmt.Sprintf(`<?n=%d>; rel="next"`, n+1))
			page(w, entry(n))
		},
		"another host": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<http://elsewhere.example/v2/team/app/referrers/`+digest+`?n=2>; rel="next"`)
			page(w, entry(1))
		},
		"another path": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `</v2/other/app/referrers/`+digest+`?n=2>; rel="next"`)
			page(w, entry(1))
		},
		"an unreadable link": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `?n=2; rel="next"`)
			page(w, entry(1))
		},
		"a web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		},
		"an empty answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
		},
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			page(w, entry(1), `{"digest":"`+strings.Repeat("x", MaxManifest)+`"}`)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/") {
				page(w, entry(1))
				return
			}
			http.Redirect(w, r, r.URL.Path+"/", http.StatusTemporaryRedirect)
		},
		"unauthorized": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"forbidden":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
	} {
		if n, err := listed(t, serve(t, handle)); err == nil || strings.Contains(err.Error(), "does not support the Referrers API") {
			t.Errorf("%s: %d entries, %v", what, n, err)
		}
	}
}

// TestListThatChangesIsReadAgain checks that a referrers list is read again if it changes during
// the read. The test deletes an entry of the first page. This moves an entry of the second page to
// the first one, which was already read.
func TestListThatChangesIsReadAgain(t *testing.T) {
	var requests atomic.Int64
	repo := serve(t, func(w http.ResponseWriter, r *http.Request) {
		all := []string{entry(1), entry(2), entry(3)}
		if requests.Add(1) > 1 {
			all = all[1:]
		}
		if r.URL.RawQuery == "" {
			w.Header().Set("Link", `<?last=2>; rel="next"`)
			page(w, all[:2]...)
			return
		}
		page(w, all[2:]...)
	})
	if n, err := listed(t, repo); err != nil || n != 2 {
		t.Errorf("%d entries, %v", n, err)
	}
	if got := requests.Load(); got < 4 {
		t.Errorf("%d requests: it was read once", got)
	}
}

// TestRegistryWithoutAListIsRecognised checks every status that registries without the referrers
// API send for a referrers list: each means that the list does not exist.
func TestRegistryWithoutAListIsRecognised(t *testing.T) {
	for _, status := range []int{400, 404, 405, 406, 501} {
		repo := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if _, err := listed(t, repo); err == nil || !strings.Contains(err.Error(), "does not support the Referrers API") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestParametersOfAMediaTypeChangeNothing checks that manifests are read correctly if the registry
// sends a media type with parameters or a generic media type.
func TestParametersOfAMediaTypeChangeNothing(t *testing.T) {
	const index, manifest = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
	for _, c := range []struct{ served, stated, want string }{
		{index + "; charset=utf-8", "", index},
		{"Application/VND.oci.image.index.v1+JSON;q=1", "", index},
		{manifest, index, manifest}, // the transport leaves this conflict unchanged, because the caller compares the two types
		{"application/json", manifest, manifest},
		{"application/octet-stream", index, index},
		{"text/plain; charset=utf-8", manifest, manifest},
		{"application/json", "text/html", "application/json"},
		{"text/html", manifest, manifest},
	} {
		repo := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.served)
			fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":%q}`, c.stated)
		})
		d, err := remote.Get(repo.Tag("1"), Options{}.Remote()...)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
		} else if string(d.MediaType) != c.want {
			t.Errorf("%+v: %s", c, d.MediaType)
		}
	}
	repo := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		page(w, entry(1))
	})
	opts := append(Options{}.Remote(), remote.WithReferrersTagFallback(false))
	if _, err := remote.Referrers(repo.Digest(digest), opts...); err != nil {
		t.Error(err)
	}
}

func TestWebPageIsNotTakenForAManifest(t *testing.T) {
	repo := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>")
	})
	if _, err := remote.Get(repo.Tag("1"), Options{}.Remote()...); err == nil || !strings.Contains(err.Error(), "not a manifest") {
		t.Error(err)
	}
}

// TestForbiddenTagIsNotTakenForAbsent checks that a forbidden tag counts as absent only if the list
// of tags proves it.
func TestForbiddenTagIsNotTakenForAbsent(t *testing.T) {
	for what, c := range map[string]struct {
		status, listStatus int
		tags               []string
		absent             bool
	}{
		"not found":                    {404, 200, nil, true},
		"forbidden, not listed":        {403, 200, []string{"2"}, true},
		"unauthorized, not listed":     {401, 200, []string{"2"}, true},
		"forbidden, no repository":     {403, 404, nil, true},
		"forbidden, listed":            {403, 200, []string{"2", "1"}, false},
		"forbidden, list forbidden":    {403, 403, nil, false},
		"unauthorized, list forbidden": {401, 401, nil, false},
		"fails":                        {500, 200, nil, false},
	} {
		repo := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/tags/list") {
				w.WriteHeader(c.status)
				return
			}
			if c.listStatus != http.StatusOK {
				w.WriteHeader(c.listStatus)
				return
			}
			if r.URL.RawQuery == "" || !strings.Contains(r.URL.RawQuery, "last") {
				w.Header().Set("Link", `<`+r.URL.Path+`?last=x>; rel="next"`)
				fmt.Fprint(w, `{"name":"team/app","tags":["other"]}`)
				return
			}
			raw, _ := json.Marshal(c.tags)
			fmt.Fprintf(w, `{"name":"team/app","tags":%s}`, raw)
		})
		opts := append(Options{}.Remote(), remote.WithContext(t.Context()), remote.WithRetryStatusCodes())
		_, err := remote.Get(repo.Tag("1"), opts...)
		absent, err := IsAbsent(t.Context(), repo.Tag("1"), err, opts...)
		if absent != c.absent || (err == nil) != c.absent {
			t.Errorf("%s: absent is %v, %v", what, absent, err)
		}
	}
}

func TestDigestsOfTwoReadingsAreCompared(t *testing.T) {
	raw := func(n ...int) (out []json.RawMessage) {
		for _, i := range n {
			out = append(out, json.RawMessage(entry(i)))
		}
		return out
	}
	if !sameDigests(raw(1, 2), raw(2, 1)) || sameDigests(raw(1, 2), raw(1)) || sameDigests(raw(1, 2), raw(1, 3)) {
		t.Error("wrong")
	}
}
