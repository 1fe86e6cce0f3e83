package trust

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"
)

// The files in a Sigstore's TUF repository:
// https://github.com/sigstore/root-signing
const (
	rootTarget   = "trusted_root.json"
	configTarget = "signing_config.v0.2.json"
)

// Mirror is a TUF repository that tells of a Sigstore. The zero value is that of
// the public good instance, which everybody may use and read.
type Mirror struct {
	// URL is where the repository is, or a copy of it; empty means the public good
	// instance's own.
	URL string
	// Root is the TUF root metadata in which trust begins; nil means the public
	// good instance's, which is part of the program.
	Root []byte
	// Dir keeps the metadata between runs, so that nobody can play an older state
	// as the newest; needed.
	Dir string
	// Transport reaches the repository; nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// answerWithin bounds how long a repository may take for one file.
const answerWithin = 30 * time.Second

// TrustedRoot gets what the services of the Sigstore are trusted by.
func (m Mirror) TrustedRoot(ctx context.Context) (*Root, error) {
	raw, err := m.target(ctx, rootTarget)
	if err != nil {
		return nil, err
	}
	return LoadRoot(raw)
}

// Services gets those of the Sigstore that are in force at this time, and what they
// are trusted by.
func (m Mirror) Services(ctx context.Context, now time.Time) (Services, error) {
	raw, err := m.target(ctx, configTarget)
	if err != nil {
		return Services{}, err
	}
	services, err := LoadSigningConfig(raw, now)
	if err != nil {
		return Services{}, err
	}
	services.Root, err = m.TrustedRoot(ctx)
	return services, err
}

// target gets a file, after what TUF demands of its metadata.
func (m Mirror) target(ctx context.Context, name string) ([]byte, error) {
	files := fetcher.NewDefaultFetcher()
	files.SetHTTPClient(&http.Client{Timeout: answerWithin, Transport: Services{Transport: m.Transport}.transport(ctx)})
	opts := tuf.Options{Root: m.Root, CachePath: m.Dir, RepositoryBaseURL: m.URL, Fetcher: files, Context: ctx}
	if opts.Root == nil {
		opts.Root = tuf.DefaultRoot()
	}
	if opts.RepositoryBaseURL == "" {
		opts.RepositoryBaseURL = tuf.DefaultMirror
	}
	client, err := tuf.New(&opts)
	if err != nil {
		return nil, fmt.Errorf("asking the TUF repository %s: %w", opts.RepositoryBaseURL, err)
	}
	raw, err := client.GetTarget(name)
	if err != nil {
		return nil, fmt.Errorf("asking the TUF repository %s: %w", opts.RepositoryBaseURL, err)
	}
	return raw, nil
}
