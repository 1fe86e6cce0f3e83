package promote

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/trust"
)

// pausing is a transport that pauses before request number at until resume is closed.
type pausing struct {
	at     int64
	what   string // method and path of the paused request
	seen   atomic.Int64
	paused chan struct{}
	resume chan struct{}
}

func (p *pausing) RoundTrip(req *http.Request) (*http.Response, error) {
	// Do not count requests to /v2/: go-containerregistry pings two addresses at once and does not
	// wait for the slower response.
	if req.URL.Path != "/v2/" && p.seen.Add(1) == p.at {
		p.what = req.Method + " " + req.URL.Path
		close(p.paused)
		<-p.resume
	}
	return http.DefaultTransport.RoundTrip(req)
}

// hosts returns the addresses of two registries: one without the referrers API and one with it.
func (w *world) hosts() map[string]string {
	w.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0))))
	w.Cleanup(server.Close)
	return map[string]string{"fallback tag": w.approved.Host(), "referrers API": strings.TrimPrefix(server.URL, "http://")}
}

// repositories counts the repositories that interleave has used. Each attempt uses a new
// repository.
var repositories atomic.Int64

// interleave promotes the first approval, pauses it before one of its requests, promotes the second
// approval, and resumes the first one. It repeats this with the pause before every 23rd request, or
// before every request if IMAGEGATE_TEST_INTERLEAVE is "all".
func (w *world) interleave(host string, form trust.Format, first, second *gate.Approval, check func(tag name.Tag, at int64, firstErr error)) {
	w.Helper()
	forms := func(o *Options) { o.Format = form }
	step := int64(23)
	if os.Getenv("IMAGEGATE_TEST_INTERLEAVE") == "all" {
		step = 1
	}
	for at := 1 + time.Now().UnixNano()%step; ; at += step {
		tag := mustTag(w.T, fmt.Sprintf("%s/app-%d:1", host, repositories.Add(1)))
		pause := &pausing{at: at, paused: make(chan struct{}), resume: make(chan struct{})}
		ended := make(chan error, 1)
		go func() {
			_, err := w.promoter(forms, func(o *Options) { o.Transport, o.Parallel = pause, 1 }).Promote(context.Background(), first, tag)
			ended <- err
		}()
		select {
		case <-pause.paused:
		case err := <-ended: // the promotion ended before request number at
			if err != nil {
				w.Error(err)
			}
			return
		}
		_, err := w.promoter(forms, func(o *Options) {
			if w.second != nil {
				o.Signer = w.second
			}
		}).Promote(context.Background(), second, tag)
		close(pause.resume)
		if err != nil {
			w.Errorf("the second, while the first is at request %d, %s: %v\n%s", at, pause.what, err, w.lastRequests(tag))
		}
		check(tag, at, <-ended)
	}
}

// lastRequests returns the requests about a repository, for error messages.
func (w *world) lastRequests(tag name.Tag) string {
	var out []string
	for _, r := range w.approved.Requests() {
		if strings.Contains(r.Path, tag.RepositoryStr()+"/") {
			out = append(out, r.String())
		}
	}
	return strings.Join(out, "\n")
}

// TestOlderDecisionNeverReplacesANewerOne checks that an older decision never replaces a newer one.
// It runs the newer promotion before each request of the older one.
func TestOlderDecisionNeverReplacesANewerOne(t *testing.T) {
	w := newWorld(t)
	img := w.having("linux/amd64", oldSSL)
	pass := func() *gate.Approval {
		w.parse("version: 1\nrules: [{name: all, effect: warn}]\n")
		return w.approve(img)
	}
	olderPass := pass()
	denial := w.letThrough(img, asked())
	newerPass := pass()
	for where, host := range w.hosts() {
		for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
			t.Run(fmt.Sprintf("%s, %s, older pass", where, form), func(t *testing.T) {
				w := &world{T: t, staging: w.staging, approved: w.approved, signer: w.signer, policy: w.policy}
				w.interleave(host, form, olderPass, denial, func(tag name.Tag, at int64, _ error) {
					if _, err := w.verify(tag, w.trusting(w.signer.PublicKey())); err == nil {
						t.Errorf("stopped at request %d: the newer denial is gone", at)
					}
				})
			})
			t.Run(fmt.Sprintf("%s, %s, older denial", where, form), func(t *testing.T) {
				w := &world{T: t, staging: w.staging, approved: w.approved, signer: w.signer, policy: w.policy}
				w.interleave(host, form, denial, newerPass, func(tag name.Tag, at int64, _ error) {
					record, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
					if err != nil || record.Decision.Result != resultPassed {
						t.Errorf("stopped at request %d: the newer pass is gone: %v", at, err)
					}
				})
			})
			t.Run(fmt.Sprintf("%s, %s, two keys", where, form), func(t *testing.T) {
				w := &world{T: t, staging: w.staging, approved: w.approved, signer: w.signer, policy: w.policy, second: newSigner(t)}
				w.interleave(host, form, olderPass, newerPass, func(tag name.Tag, at int64, firstErr error) {
					for _, key := range []crypto.PublicKey{w.signer.PublicKey(), w.second.PublicKey()} {
						if _, err := w.verify(tag, w.trusting(key)); err != nil || firstErr != nil {
							t.Errorf("stopped at request %d: %v, %v", at, err, firstErr)
						}
					}
				})
			})
			t.Run(fmt.Sprintf("%s, %s, both pass", where, form), func(t *testing.T) {
				w := &world{T: t, staging: w.staging, approved: w.approved, signer: w.signer, policy: w.policy}
				_, newer := newerPass.Times()
				w.interleave(host, form, olderPass, newerPass, func(tag name.Tag, at int64, firstErr error) {
					record, err := w.verify(tag, w.trusting(w.signer.PublicKey()))
					if err != nil || !record.Decision.Time.Equal(newer) {
						t.Errorf("stopped at request %d: %v", at, err)
					}
					var sealing *SigningError
					if firstErr != nil && !errors.As(firstErr, &sealing) {
						t.Errorf("stopped at request %d: the older run ends with %v", at, firstErr)
					}
				})
			})
		}
	}
}
