package trust

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"
)

// These are the names of the files in the TUF repository of a Sigstore:
// https://github.com/sigstore/root-signing
const (
	rootTarget   = "trusted_root.json"
	configTarget = "signing_config.v0.2.json"
)

// TUF is the TUF repository of a Sigstore. If only Dir is set, it is the repository of the public
// Sigstore (public good instance), which everyone can use.
type TUF struct {
	// URL is the URL of the repository or of a mirror. Empty means the public Sigstore.
	URL string
	// Root is the TUF root metadata, the start of the chain of trust. Nil means the embedded root
	// metadata of the public Sigstore.
	Root []byte
	// Dir is the folder that keeps the TUF metadata between runs. With this metadata, an attacker
	// cannot present an older state as the newest. Dir is required.
	Dir string
	// Transport is the transport for requests to the repository. Nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// requestTimeout is the timeout for downloading one file.
const requestTimeout = 30 * time.Second

// TrustedRoot fetches the trusted root of the Sigstore.
func (m TUF) TrustedRoot(ctx context.Context) (*Root, error) {
	raw, err := m.target(ctx, rootTarget)
	if err != nil {
		return nil, err
	}
	return LoadRoot(raw)
}

// Services fetches the services of the Sigstore that are valid at time now, and their trusted root.
func (m TUF) Services(ctx context.Context, now time.Time) (Services, error) {
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

// target fetches a file and verifies it according to TUF.
func (m TUF) target(ctx context.Context, name string) ([]byte, error) {
	files := fetcher.NewDefaultFetcher()
	files.SetHTTPClient(&http.Client{Timeout: requestTimeout, Transport: Services{Transport: m.Transport}.transport(ctx)})
	opts := tuf.Options{Root: m.Root, CachePath: m.Dir, RepositoryBaseURL: m.URL, Fetcher: files, Context: ctx}
	if opts.Root == nil {
		opts.Root = tuf.DefaultRoot()
	}
	if opts.RepositoryBaseURL == "" {
		opts.RepositoryBaseURL = tuf.DefaultMirror
	}
	client, err := tuf.New(&opts)
	if err != nil {
		return nil, fmt.Errorf("reading the TUF repository %s: %w", opts.RepositoryBaseURL, err)
	}
	raw, err := client.GetTarget(name)
	if err != nil {
		return nil, fmt.Errorf("reading the TUF repository %s: %w", opts.RepositoryBaseURL, err)
	}
	return raw, nil
}
