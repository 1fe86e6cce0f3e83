package promote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
)

// refuseTag returns a hook that makes the registry refuse to write one tag.
func refuseTag(tag string) lab.Hook {
	return lab.When(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/"+tag)
	}, lab.Fail(http.StatusForbidden))
}

func isHead(r *http.Request) bool { return r.Method == http.MethodHead && lab.IsManifest(r) }

func isReferrers(r *http.Request) bool { return strings.Contains(r.URL.Path, "/referrers/") }

// staleHead returns a hook that makes the registry respond to HEAD requests for tag 1 with another
// digest.
func staleHead(digest string) lab.Hook {
	return lab.When(func(r *http.Request) bool { return isHead(r) && strings.HasSuffix(r.URL.Path, "/manifests/1") },
		func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", digest)
			w.Header().Set("Content-Length", "500")
			w.WriteHeader(http.StatusOK)
			return true
		})
}

// absentAs returns a hook that makes the registry respond to requests for missing manifests with
// the given status instead of 404.
func absentAs(status int) lab.Hook {
	var mu sync.Mutex
	there := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !lab.IsManifest(r) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			there[r.URL.Path] = true
			return false
		}
		return !there[r.URL.Path] && lab.Fail(status)(w, r)
	}
}

// TestPromoteAndVerifyAgree checks that Promote and Verify give the same result for registries with
// unusual behavior.
func TestPromoteAndVerifyAgree(t *testing.T) {
	for what, c := range map[string]struct {
		hook  lab.Hook
		fails bool // Promote and Verify must return a registry error.
		first bool // Promote ignores the error of an unused repository, so it writes blobs before it fails.
	}{
		"no HEAD":                 {hook: lab.When(isHead, lab.Fail(http.StatusMethodNotAllowed))},
		"403 for what is missing": {hook: absentAs(http.StatusForbidden)},
		"401 for what is missing": {hook: absentAs(http.StatusUnauthorized)},
		"referrers 400":           {hook: lab.When(isReferrers, lab.Fail(http.StatusBadRequest))},
		"referrers 405":           {hook: lab.When(isReferrers, lab.Fail(http.StatusMethodNotAllowed))},
		"referrers 406":           {hook: lab.When(isReferrers, lab.Fail(http.StatusNotAcceptable))},
		"referrers 501":           {hook: lab.When(isReferrers, lab.Fail(http.StatusNotImplemented))},
		"referrers 401":           {hook: lab.When(isReferrers, lab.Fail(http.StatusUnauthorized)), fails: true, first: true},
		"referrers 403":           {hook: lab.When(isReferrers, lab.Fail(http.StatusForbidden)), fails: true, first: true},
		"referrers 500":           {hook: lab.When(isReferrers, lab.Fail(http.StatusInternalServerError)), fails: true},
		"referrers a page":        {hook: lab.When(isReferrers, webPage), fails: true},
	} {
		for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
			t.Run(what+", "+form.String(), func(t *testing.T) {
				w := newWorld(t)
				a, tag := w.approve(w.image("x")), w.tag("app:1")
				w.approved.SetHook(c.hook)
				for i := range 2 {
					if c.fails && i > 0 {
						break
					}
					_, err := w.promoter(func(o *Options) { o.Format = form }).Promote(t.Context(), a, tag)
					w.registryError("promote", err, c.fails)
					_, err = w.verify(tag, w.trusting(w.signer.PublicKey()))
					if !c.fails {
						w.registryError("verify", err, false)
					}
				}
				if c.fails {
					if n := len(w.approved.Writes()); n != 0 && !c.first {
						t.Errorf("%d writes", n)
					}
					w.absent(tag)
					w.approvedLegacyOnly(a, form)
				}
			})
		}
	}
}

