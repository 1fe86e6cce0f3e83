package promote

import (
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// manifest is a manifest that is pushed with exactly these bytes.
type manifest struct {
	raw       []byte
	mediaType types.MediaType
}

func (m manifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }
