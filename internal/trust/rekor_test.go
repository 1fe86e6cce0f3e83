package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
)

// rekorV1 is a test log. It implements the part of Rekor's API version 1 that the tests need, and
// signs every entry: https://github.com/sigstore/rekor/blob/main/openapi.yaml
type rekorV1 struct {
	t    *testing.T
	ca   *ca.VirtualSigstore
	cert *x509.Certificate

	mu    sync.Mutex
	calls int // number of submitted entries, protected by mu
	// answer may respond instead of the log. It returns true if it has responded. Nil means that
	// the log always responds.
	answer func(call int, w http.ResponseWriter, entry map[string]any) bool
}

// count returns the number of entries that were submitted.
func (r *rekorV1) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

const entryID = "24296fb24b8ad77a0000000000000000000000000000000000000000000000000000000000000000"

// start starts the log as an HTTP server. The server also returns the last entry if it is requested
// again.
func (r *rekorV1) start() *httptest.Server {
	var logged []byte
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/log/entries", func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls++
		entry := r.entry(req)
		w.Header().Set("Content-Type", "application/json")
		logged, _ = json.Marshal(map[string]any{entryID: entry})
		if r.answer != nil && r.answer(r.calls, w, entry) {
			logged, _ = json.Marshal(map[string]any{entryID: entry})
			return
		}
		w.Header().Set("ETag", entryID)
		w.Header().Set("Location", "/api/v1/log/entries/"+entryID)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(logged)
	})
	mux.HandleFunc("GET /api/v1/log/entries/"+entryID, func(w http.ResponseWriter, _ *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(logged)
	})
	server := httptest.NewServer(mux)
	r.t.Cleanup(server.Close)
	return server
}

// entry returns the log entry for the envelope in a request.
func (r *rekorV1) entry(req *http.Request) map[string]any {
	var in struct {
		Spec struct {
			ProposedContent struct {
				Envelope string `json:"envelope"`
			} `json:"proposedContent"`
		} `json:"spec"`
	}
	var env dsse.Envelope
	if err := errors.Join(json.NewDecoder(req.Body).Decode(&in), json.Unmarshal([]byte(in.Spec.ProposedContent.Envelope), &env)); err != nil {
		r.t.Error(err)
		return nil
	}
	sig, err := base64.StdEncoding.DecodeString(env.Signatures[0].Sig)
	if err != nil {
		r.t.Error(err)
	}
	logged, err := r.ca.GenerateTlogEntry(r.cert, &env, sig, time.Now().Add(5*time.Minute).Unix(), true)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	e := logged.TransparencyLogEntry()
	proof := e.GetInclusionProof()
	body, id := base64.StdEncoding.EncodeToString(e.GetCanonicalizedBody()), hex.EncodeToString(e.GetLogId().GetKeyId())
	promise, err := r.ca.RekorSignPayload(tlog.RekorPayload{Body: body, IntegratedTime: e.GetIntegratedTime(), LogIndex: e.GetLogIndex(), LogID: id})
	if err != nil {
		r.t.Error(err)
	}
	return map[string]any{
		"body": body, "integratedTime": e.GetIntegratedTime(), "logID": id, "logIndex": e.GetLogIndex(),
		"verification": map[string]any{
			"signedEntryTimestamp": base64.StdEncoding.EncodeToString(promise),
			"inclusionProof": map[string]any{"checkpoint": proof.GetCheckpoint().GetEnvelope(), "hashes": []string{}, "logIndex": proof.GetLogIndex(),
				"rootHash": hex.EncodeToString(proof.GetRootHash()), "treeSize": proof.GetTreeSize()},
		},
	}
}

// withoutCT is a test Sigstore without a certificate transparency log.
type withoutCT struct {
	root.BaseTrustedMaterial
	*ca.VirtualSigstore
}

func (withoutCT) CTLogs() map[string]*root.TransparencyLog { return nil }