// approvedLegacyOnly promotes and verifies an image with OnlyFormat, so that no referrers are read.
// It also checks that verifying fails without OnlyFormat. If form is not Legacy, it does nothing.
func (w *world) approvedLegacyOnly(a *gate.Approval, form trust.Format) {
	w.Helper()
	if form != trust.Legacy {
		return
	}
	tag := w.tag("app:only")
	if _, err := w.promoter(func(o *Options) { o.OnlyFormat = true }).Promote(w.Context(), a, tag); err != nil {
		w.Errorf("legacy alone: %v", err)
	}
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err == nil {
		w.Error("verified, although a newer decision could be in the list of referrers")
	}
	v, err := NewVerifier(VerifierOptions{Now: w.promoter().opts.Now, OnlyFormat: true})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := v.Verify(w.Context(), tag, w.trusting(w.signer.PublicKey())); err != nil {
		w.Errorf("legacy alone: %v", err)
	}
}

func webPage(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err := w.Write([]byte("<html>welcome</html>"))
	return err == nil
}

// registryError fails the test unless err is an error of the approved registry (if wanted is true)
// or nil (if wanted is false).
func (w *world) registryError(what string, err error, wanted bool) {
	w.Helper()
	var failure *registry.Error
	switch {
	case !wanted && err != nil:
		w.Errorf("%s: %v", what, err)
	case wanted && (!errors.As(err, &failure) || failure.Side != registry.Approved || !strings.Contains(err.Error(), "referrers")):
		w.Errorf("%s: %v", what, err)
	}
}

// TestStaleHeadIsNotTakenForTheTag checks that a cached HEAD response does not make Promote believe
// that a missing tag is already written.
func TestStaleHeadIsNotTakenForTheTag(t *testing.T) {
	w := newWorld(t)
	a, tag := w.approve(w.image("x")), w.tag("app:1")
	w.approved.SetHook(staleHead(a.Image().Digest.String()))
	if _, err := w.promoter().Promote(t.Context(), a, tag); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
		t.Errorf("promoted without a tag: %v", err)
	}
}

// immutableTags returns a hook that makes the registry refuse to overwrite tags.
func immutableTags() lab.Hook {
	var mu sync.Mutex
	seen := map[string]bool{}
	return lab.When(lab.IsTagWrite, func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if seen[r.URL.Path] {
			return lab.Fail(http.StatusBadRequest)(w, r)
		}
		seen[r.URL.Path] = true
		return false
	})
}

// TestRefusedDecisionIsNotReportedAsPromoted checks that a promotion fails if the registry refuses
// the new decision and keeps the older one.
func TestRefusedDecisionIsNotReportedAsPromoted(t *testing.T) {
	w := newWorld(t)
	tag, img := w.tag("app:1"), w.image("x")
	w.approved.SetHook(immutableTags())
	if _, err := w.promoter().Promote(t.Context(), w.approve(img), tag); err != nil {
		t.Fatal(err)
	}
	_, err := w.promoter().Promote(t.Context(), w.approve(img), tag)
	var refused *attach.RefusedError
	var failure *registry.Error
	if !errors.As(err, &refused) || !errors.As(err, &failure) {
		t.Errorf("%v", err)
	}
}

// TestInterruptedRunConvergesOnImmutableTags checks that a second run completes an interrupted
// promotion on a registry with immutable tags. The first run stored the statements but not the tag.
func TestInterruptedRunConvergesOnImmutableTags(t *testing.T) {
	w := newWorld(t)
	tag, img := w.tag("app:1"), w.image("x")
	immutable := immutableTags()
	w.approved.SetHook(lab.Any(refuseTag("1"), immutable))
	first := w.approve(img)
	if _, err := w.promoter().Promote(t.Context(), first, tag); err == nil {
		t.Fatal("no error")
	}
	w.absent(tag)
	w.approved.SetHook(immutable)
	records, err := w.promoter().Promote(t.Context(), w.approve(img), tag)
	if err != nil {
		t.Fatal(err)
	}
	if _, finished := first.Times(); !records[0].Decision.Time.Equal(finished) {
		t.Errorf("the record has the decision of %s", records[0].Decision.Time)
	}
	if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
		t.Error(err)
	}
}

