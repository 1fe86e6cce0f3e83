// Package filesystem makes of an image's layers the one file tree that its catalogers
// read.
//
// [Archives.List] lists a layer while it is inflated, and [Archives.Stack] puts the
// layers of an image on top of each other. Runtimes do that in two ways: some unpack
// every layer into one folder, others into a folder of its own, which an overlay file
// system merges. The tree has every file that either way leads to. A layer for which
// that is not possible is refused, with a *layers.RefusedError that names the entry.
package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	"github.com/anchore/stereoscope/pkg/filetree/filenode"
	"github.com/anchore/stereoscope/pkg/image"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/layers"
)

// Filesystem is a platform's image as its catalogers see it: what its layers make
// together. It is what stereoscope makes of the same image, but that the layers were
// listed while they were inflated, that no trees of single layers are kept, and that
// nothing is written to disk.
type Filesystem struct {
	*image.Image
	closers []io.Closer
}

// Close ends all reading.
func (f *Filesystem) Close() error {
	var err error
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Stack puts the layers of an image on top of each other. The image is one of the
// store's, and its layers have been fetched. The result must be closed.
func (a *Archives) Stack(ctx context.Context, img v1.Image, digest v1.Hash) (_ *Filesystem, err error) {
	metadata, err := metadataOfImage(img, digest)
	if err != nil {
		return nil, err
	}
	ls, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing layers: %w", err)
	}
	catalog := image.NewFileCatalog()
	out := &Filesystem{Image: &image.Image{Metadata: metadata, FileCatalog: catalog}}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	squashed, weight := filetree.New(), int64(0)
	for i, l := range ls {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		stored, ok := l.(*layers.Layer)
		if !ok {
			return nil, fmt.Errorf("layer %d is not one of the store's", i)
		}
		if err := stored.CheckTOC(); err != nil {
			return nil, err
		}
		diffID, err := l.DiffID()
		if err != nil {
			return nil, fmt.Errorf("reading the diffID of layer %d: %w", i, err)
		}
		mediaType, err := l.MediaType()
		if err != nil {
			return nil, fmt.Errorf("reading the media type of layer %d: %w", i, err)
		}
		layer := &image.Layer{Metadata: image.LayerMetadata{Index: uint(i), Digest: diffID.String(), MediaType: mediaType}}
		listed, content, err := a.open(diffID)
		if err != nil {
			return nil, err
		}
		out.closers = append(out.closers, content)
		// A layer may be listed once and be there a thousand times.
		if weight += listed.weight; weight > maxWeight {
			return nil, errTooHeavy
		}
		tree, whiteouts, err := addLayer(squashed, catalog, layer, listed.entries, content)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", diffID, err)
		}
		if i == 0 {
			squashed, err = tree, withoutWhiteouts(tree)
		} else {
			err = remove(squashed, tree, whiteouts)
			if err == nil {
				err = squashed.Merge(tree)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", diffID, err)
		}
		out.Metadata.Size += layer.Metadata.Size
		out.Layers = append(out.Layers, layer)
	}
	out.SquashedSearchContext = filetree.NewSearchContext(squashed, catalog.Index)
	if len(out.Layers) > 0 {
		top := out.Layers[len(out.Layers)-1]
		top.SquashedTree, top.SquashedSearchContext = squashed, out.SquashedSearchContext
	}
	return out, nil
}

func metadataOfImage(img v1.Image, digest v1.Hash) (image.Metadata, error) {
	manifest, err := img.RawManifest()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the manifest: %w", err)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the config: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the config: %w", err)
	}
	id, err := img.ConfigName()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the config's digest: %w", err)
	}
	mediaType, err := img.MediaType()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the media type: %w", err)
	}
	return image.Metadata{
		ID: id.String(), Config: *config, RawConfig: raw,
		MediaType: mediaType, RawManifest: manifest, ManifestDigest: digest.String(),
		OS: config.OS, Architecture: config.Architecture, Variant: config.Variant,
	}, nil
}

// remove removes from what is below a layer what the layer's whiteouts name, before
// any of it is put there anew: merging takes them in the order of their names, and
// removes what comes before. Whiteouts of whole folders are left to it.
//
// A whiteout does nothing where its folder is behind a link, which an overlay
// file system hides and does not follow, and where the layer has a folder of that
// name: some put it over the whiteout, so that what is below can be seen again. What
// is there for some is cataloged.
func remove(below, layer *filetree.FileTree, whiteouts []string) error {
	for _, p := range whiteouts {
		folder, base := path.Split(p)
		name := strings.TrimPrefix(base, whiteout)
		if strings.HasPrefix(name, whiteout) {
			continue
		}
		if err := layer.RemovePath(file.Path(p)); err != nil {
			return fmt.Errorf("applying %q: %w", p, err)
		}
		target := file.Path(folder + name)
		if again := nodeAt(layer, target); again != nil && again.FileType == file.TypeDirectory || nodeAt(below, target) == nil {
			continue
		}
		if err := below.RemovePath(target); err != nil {
			return fmt.Errorf("applying %q: %w", p, err)
		}
	}
	return nil
}

// nodeAt is what has just that path, following no links; nil where there is nothing.
func nodeAt(tree *filetree.FileTree, p file.Path) *filenode.FileNode {
	n, _ := tree.TreeReader().Node(filenode.IDByPath(p)).(*filenode.FileNode)
	return n
}

// withoutWhiteouts removes from the lowest layer what says that something below it
// is gone.
func withoutWhiteouts(tree *filetree.FileTree) error {
	for _, p := range tree.AllRealPaths() {
		if p.IsWhiteout() {
			if err := tree.RemovePath(p); err != nil {
				return fmt.Errorf("removing %q: %w", p, err)
			}
		}
	}
	return nil
}

// section is the content of one file. What it is a part of is closed by itself.
type section struct{ *io.SectionReader }

// Close does nothing.
func (section) Close() error { return nil }

// refuse says that a layer is made in a way in which it cannot be judged.
func refuse(format string, args ...any) error {
	return &layers.RefusedError{Reason: fmt.Sprintf(format, args...)}
}