func (w withoutCT) PublicKeyVerifier(id string) (root.TimeConstrainedVerifier, error) {
	return w.BaseTrustedMaterial.PublicKeyVerifier(id)
}

func (w withoutCT) TimestampingAuthorities() []root.TimestampingAuthority {
	return w.VirtualSigstore.TimestampingAuthorities()
}

func (w withoutCT) FulcioCertificateAuthorities() []root.CertificateAuthority {
	return w.VirtualSigstore.FulcioCertificateAuthorities()
}

func (w withoutCT) RekorLogs() map[string]*root.TransparencyLog {
	return w.VirtualSigstore.RekorLogs()
}

// identitySigner returns a signer for an identity, with a certificate and a test log. If answer is
// not nil, it may respond instead of the log.
func identitySigner(t *testing.T, answer func(call int, w http.ResponseWriter, entry map[string]any) bool) (*Signer, *rekorV1) {
	t.Helper()
	virtual, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	cert, private, err := virtual.GenerateLeafCert("releases@example.com", "https://issuer.example")
	if err != nil {
		t.Fatal(err)
	}
	key, err := asKey(private.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	rekor := &rekorV1{t: t, ca: virtual, cert: cert, answer: answer}
	trusted := &Root{withoutCT{VirtualSigstore: virtual}}
	return &Signer{
		session: session{key, cert},
		services: Services{Fulcio: "https://fulcio.invalid", Logs: []Log{{rekor.start().URL, 1}}, Root: trusted,
			Now: func() time.Time { return cert.NotBefore }, Patience: 5 * time.Second},
		trust: Trust{Root: trusted, Identities: []Identity{{Issuer: "https://issuer.example", Subject: "releases@example.com"}}},
	}, rekor
}

// conflict is an answer for rekorV1: it responds with the status for an entry that the log already
// has.
func conflict(_ int, w http.ResponseWriter, _ map[string]any) bool {
	w.Header().Set("Location", "/api/v1/log/entries/"+entryID)
	w.WriteHeader(http.StatusConflict)
	_, err := fmt.Fprint(w, `{"code":409,"message":"an equivalent entry already exists"}`)
	return err == nil
}

func TestExistingLogEntryIsNotAFailure(t *testing.T) {
	s, rekor := identitySigner(t, conflict)
	env := attest(t, s, "x", "{}", digestOf("a"))
	if _, by, err := s.Trust().VerifyEnvelope(env, digestOf("a")); err != nil || by.Subject != "releases@example.com" || by.At.IsZero() {
		t.Errorf("%+v, %v", by, err)
	}
	if rekor.count() != 1 {
		t.Errorf("%d calls", rekor.count())
	}
}

// TestLogEntryForAnotherSignatureIsRefused checks that an existing log entry is accepted only if it
// is for the same signature and in a trusted log.
func TestLogEntryForAnotherSignatureIsRefused(t *testing.T) {
	about := Statement{PredicateType: "x", Predicate: json.RawMessage("{}"), Subjects: []Subject{{Digest: digestOf("a")}}}
	earlier := map[string]any{}
	keep := func(call int, w http.ResponseWriter, entry map[string]any) bool {
		if len(earlier) > 0 {
			maps.Copy(entry, earlier)
			return conflict(call, w, entry)
		}
		maps.Copy(earlier, entry)
		return false
	}
	same, _ := identitySigner(t, keep)
	attest(t, same, "x", "{}", digestOf("a"))
	if env, err := Attest(t.Context(), same, Both, about); err == nil {
		t.Errorf("an entry of an earlier signature is accepted: %s", env)
	}
	another, _ := identitySigner(t, keep)
	if env, err := Attest(t.Context(), another, Both, about); err == nil {
		t.Errorf("an entry of another log is accepted: %s", env)
	}
}

// TestIncompleteAnswerDoesNotPanic checks that a response of the log with missing parts is an
// error. sigstore-go panics on such a response.
func TestIncompleteAnswerDoesNotPanic(t *testing.T) {
	for what, body := range map[string]string{"nothing": `{}`, "no entry": `{"` + entryID + `":{}}`, "null": `null`, "a list": `[]`} {
		s, _ := identitySigner(t, func(_ int, w http.ResponseWriter, _ map[string]any) bool {
			w.Header().Set("ETag", entryID)
			w.WriteHeader(http.StatusCreated)
			_, err := fmt.Fprint(w, body)
			return err == nil
		})
		var refused *LogError
		if env, err := Attest(t.Context(), s, Both, Statement{PredicateType: "x", Predicate: json.RawMessage("{}"), Subjects: []Subject{{Digest: digestOf("a")}}}); !errors.As(err, &refused) {
			t.Errorf("%s: %s, %v", what, env, err)
		}
	}
}

func TestUnavailableLogIsRetried(t *testing.T) {
	s, rekor := identitySigner(t, func(call int, w http.ResponseWriter, _ map[string]any) bool {
		if call > 2 {
			return false
		}
		w.WriteHeader([]int{http.StatusBadGateway, http.StatusTooManyRequests}[call-1])
		return true
	})
	attest(t, s, "x", "{}", digestOf("a"))
	if rekor.count() != 3 {
		t.Errorf("%d calls", rekor.count())
	}
	s, rekor = identitySigner(t, func(_ int, w http.ResponseWriter, _ map[string]any) bool {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return true
	})
	var refused *LogError
	_, err := Attest(t.Context(), s, Both, Statement{PredicateType: "x", Predicate: json.RawMessage("{}"), Subjects: []Subject{{Digest: digestOf("a")}}})
	if !errors.As(err, &refused) || rekor.count() != 1 {
		t.Errorf("%v after %d calls", err, rekor.count())
	}
}

// TestLegacyFormOfAnIdentityIsVerified checks that a signature by an identity in the legacy format
// verifies only if its annotations have both the certificate and the promise of the log.
func TestLegacyFormOfAnIdentityIsVerified(t *testing.T) {
	s, _ := identitySigner(t, nil)
	digest := digestOf("a")
	env := attest(t, s, "x", "{}", digest)
	layer, err := env.Layer("x")
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := layer.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	bundled, err := env.AsBundle("")
	if err != nil {
		t.Fatal(err)
	}
	for f, got := range map[Format]Envelope{Legacy: legacy, Bundle: bundled} {
		if _, by, err := s.Trust().VerifyEnvelope(got, digest); err != nil || by.Issuer != "https://issuer.example" {
			t.Errorf("%s: %+v, %v", f, by, err)
		}
		if _, by, err := newSigner(t).Trust().VerifyEnvelope(got, digest); !errors.Is(err, errNoIdentity) {
			t.Errorf("%s: %+v, %v", f, by, err)
		}
		if _, by, err := (Trust{Root: s.trust.Root}).VerifyEnvelope(got, digest); !errors.Is(err, errNoTrust) {
			t.Errorf("%s: %+v, %v", f, by, err)
		}
	}
	annotations := layer.Annotations
	for _, without := range []string{certificateAnnotation, logAnnotation} {
		changed := map[string]string{}
		for k, v := range annotations {
			if k != without {
				changed[k] = v
			}
		}
		got, err := (Layer{Body: layer.Body, Annotations: changed}).Envelope()
		if err == nil {
			_, _, err = s.Trust().VerifyEnvelope(got, digest)
		}
		if err == nil {
			t.Errorf("without %s: accepted", without)
		}
	}
	for what, noise := range map[string]string{certificateAnnotation: "certificate", logAnnotation: `{"Payload":{"body":"!"}}`, timestampAnnotation: "{"} {
		changed := map[string]string{certificateAnnotation: annotations[certificateAnnotation], what: noise}
		if got, err := (Layer{Body: layer.Body, Annotations: changed}).Envelope(); err == nil {
			t.Errorf("%s of noise: %s", what, got)
		}
	}
}

func TestServicesNeedATrustedRoot(t *testing.T) {
	key := newSigner(t).key
	trusted := &Root{withoutCT{}}
	for what, services := range map[string]Services{
		"no root":      {Logs: []Log{{"https://log.invalid", 2}}},
		"no root, TSA": {TimestampAuthorities: []string{"https://tsa.invalid"}},
		"no version":   {Logs: []Log{{"https://log.invalid", 0}}, Root: trusted},
		"future":       {Logs: []Log{{"https://log.invalid", 3}}, Root: trusted},
		"no patience":  {Patience: -1},
	} {
		if _, err := NewSigner(key, services); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	never := func() time.Time { return time.Time{} }
	for what, services := range map[string]Services{
		"nothing":   {},
		"no Fulcio": {Logs: []Log{{"https://log.invalid", 2}}, Root: trusted, Now: never},
		"no log":    {Fulcio: "https://fulcio.invalid", Root: trusted, Now: never},
		"no clock":  {Fulcio: "https://fulcio.invalid", Logs: []Log{{"https://log.invalid", 2}}, Root: trusted},
	} {
		if _, err := NewKeyless(t.Context(), FileToken("/nonexistent"), services); err == nil || strings.Contains(err.Error(), "nonexistent") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSigningConfigSelectsTheServices(t *testing.T) {
	const config = `{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":[{"url":"https://old.example","majorApiVersion":1,"validFor":{"start":"2020-01-01T00:00:00Z","end":"2021-01-01T00:00:00Z"},"operator":"a"},
			{"url":"https://fulcio.example","majorApiVersion":1,"validFor":{"start":"2021-01-01T00:00:00Z"},"operator":"a"}],
		"rekorTlogUrls":[{"url":"https://log1.example","majorApiVersion":1,"validFor":{"start":"2021-01-01T00:00:00Z"},"operator":"a"},
			{"url":"https://log2.example","majorApiVersion":2,"validFor":{"start":"2022-01-01T00:00:00Z"},"operator":"a"}],
		"rekorTlogConfig":{"selector":"ANY"},
		"tsaUrls":[{"url":"https://tsa.example/api/v1/timestamp","majorApiVersion":1,"validFor":{"start":"2021-01-01T00:00:00Z"},"operator":"a"}],
		"tsaConfig":{"selector":"ANY"}}`
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	got, err := LoadSigningConfig([]byte(config), now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Fulcio != "https://fulcio.example" || fmt.Sprint(got.Logs) != "[{https://log2.example 2}]" ||
		fmt.Sprint(got.TimestampAuthorities) != "[https://tsa.example/api/v1/timestamp]" {
		t.Errorf("%+v", got)
	}
	if got, err := LoadSigningConfig([]byte(config), now.AddDate(-5, 0, 0)); err == nil {
		t.Errorf("before everything: %+v", got)
	}
	for _, bad := range []string{"", "{", `{"mediaType":"x"}`, `{"unknown":1}`} {
		if got, err := LoadSigningConfig([]byte(bad), now); err == nil {
			t.Errorf("%s: %+v", bad, got)
		}
		if _, err := LoadRoot([]byte(bad)); err == nil {
			t.Errorf("root %s: accepted", bad)
		}
	}
}

// TestHangingServiceEndsWithTheContext checks that a request to a service that does not respond
// ends when the caller's context ends, and at the latest after sigstore-go's own timeout.
func TestHangingServiceEndsWithTheContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	impatient := &http.Client{Timeout: 10 * time.Millisecond, Transport: Services{}.transport(ctx)}
	if resp, err := impatient.Get(server.URL); err == nil {
		t.Errorf("%s", resp.Status)
	}
	patient := &http.Client{Transport: Services{}.transport(ctx)}
	cancel()
	if _, err := patient.Get(server.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
