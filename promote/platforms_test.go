package promote

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestIndexWithANestedIndexDoesNotVerify checks that an index with a child that is not an image is
// refused. If Verify skipped the child, a node could pull it unchecked.
func TestIndexWithANestedIndexDoesNotVerify(t *testing.T) {
	image := `{"mediaType":"` + string(types.OCIManifestSchema1) + `","size":1,"digest":"sha256:` + strings.Repeat("1", 64) + `"}`
	nested := `{"mediaType":"` + string(types.OCIImageIndex) + `","size":1,"digest":"sha256:` + strings.Repeat("2", 64) + `"}`
	for children, want := range map[string]string{
		image:                "",
		nested:               "which is not an image",
		image + "," + nested: "which is not an image",
		"":                   "no image",
	} {
		d := &remote.Descriptor{Manifest: []byte(`{"schemaVersion":2,"manifests":[` + children + `]}`), Descriptor: v1.Descriptor{MediaType: types.OCIImageIndex}}
		_, err := platformsOf(d)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", children, err, want)
		}
	}
}
