package attach

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imagegate/imagegate/internal/trust"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/internal/lab"
)

// attach stores envelopes signed by s as attachments of the digest d.
func attach(t testing.TB, s *trust.Signer, repo name.Repository, d v1.Hash, envelopes ...trust.Envelope) error {
	t.Helper()
	return store(t, s, trust.Legacy, repo, d, Attachments{Envelopes: envelopes})
}

func read(t testing.TB, repo name.Repository, d v1.Hash) Attachments {
	t.Helper()
	got, err := Read(t.Context(), trust.Both, repo.Digest(d.String()))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// predicatesBy returns the predicates of all statements of one type in envelopes that s signed.
func predicatesBy(s *trust.Signer, kind string, envelopes []trust.Envelope, d v1.Hash) []string {
	var out []string
	for _, e := range envelopes {
		if st, _, err := (trust.Trust{Keys: []crypto.PublicKey{s.PublicKey()}}).VerifyEnvelope(e, d); err == nil && st.PredicateType == kind {
			out = append(out, string(st.Predicate))
		}
	}
	return out
}

func TestAttachmentsByOthersAreKept(t *testing.T) {
	s, other, repo, d := newSigner(t), newSigner(t), newRepo(t, "app"), digestOf("a")
	put := func(by *trust.Signer, predicate string) {
		t.Helper()
		a := Attachments{
			Signatures: []trust.Signature{signLegacy(t, by, repo, d)},
			Envelopes:  []trust.Envelope{attest(t, by, "x", predicate, d), attest(t, by, "y", "{}", d)},
		}
		if err := store(t, by, trust.Legacy, repo, d, a); err != nil {
			t.Fatal(err)
		}
	}
	put(other, `{"n":1}`)
	for _, predicate := range []string{`{"n":1}`, `{"n":1}`, `{"n":2}`} {
		put(s, predicate)
	}
	got := read(t, repo, d)
	if len(got.Signatures) != 2 || len(got.Envelopes) != 4 {
		t.Errorf("%d signatures and %d envelopes", len(got.Signatures), len(got.Envelopes))
	}
	// Both signers sign the same document, so both signatures refer to the same blob. Each
	// signature must still verify.
	for _, by := range []*trust.Signer{s, other} {
		ok := 0
		for _, sig := range got.Signatures {
			if _, err := (trust.Trust{Keys: []crypto.PublicKey{by.PublicKey()}}).VerifySignature(sig, repo, d); err == nil {
				ok++
			}
		}
		if ok != 1 {
			t.Errorf("%d signatures by one key", ok)
		}
	}
	mine, theirs := predicatesBy(s, "x", got.Envelopes, d), predicatesBy(other, "x", got.Envelopes, d)
	if fmt.Sprint(mine, theirs) != `[{"n":2}] [{"n":1}]` {
		t.Errorf("mine %v, theirs %v", mine, theirs)
	}
}

func TestRepeatingWritesNothing(t *testing.T) {
	r := newRegistry(t)
	s, repo, d := newSigner(t), repoIn(t, r, "app"), digestOf("a")
	for range 2 {
		r.ResetRequests()
		a := Attachments{Signatures: []trust.Signature{signLegacy(t, s, repo, d)}, Envelopes: []trust.Envelope{attest(t, s, "x", "{}", d)}}
		if err := store(t, s, trust.Legacy, repo, d, a); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Writes(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestStatementsAboutOtherSubjectsAreNotReplaced checks that an index keeps the SBOMs of all its
// platforms, although they have the same type.
func TestStatementsAboutOtherSubjectsAreNotReplaced(t *testing.T) {
	s, repo, index := newSigner(t), newRepo(t, "app"), digestOf("f")
	amd, arm := digestOf("a"), digestOf("b")
	for _, e := range []trust.Envelope{
		attest(t, s, "x", `{"for":"amd"}`, amd, index), attest(t, s, "x", `{"for":"arm"}`, arm, index),
		attest(t, s, "x", `{"for":"amd again"}`, amd, digestOf("e"), index), // The platform amd is also part of a second index.
	} {
		if err := attach(t, s, repo, index, e); err != nil {
			t.Fatal(err)
		}
	}
	got := predicatesBy(s, "x", read(t, repo, index).Envelopes, index)
	if fmt.Sprint(got) != `[{"for":"arm"} {"for":"amd again"}]` {
		t.Errorf("%v", got)
	}
}

func TestLastOfTwoStatementsIsKept(t *testing.T) {
	s, repo, d := newSigner(t), newRepo(t, "app"), digestOf("a")
	if err := attach(t, s, repo, d, attest(t, s, "x", `{"n":1}`, d), attest(t, s, "x", `{"n":2}`, d)); err != nil {
		t.Fatal(err)
	}
	if got := predicatesBy(s, "x", read(t, repo, d).Envelopes, d); fmt.Sprint(got) != `[{"n":2}]` {
		t.Errorf("%v", got)
	}
}

func TestAttachmentsByAnotherKeyAreRefused(t *testing.T) {
	r := newRegistry(t)
	s, other, repo, d := newSigner(t), newSigner(t), repoIn(t, r, "app"), digestOf("a")
	for what, a := range map[string]Attachments{
		"signature": {Signatures: []trust.Signature{signLegacy(t, s, repo, d), signLegacy(t, other, repo, d)}},
		"envelope":  {Signatures: []trust.Signature{signLegacy(t, s, repo, d)}, Envelopes: []trust.Envelope{attest(t, other, "x", "{}", d)}},
		"garbage":   {Signatures: []trust.Signature{signLegacy(t, s, repo, d)}, Envelopes: []trust.Envelope{trust.Envelope("{}")}},
	} {
		if err := store(t, s, trust.Legacy, repo, d, a); err == nil {
			t.Errorf("%s: attached", what)
		}
	}
	if got := r.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	repo, d := newRepo(t, "app"), digestOf("a")
	const writers = 8
	var group sync.WaitGroup
	var locks WriteLocks
	for i := range writers {
		s := newSigner(t)
		group.Go(func() {
			env := attest(t, s, fmt.Sprintf("type-%d", i), "{}", d)
			if err := prepareAndStore(t.Context(), only(s), trust.Legacy, repo, d, Attachments{Envelopes: []trust.Envelope{env}}, Copies{}, Options{Locks: &locks}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got, err := Read(t.Context(), trust.Both, repo.Digest(d.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Envelopes) != writers {
		t.Errorf("%d of %d envelopes are there", len(got.Envelopes), writers)
	}
}

func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	s, repo, d := newSigner(t), newRepo(t, "app"), digestOf("a")
	var locks WriteLocks
	done, err := locks.lock(t.Context(), &tagStore{tag: attestationTag(repo, d)})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	ctx, cancel := context.WithCancel(t.Context())
	env := attest(t, s, "x", "{}", d)
	cancel()
	err = prepareAndStore(ctx, only(s), trust.Legacy, repo, d, Attachments{Envelopes: []trust.Envelope{env}}, Copies{}, Options{Locks: &locks})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// overwrite simulates another writer. Before each of the first n reads that follow a write, it
// replaces the attachment list with an unrelated attachment.
func overwrite(t *testing.T, r *lab.Registry, repo name.Repository, d v1.Hash, n int64) {
	stray := rawAttachment(t, []byte("{}"), trust.EnvelopeLayer, nil)
	var written atomic.Bool
	var times atomic.Int64
	r.SetHook(func(_ http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, ".att") || req.Header.Get("User-Agent") == "another" {
			return false
		}
		switch {
		case req.Method == http.MethodPut:
			written.Store(true)
		case req.Method == http.MethodGet && written.Swap(false) && times.Add(1) <= n:
			if err := write(attestationTag(repo, d), []attachment{stray}, []remote.Option{remote.WithTransport(asAnother{})}); err != nil {
				t.Error(err)
			}
		}
		return false
	})
}

// asAnother is a transport that marks requests as sent by another process, so that overwrite does
// not react to them.
type asAnother struct{}

func (asAnother) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", "another")
	return http.DefaultTransport.RoundTrip(req)
}

func TestOverwrittenAttachmentIsWrittenAgain(t *testing.T) {
	r := newRegistry(t)
	s, repo, d := newSigner(t), repoIn(t, r, "app"), digestOf("a")
	overwrite(t, r, repo, d, 2)
	if err := attach(t, s, repo, d, attest(t, s, "x", "{}", d)); err != nil {
		t.Fatal(err)
	}
	got := read(t, repo, d)
	if len(got.Envelopes) != 2 || len(predicatesBy(s, "x", got.Envelopes, d)) != 1 {
		t.Errorf("%d envelopes", len(got.Envelopes))
	}
}

func TestAttachmentThatIsAlwaysOverwrittenIsAnError(t *testing.T) {
	r := newRegistry(t)
	s, repo, d := newSigner(t), repoIn(t, r, "app"), digestOf("a")
	overwrite(t, r, repo, d, 1<<30)
	if err := attach(t, s, repo, d, attest(t, s, "x", "{}", d)); !errors.Is(err, errOverwritten) {
		t.Errorf("%v", err)
	}
}

// TestUnreadableTagIsNotEmpty checks that an attachment list in a tag is not overwritten if it
// cannot be read.
func TestUnreadableTagIsNotEmpty(t *testing.T) {
	r := newRegistry(t)
	s, repo, d := newSigner(t), repoIn(t, r, "app"), digestOf("a")
	env := attest(t, s, "x", "{}", d)
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusGone, http.StatusNotImplemented} {
		r.SetHook(lab.When(func(req *http.Request) bool {
			return !lab.IsWrite(req) && (lab.IsManifest(req) || strings.HasSuffix(req.URL.Path, "/tags/list"))
		}, lab.Fail(status)))
		if err := attach(t, s, repo, d, env); err == nil {
			t.Errorf("%d: attached", status)
		}
		if _, err := Read(t.Context(), trust.Both, repo.Digest(d.String())); err == nil {
			t.Errorf("%d: read", status)
		}
	}
	if got := r.Writes(); len(got) != 0 {
		t.Errorf("writes: %v", got)
	}
}

// TestTagWithOtherContentIsNotEmpty checks that a tag with a manifest of another kind is not
// overwritten as if it were an empty attachment list. The most important kind is an index, which
// go-containerregistry would resolve to one of its images.
func TestTagWithOtherContentIsNotEmpty(t *testing.T) {
	s := newSigner(t)
	const child = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,"platform":{"os":"linux","architecture":"amd64"},` +
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}`
	for what, c := range map[string]struct {
		mediaType types.MediaType
		body      string
	}{
		"index":                         {types.OCIImageIndex, `{"schemaVersion":2,"manifests":[` + child + `]}`},
		"index with a config":           {types.OCIImageIndex, `{"schemaVersion":2,"config":` + child + `,"manifests":[` + child + `]}`},
		"index that is called an image": {types.OCIManifestSchema1, `{"schemaVersion":2,"manifests":[` + child + `]}`},
		"image that says it is an index": {types.OCIManifestSchema1,
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":` + child + `,"layers":[]}`},
		"no manifest at all": {types.OCIManifestSchema1, `{}`},
		"not JSON":           {types.OCIManifestSchema1, `manifest`},
		"a page":             {"text/html", `<html>`},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRegistry(t)
			repo, d := repoIn(t, r, "app"), digestOf("a")
			r.SetHook(func(w http.ResponseWriter, req *http.Request) bool {
				if lab.IsWrite(req) || !lab.IsManifest(req) || strings.HasSuffix(req.URL.Path, ".sig") {
					return false
				}
				mediaType, body := c.mediaType, c.body
				if !strings.HasSuffix(req.URL.Path, ".att") {
					mediaType, body = types.OCIManifestSchema1, "{}" // the response to a request for the image that the index lists
				}
				w.Header().Set("Content-Type", string(mediaType))
				_, err := w.Write([]byte(body))
				return err == nil
			})
			if got, err := Read(t.Context(), trust.Both, repo.Digest(d.String())); err == nil {
				t.Errorf("read: %v", got)
			}
			if err := attach(t, s, repo, d, attest(t, s, "x", "{}", d)); err == nil {
				t.Error("attached")
			}
			if got := r.Writes(); len(got) != 0 {
				t.Errorf("writes: %v", got)
			}
		})
	}
}

func TestGarbageIsNotAccepted(t *testing.T) {
	s, repo, d := newSigner(t), newRepo(t, "app"), digestOf("a")
	img := v1.Image(empty.Image)
	var err error
	for mediaType, body := range map[types.MediaType]string{trust.EnvelopeLayer: "not JSON", "text/plain": "something else", types.OCILayer: "x"} {
		if img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer([]byte(body), mediaType), MediaType: mediaType}); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.Write(attestationTag(repo, d), img); err != nil {
		t.Fatal(err)
	}
	env := attest(t, s, "x", "{}", d)
	if err := attach(t, s, repo, d, env); err != nil {
		t.Fatal(err)
	}
	got := read(t, repo, d)
	if accepted := predicatesBy(s, "x", got.Envelopes, d); len(accepted) != 1 || len(got.Envelopes) != 2 {
		t.Errorf("%d envelopes, accepted %v", len(got.Envelopes), accepted)
	}
	left, err := remote.Image(attestationTag(repo, d))
	if err != nil {
		t.Fatal(err)
	}
	if layers, err := left.Layers(); err != nil || len(layers) != 4 {
		t.Errorf("%d attachments are left, %v", len(layers), err)
	}
}

// TestHostileAttachmentsAreNotRead checks that attachments are refused if they are too large,
// endless, too many, or do not match their digest.
func TestHostileAttachmentsAreNotRead(t *testing.T) {
	isBlobRead := func(req *http.Request) bool { return lab.IsBlob(req) && req.Method == http.MethodGet }
	isListRead := func(req *http.Request) bool { return lab.IsManifest(req) && req.Method == http.MethodGet }
	one := rawAttachment(t, []byte("{}"), trust.EnvelopeLayer, map[string]string{trust.PredicateAnnotation: "x"})
	large := one
	large.desc.Size = maxAttachmentSize + 1
	negative := one
	negative.desc.Size = -1
	shorter := one
	shorter.desc.Size = 1
	longer := one
	longer.desc.Size = 3
	many := make([]attachment, maxAttachments+1)
	for i := range many {
		many[i] = one
	}
	for what, c := range map[string]struct {
		attachments []attachment
		hook        lab.Hook
		unread      bool // true if the attachment must not even be requested
	}{
		"large":        {attachments: []attachment{large}, unread: true},
		"negative":     {attachments: []attachment{negative}, unread: true},
		"two sizes":    {attachments: []attachment{one, shorter}},
		"shorter":      {attachments: []attachment{shorter}},
		"longer":       {attachments: []attachment{longer}},
		"many":         {attachments: many},
		"endless":      {attachments: []attachment{one}, hook: lab.When(isBlobRead, lab.Endless())},
		"corrupt":      {attachments: []attachment{one}, hook: lab.When(isBlobRead, lab.Corrupt(0))},
		"cut":          {attachments: []attachment{one}, hook: lab.When(isBlobRead, lab.CutBody(1))},
		"gone":         {attachments: []attachment{one}, hook: lab.When(isBlobRead, lab.Fail(http.StatusNotFound))},
		"endless list": {attachments: []attachment{one}, hook: lab.When(isListRead, lab.Endless())},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRegistry(t)
			repo, d := repoIn(t, r, "app"), digestOf("a")
			putAsIs(t, attestationTag(repo, d), c.attachments)
			r.SetHook(c.hook)
			r.ResetRequests()
			if got, err := Read(t.Context(), trust.Both, repo.Digest(d.String())); err == nil || got.Envelopes != nil {
				t.Errorf("%q, %v", got.Envelopes, err)
			}
			if n := len(r.BlobReads()); c.unread && n != 0 {
				t.Errorf("%d blobs read", n)
			}
		})
	}
}

// putAsIs stores an attachment list in a tag. It leaves sizes and URLs unchanged, even if they are
// wrong. The content of each attachment is "{}".
func putAsIs(t *testing.T, tag name.Tag, attachments []attachment) {
	t.Helper()
	put(t, tag, rawAttachment(t, []byte("{}"), trust.EnvelopeLayer, nil))
	img, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	m = m.DeepCopy()
	m.Layers = nil
	for _, e := range attachments {
		m.Layers = append(m.Layers, e.desc)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(tag, manifest(raw)); err != nil {
		t.Fatal(err)
	}
}

// manifest is a raw manifest, which is pushed byte for byte.
type manifest []byte

func (m manifest) RawManifest() ([]byte, error)        { return m, nil }
func (m manifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// TestAttachmentsByOthersAreNotDownloaded checks that a write keeps attachments by other signers in
// the attachment list without downloading them, whatever their size.
func TestAttachmentsByOthersAreNotDownloaded(t *testing.T) {
	r := newRegistry(t)
	s, other, repo, d := newSigner(t), newSigner(t), repoIn(t, r, "app"), digestOf("a")
	if err := attach(t, other, repo, d, attest(t, other, "y", "{}", d)); err != nil {
		t.Fatal(err)
	}
	large := rawAttachment(t, []byte("{}"), trust.EnvelopeLayer, map[string]string{trust.PredicateAnnotation: "x"})
	large.desc.Size = maxAttachmentSize + 1
	before := read(t, repo, d)
	r.ResetRequests()
	if err := attach(t, s, repo, d, attest(t, s, "x", "{}", d)); err != nil {
		t.Fatal(err)
	}
	if got := r.BlobReads(); len(got) != 0 {
		t.Errorf("read: %v", got)
	}
	if got := read(t, repo, d); len(got.Envelopes) != 2 || string(got.Envelopes[0]) != string(before.Envelopes[0]) {
		t.Errorf("%q", got.Envelopes)
	}
	elsewhere := digestOf("b")
	putAsIs(t, attestationTag(repo, elsewhere), []attachment{large})
	if err := attach(t, s, repo, elsewhere, attest(t, s, "x", "{}", elsewhere)); err != nil {
		t.Errorf("with a large attachment: %v", err)
	}
}

// TestURLOfAnAttachmentIsNotFollowed checks that an attachment is never fetched from a URL in a
// manifest, even if the registry does not have its content.
func TestURLOfAnAttachmentIsNotFollowed(t *testing.T) {
	s, repo, d := newSigner(t), newRepo(t, "app"), digestOf("a")
	e := rawAttachment(t, []byte("{}"), trust.EnvelopeLayer, map[string]string{trust.PredicateAnnotation: "x"})
	e.desc.URLs = []string{"https://elsewhere.invalid/blob"}
	putAsIs(t, attestationTag(repo, d), []attachment{e})
	if got, err := Read(t.Context(), trust.Both, repo.Digest(d.String())); err == nil {
		t.Errorf("read: %v", got)
	}
	if err := attach(t, s, repo, d, attest(t, s, "x", "{}", d)); err == nil {
		t.Error("attached")
	}
}

// TestPlainHTTPNameIsNotMistakenForHTTPS checks that all requests use plain HTTP if the repository
// name was parsed as insecure.
func TestPlainHTTPNameIsNotMistakenForHTTPS(t *testing.T) {
	r := newRegistry(t)
	repo, err := name.NewRepository("registry.example:5000/app", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, r.Host())
	}}
	defer transport.CloseIdleConnections()
	s, d := newSigner(t), digestOf("a")
	a := Attachments{Signatures: []trust.Signature{signLegacy(t, s, repo, d)}, Envelopes: []trust.Envelope{attest(t, s, "x", "{}", d)}}
	if err := store(t, s, trust.Legacy, repo, d, a, remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	got, err := Read(t.Context(), trust.Both, repo.Digest(d.String()), remote.WithTransport(transport))
	if err != nil || len(got.Signatures) != 1 || len(got.Envelopes) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := (trust.Trust{Keys: []crypto.PublicKey{s.PublicKey()}}).VerifySignature(got.Signatures[0], repo, d); err != nil {
		t.Error(err)
	}
}

func TestNothingAttachedIsEmpty(t *testing.T) {
	if got := read(t, newRepo(t, "app"), digestOf("a")); got.Signatures != nil || got.Envelopes != nil {
		t.Errorf("%v", got)
	}
}
