package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-openapi/runtime"
	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekor "github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/imagegate/imagegate/internal/clock"
)

// LogError reports that a signature could not be recorded in a transparency log.
type LogError struct {
	URL string
	Err error
}

// Error names the log and the cause.
func (e *LogError) Error() string {
	return fmt.Sprintf("recording the signature in the transparency log %s: %v", e.URL, e.Err)
}

// Unwrap returns the cause.
func (e *LogError) Unwrap() error { return e.Err }

// errAlreadyLogged reports that the log already has this signature but does not return its entry.
var errAlreadyLogged = errors.New("the transparency log already has this signature but does not return its entry")

// signBundle signs content, gets its timestamps and log entries, and verifies the result.
func (s *Signer) signBundle(ctx context.Context, content sign.Content) (*protobundle.Bundle, error) {
	// A request that timed out may have been logged anyway, and the log then refuses to log the
	// same signature again. A new signature over the same content solves this, because most keys
	// make a different signature each time.
	const signatures = 3
	var err error
	for range signatures {
		var b *protobundle.Bundle
		if b, err = s.signBundleOnce(ctx, content); err == nil {
			return b, nil
		}
		if !errors.Is(err, errAlreadyLogged) {
			break
		}
	}
	return nil, err
}

func (s *Signer) signBundleOnce(ctx context.Context, content sign.Content) (*protobundle.Bundle, error) {
	who, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	message := content.PreAuthEncoding()
	sig, err := who.key.Sign(ctx, message)
	if err != nil {
		return nil, err
	}
	material, err := who.material()
	if err != nil {
		return nil, err
	}
	b := &protobundle.Bundle{MediaType: BundleType, VerificationMaterial: material}
	sum := sha256.Sum256(message)
	content.Bundle(b, sig, sum[:], protocommon.HashAlgorithm_SHA2_256)
	if err := s.timestamp(ctx, b, sig); err != nil {
		return nil, err
	}
	if err := s.log(ctx, b, who); err != nil {
		return nil, err
	}
	if err := s.verify(b, who, message); err != nil {
		return nil, fmt.Errorf("verifying the responses of the Sigstore services: %w", err)
	}
	return b, nil
}

func (s *Signer) timestamp(ctx context.Context, b *protobundle.Bundle, sig []byte) error {
	for _, address := range s.services.TimestampAuthorities {
		authority := sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: address, Transport: s.services.transport(ctx), Retries: 2})
		raw, err := authority.GetTimestamp(ctx, sig)
		if err != nil {
			return fmt.Errorf("requesting a timestamp from %s: %w", address, err)
		}
		data := b.VerificationMaterial.GetTimestampVerificationData()
		if data == nil {
			data = &protobundle.TimestampVerificationData{}
			b.VerificationMaterial.TimestampVerificationData = data
		}
		data.Rfc3161Timestamps = append(data.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: raw})
	}
	return nil
}

// log records the signature in each transparency log. If a log stays unavailable and the signature
// has a timestamp, the bundle gets no log entries.
func (s *Signer) log(ctx context.Context, b *protobundle.Bundle, who session) error {
	text, err := who.pem()
	if err != nil {
		return err
	}
	for _, l := range s.services.Logs {
		err := s.logTo(ctx, l, text, b)
		var unavailable *unavailableError
		if errors.As(err, &unavailable) && len(s.services.TimestampAuthorities) > 0 {
			b.VerificationMaterial.TlogEntries = nil
			return nil
		}
		if err != nil {
			return &LogError{l.URL, err}
		}
	}
	return nil
}

// firstLogBackoff is the pause before the second attempt to record a signature in a log. The pause
// doubles before each further attempt.
const firstLogBackoff = 500 * time.Millisecond

