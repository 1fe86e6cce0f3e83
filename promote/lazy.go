package promote

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/registry"
)

// checkUnlisted fails if the approved repository has a SOCI index that the image names and that was
// not scanned: nodes would use its table of contents instead of the scanned layers.
func (p *Promoter) checkUnlisted(ctx context.Context, img *gate.Image, repo name.Repository) error {
	for _, digest := range img.Unlisted {
		ref := repo.Digest(digest.String())
		_, err := remote.Get(ref, p.with(ctx)...)
		if err == nil {
			return fmt.Errorf("promoting %s to %s: the image names the SOCI index %s, which is in that repository and was not judged: "+
				"nodes would use its table of contents; delete it there first", img.Digest, repo, digest)
		}
		if !registry.IsNotFound(err) {
			return registry.NewError(registry.Approved, "looking for "+ref.String(), err)
		}
	}
	return nil
}
