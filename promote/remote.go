package promote

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate"
)

func remoteOptions(o Options) []remote.Option {
	opts := []remote.Option{remote.WithJobs(o.Parallel)}
	if o.UserAgent != "" {
		opts = append(opts, remote.WithUserAgent(o.UserAgent))
	}
	if o.Keychain != nil {
		opts = append(opts, remote.WithAuthFromKeychain(o.Keychain))
	}
	if o.Transport != nil {
		opts = append(opts, remote.WithTransport(o.Transport))
	}
	return opts
}

// with adds the context of one call.
func (p *Promoter) with(ctx context.Context) []remote.Option {
	return append([]remote.Option{remote.WithContext(ctx)}, p.remote...)
}

func isNotFound(err error) bool {
	var e *transport.Error
	return errors.As(err, &e) && e.StatusCode == http.StatusNotFound
}

// manifest is a manifest to be put as the bytes that it is.
type manifest struct {
	raw       []byte
	mediaType types.MediaType
}

func (m manifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }

type silent struct{}

func (silent) Start(gate.Stage, string) func(error)   { return func(error) {} }
func (silent) Bytes(gate.Stage, string, int64, int64) {}
