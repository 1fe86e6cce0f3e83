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

// Services are those of a Sigstore, public or private. The zero value is none.
type Services struct {
	// Fulcio is the URL of the certificate authority; NewKeyless needs it.
	Fulcio string
	// Issuer is the URL of the OpenID Connect provider where people log in; empty
	// where they cannot.
	Issuer string
	// Logs are the transparency logs in which each signature must be.
	Logs []Log
	// TimestampAuthorities are the URLs, with their paths, of those that each
	// tell the time of a signature. Where there is one, a signature that no log
	// takes in time goes without.
	TimestampAuthorities []string
	// Root verifies what the services answer, and is needed as soon as there is
	// one.
	Root *Root
	// Transport reaches the services; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Now tells how long a certificate is still of use; NewKeyless needs it.
	Now func() time.Time
	// Patience bounds how long a log that is in trouble is tried; 0 means a
	// minute.
	Patience time.Duration
}

// Log is a transparency log, Rekor.
type Log struct {
	URL string
	// Version of its API, 1 or 2. What is signed for the legacy form by an
	// identity can be verified with version 1 alone, or with a timestamp.
	Version uint32
}

// issuerVersions are the versions of a provider's protocol that are spoken here.
var issuerVersions = []uint32{1}

// LoadSigningConfig reads the services of a Sigstore from its signing
// configuration in JSON: those that are in force at this time. Root, Transport,
// Now and Patience are the caller's to set.
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
		return errors.New("no trusted root: what the services answer could not be verified")
	}
	for _, l := range s.Logs {
		if l.Version != 1 && l.Version != 2 {
			return fmt.Errorf("transparency log %s has version %d: want 1 or 2", l.URL, l.Version)
		}
	}
	if s.Patience < 0 {
		return fmt.Errorf("the patience with a log is negative: %s", s.Patience)
	}
	return nil
}

func (s Services) transport(ctx context.Context) http.RoundTripper {
	if s.Transport == nil {
		return bound{ctx, http.DefaultTransport}
	}
	return bound{ctx, s.Transport}
}

func (s Services) patience() time.Duration {
	if s.Patience == 0 {
		return time.Minute
	}
	return s.Patience
}

// bound ends the requests that a library makes without a context with the call
// that they are made for; they still end by themselves as well.
type bound struct {
	ctx  context.Context
	base http.RoundTripper
}

func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })
	done := func() { stop(); cancel(nil) }
	resp, err := b.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		done()
		return nil, err
	}
	resp.Body = boundBody{resp.Body, done}
	return resp, nil
}

type boundBody struct {
	io.ReadCloser
	done func()
}

func (b boundBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