// paging makes a registry return two referrers on each page, and add parameters to each media type.
func paging(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		header, body := rec.Header(), rec.Body.Bytes()
		if strings.HasPrefix(header.Get("Content-Type"), "application/vnd.oci.image") {
			header.Set("Content-Type", header.Get("Content-Type")+"; charset=utf-8")
		}
		if isReferrers(r) && rec.Code == http.StatusOK {
			body = page(header, body, r)
		}
		for key, values := range header {
			w.Header()[key] = values
		}
		if r.Method != http.MethodHead {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	})
}

// page returns the requested page of an index that lists referrers, and sets the link to the next
// page in header.
func page(header http.Header, body []byte, r *http.Request) []byte {
	var index struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(body, &index) != nil {
		return body
	}
	// Sort the list by content, so that a new referrer can be on any page.
	slices.SortFunc(index.Manifests, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
	at, _ := strconv.Atoi(r.URL.Query().Get("at"))
	rest := index.Manifests[min(at, len(index.Manifests)):]
	index.Manifests = append([]json.RawMessage{}, rest[:min(2, len(rest))]...)
	if len(rest) > 2 {
		header.Set("Link", fmt.Sprintf("<%s?at=%d>; rel=%q", r.URL.Path, at+2, "next"))
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return body
	}
	return raw
}

// TestPagesAndParametersChangeNoResult checks that a newer denial counts even if it is on a later
// page of the referrers.
func TestPagesAndParametersChangeNoResult(t *testing.T) {
	for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
		t.Run(form.String(), func(t *testing.T) {
			server := httptest.NewServer(paging(ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0)))))
			t.Cleanup(server.Close)
			w := newWorld(t)
			img, tag := w.having("linux/amd64", oldSSL), mustTag(t, strings.TrimPrefix(server.URL, "http://")+"/app:1")
			in := func(o *Options) { o.Format = form }
			w.parse("version: 1\nrules: [{name: all, effect: warn}]\n")
			pass := w.approve(img)
			if _, err := w.promoter(in).Promote(t.Context(), pass, tag); err != nil {
				t.Fatal(err)
			}
			if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
				t.Error(err)
			}
			basis := Basis{Repository: pass.Input().Image.Repository, Policy: w.policy.Digest, PolicyName: w.policy.Title(), Database: database.Info().Digest, Tool: tool}
			if _, done, err := w.promoter(in).Promoted(t.Context(), pass.Image().Digest, basis, nil, tag); err != nil || !done {
				t.Errorf("promoted again: %v, %v", done, err)
			}
			denial := w.letThrough(img, asked())
			if _, err := w.promoter(in).Promote(t.Context(), denial, tag); err != nil {
				t.Fatal(err)
			}
			_, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
			w.refused("after the denial", err, "is FAILED")
			if _, done, err := w.promoter(in).Promoted(t.Context(), pass.Image().Digest, basis, nil, tag); err != nil || done {
				t.Errorf("promote says that there is nothing to do, and verify refuses: %v, %v", done, err)
			}
		})
	}
}

// TestRefusedWriteConverges checks that promoting again completes a promotion after a refused
// write. It refuses each write in turn, once.
func TestRefusedWriteConverges(t *testing.T) {
	for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
		t.Run(form.String(), func(t *testing.T) {
			w := newWorld(t)
			a := w.approve(w.image("x"))
			in := func(o *Options) { o.Format, o.Parallel = form, 1 }
			for n := int64(0); ; n++ {
				tag := w.tag(fmt.Sprintf("app-%d:1", n))
				w.approved.SetHook(lab.When(lab.IsWrite, lab.After(n, lab.Times(1, lab.Fail(http.StatusForbidden)))))
				_, err := w.promoter(in).Promote(t.Context(), a, tag)
				w.approved.SetHook(nil)
				if err == nil {
					if n < 10 {
						t.Fatalf("the promotion has only %d writes", n)
					}
					return
				}
				w.absent(tag)
				if _, err := w.promoter(in).Promote(t.Context(), a, tag); err != nil {
					t.Errorf("after write %d was refused: %v", n, err)
				}
				if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err != nil {
					t.Errorf("after write %d was refused: %v", n, err)
				}
			}
		})
	}
}