// logTo records the signature in one transparency log. If the log is unavailable, logTo retries for
// the duration of Services.Patience.
func (s *Signer) logTo(ctx context.Context, l Log, text []byte, b *protobundle.Bundle) error {
	within, cancel := context.WithTimeout(ctx, s.services.patience())
	defer cancel()
	for backoff := firstLogBackoff; ; backoff *= 2 {
		answer := &statusRecorder{base: s.services.transport(within)}
		client, err := l.client(answer)
		if err != nil {
			return err
		}
		if err = requestEntry(within, client, text, b); err == nil {
			return nil
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case answer.status == http.StatusConflict:
			return fmt.Errorf("%w: %w", errAlreadyLogged, err)
		case !answer.isUnavailable():
			return err
		}
		if clock.Sleep(within, backoff) != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &unavailableError{err}
		}
	}
}

// requestEntry requests an entry from a transparency log. sigstore-go panics if the response is
// incomplete; requestEntry returns an error instead.
func requestEntry(ctx context.Context, client sign.Transparency, text []byte, b *protobundle.Bundle) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the response of the transparency log is incomplete: %v", p)
		}
	}()
	return client.GetTransparencyLogEntry(ctx, text, b)
}

// unavailableError reports that a transparency log is unavailable. If a log refuses the request,
// the error has another type.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// statusRecorder stores the HTTP status of the last response, because the client libraries do not
// return it.
type statusRecorder struct {
	base   http.RoundTripper
	status int
}

func (a *statusRecorder) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.base.RoundTrip(r)
	a.status = 0
	if err == nil {
		a.status = resp.StatusCode
	}
	return resp, err
}

// isUnavailable reports whether a retry may help, because the log did not respond or the status is
// temporary.
func (a *statusRecorder) isUnavailable() bool {
	return a.status == 0 || a.status/100 == 5 || a.status == http.StatusRequestTimeout || a.status == http.StatusTooManyRequests
}

func (l Log) client(transport http.RoundTripper) (sign.Transparency, error) {
	address, err := url.Parse(l.URL)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: transport}
	if l.Version == 2 {
		return sign.NewRekor(&sign.RekorOptions{BaseURL: l.URL, Version: 2, ClientV2: rekorV2{client, address}}), nil
	}
	if address.Path == "" {
		address.Path = rekor.DefaultBasePath
	}
	// This client is configured like the one in rekor/pkg/client, except for the transport.
	rt := httptransport.NewWithClient(address.Host, address.Path, []string{address.Scheme}, client)
	rt.Consumers["application/json"] = runtime.JSONConsumer()
	rt.Producers["application/json"] = runtime.JSONProducer()
	formats := strfmt.NewFormats()
	formats.Add("signedCheckpoint", &util.SignedNote{}, util.SignedCheckpointValidator)
	return sign.NewRekor(&sign.RekorOptions{BaseURL: l.URL, Version: 1, Client: rekor.New(rt, formats).Entries}), nil
}

// rekorV2 is a client for logs of version 2:
// https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md
type rekorV2 struct {
	client *http.Client
	url    *url.URL
}

func (c rekorV2) Add(ctx context.Context, entry any) (*protorekor.TransparencyLogEntry, error) {
	record, ok := entry.(*rekortiles.HashedRekordRequestV002)
	if !ok {
		return nil, fmt.Errorf("the transparency log returned an unexpected entry of type %T", entry)
	}
	body, err := protojson.Marshal(&rekortiles.CreateEntryRequest{Spec: &rekortiles.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: record}})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url.JoinPath("/api/v2/log/entries").String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	const limit = 10 << 20
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusCreated {
		const enough = 512
		return nil, fmt.Errorf("unexpected response %s: %.*q", resp.Status, enough, strings.TrimSpace(string(answer)))
	}
	var out protorekor.TransparencyLogEntry
	if err := protojson.Unmarshal(answer, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// encodeBundle encodes a bundle deterministically. It removes white space, because protojson varies
// it at random.
func encodeBundle(b *protobundle.Bundle) ([]byte, error) {
	raw, err := protojson.Marshal(b)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
