package promote

import (
	"context"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
)

func remoteOptions(o Options) []remote.Option {
	return registry.Options{Keychain: o.Keychain, Transport: o.Transport, UserAgent: o.UserAgent, Jobs: o.Parallel}.Remote()
}

// with adds the context of one call.
func (p *Promoter) with(ctx context.Context) []remote.Option {
	return registry.With(ctx, p.remote)
}

// manifest is a manifest that is pushed byte for byte.
type manifest struct {
	raw       []byte
	mediaType types.MediaType
}

func (m manifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }

type silent struct{}

func (silent) Start(gate.Stage, string) func(error)   { return func(error) {} }
func (silent) Bytes(gate.Stage, string, int64, int64) {}
