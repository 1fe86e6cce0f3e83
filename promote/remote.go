package promote

import (
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate"
)

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
