package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

// Services are the services of a public or private Sigstore. The zero value has no services.
type Services struct {
	// Fulcio is the URL of the certificate authority. NewKeyless requires it.
	Fulcio string
	// Issuer is the URL of the OpenID Connect provider for logins with a browser. It is empty if
	// there is none.
	Issuer string
	// Logs are the transparency logs. Every log must record each signature.
	Logs []Log
	// TimestampAuthorities are the full URLs of the timestamp authorities. Each must confirm the
	// time of a signature. If a log is unavailable, a signature with a timestamp is accepted
	// without a log entry.
	TimestampAuthorities []string
	// Root is the trusted root that verifies the responses of the services. It is required if there
	// is at least one service.
	Root *Root
	// Transport is the transport for requests to the services. Nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Now returns the current time, to renew certificates in time. NewKeyless requires it.
	Now func() time.Time
	// Patience is the timeout for retrying an unavailable log. 0 means one minute.
	Patience time.Duration
}

// Log is a Rekor transparency log.
type Log struct {
	URL string
	// Version is the version of the log's API, 1 or 2. In the legacy signature format, a signature
	// by an identity verifies only with a log entry from a log of version 1 or with a timestamp.
	Version uint32
}

// issuerVersions are the supported API versions of OpenID Connect providers in a signing
// configuration.
var issuerVersions = []uint32{1}

// LoadSigningConfig parses the signing configuration of a Sigstore, in JSON, and selects the
// services that are valid at time now. The caller must set Root, Transport, Now and Patience.
func LoadSigningConfig(data []byte, now time.Time) (Services, error) {
	config, err := root.NewSigningConfigFromJSON(data)
	if err != nil {
		return Services{}, fmt.Errorf("reading a signing configuration: %w", err)
	}
	var out Services
	if authorities := config.FulcioCertificateAuthorityURLs(); len(authorities) > 0 {
		fulcio, err := root.SelectService(authorities, sign.FulcioAPIVersions, now)
		if err != nil {
			return Services{}, fmt.Errorf("selecting a certificate authority: %w", err)
		}
		out.Fulcio = fulcio.URL
	}
	if issuers := config.OIDCProviderURLs(); len(issuers) > 0 {
		issuer, err := root.SelectService(issuers, issuerVersions, now)
		if err != nil {
			return Services{}, fmt.Errorf("selecting an OpenID Connect provider: %w", err)
		}
		out.Issuer = issuer.URL
	}
	if logs := config.RekorLogURLs(); len(logs) > 0 {
		selected, err := root.SelectServices(logs, config.RekorLogURLsConfig(), sign.RekorAPIVersions, now)
		if err != nil {
			return Services{}, fmt.Errorf("selecting a transparency log: %w", err)
		}
		for _, s := range selected {
			out.Logs = append(out.Logs, Log{s.URL, s.MajorAPIVersion})
		}
	}
	if authorities := config.TimestampAuthorityURLs(); len(authorities) > 0 {
		selected, err := root.SelectServices(authorities, config.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
		if err != nil {
			return Services{}, fmt.Errorf("selecting a timestamp authority: %w", err)
		}
		for _, s := range selected {
			out.TimestampAuthorities = append(out.TimestampAuthorities, s.URL)
		}
	}
	return out, nil
}

func (s Services) check() error {
	if s.Root == nil && (s.Fulcio != "" || len(s.Logs) > 0 || len(s.TimestampAuthorities) > 0) {
		return errors.New("no trusted root is given, so the responses of the Sigstore services cannot be verified")
	}
	for _, l := range s.Logs {
		if l.Version != 1 && l.Version != 2 {
			return fmt.Errorf("transparency log %s has the unsupported version %d: must be 1 or 2", l.URL, l.Version)
		}
	}
	if s.Patience < 0 {
		return fmt.Errorf("invalid timeout %s for the transparency log: must be 0 or greater", s.Patience)
	}
	return nil
}

func (s Services) transport(ctx context.Context) http.RoundTripper {
	if s.Transport == nil {
		return contextTransport{ctx, http.DefaultTransport}
	}
	return contextTransport{ctx, s.Transport}
}

func (s Services) patience() time.Duration {
	if s.Patience == 0 {
		return time.Minute
	}
	return s.Patience
}

// contextTransport cancels requests when ctx ends. It is for client libraries that do not accept a
// context. The requests' own contexts still apply.
type contextTransport struct {
	ctx  context.Context
	base http.RoundTripper
}

func (t contextTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	done := func() { stop(); cancel(nil) }
	resp, err := t.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		done()
		return nil, err
	}
	resp.Body = contextBody{resp.Body, done}
	return resp, nil
}

type contextBody struct {
	io.ReadCloser
	done func()
}

func (b contextBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
