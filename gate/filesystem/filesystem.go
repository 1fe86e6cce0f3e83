// Package filesystem merges the layers of an image into one file tree for the catalogers.
//
// [Archives.List] lists a layer while it is decompressed. [Archives.Stack] merges the layers of an
// image. Container runtimes do this in two ways. Some unpack every layer into the same folder.
// Others unpack each layer into its own folder and merge the folders with an overlay file system.
// The tree has every file that one of these ways produces. If an entry makes this impossible, its
// layer is refused with a *layers.RefusedError that names the entry.
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

// Filesystem is the merged image of one platform. It equals the image that stereoscope builds from
// the same layers, with three differences. Its layers were listed while they were decompressed, the
// trees of single layers are not kept, and nothing is written to disk.
type Filesystem struct {
	*image.Image
	closers []io.Closer
}

// Close closes all layers. After that, no file can be read.
func (f *Filesystem) Close() error {
	var err error
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Stack merges the layers of an image. The image must come from the store, and its layers must have
// been fetched. The caller must close the returned Filesystem.
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
			return nil, fmt.Errorf("layer %d is not in the store", i)
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
		// A layer is listed once, but an image may contain it a thousand times, and each time adds
		// to the tree.
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

// remove applies the layer's whiteouts to the lower layers before the layer's own entries are
// added. stereoscope's Merge would apply the whiteouts in the order of names, and would also remove
// entries of this layer with earlier names. remove leaves opaque whiteouts to Merge.
//
// remove ignores a whiteout in two cases. In the first, the folder of the whiteout is behind a
// link: an overlay file system hides the link and does not follow it. In the second, the layer has
// a folder with the name that the whiteout hides: some runtimes put the folder over the whiteout,
// and the lower files are visible again. In both cases some runtimes show the lower files, so they
// are cataloged.
func remove(below, layer *filetree.FileTree, whiteouts []string) error {
	for _, p := range whiteouts {
		folder, base := path.Split(p)
		name := strings.TrimPrefix(base, whiteout)
		if strings.HasPrefix(name, whiteout) {
			continue
		}
		if err := layer.RemovePath(file.Path(p)); err != nil {
			return fmt.Errorf("applying whiteout %q: %w", p, err)
		}
		target := file.Path(folder + name)
		if again := nodeAt(layer, target); again != nil && again.FileType == file.TypeDirectory || nodeAt(below, target) == nil {
			continue
		}
		if err := below.RemovePath(target); err != nil {
			return fmt.Errorf("applying whiteout %q: %w", p, err)
		}
	}
	return nil
}

// nodeAt returns the node at exactly this path, or nil. It does not follow links.
func nodeAt(tree *filetree.FileTree, p file.Path) *filenode.FileNode {
	n, _ := tree.TreeReader().Node(filenode.IDByPath(p)).(*filenode.FileNode)
	return n
}

// withoutWhiteouts removes the whiteouts of the lowest layer. They have no effect, because there is
// no layer below.
func withoutWhiteouts(tree *filetree.FileTree) error {
	for _, p := range tree.AllRealPaths() {
		if p.IsWhiteout() {
			if err := tree.RemovePath(p); err != nil {
				return fmt.Errorf("removing whiteout %q: %w", p, err)
			}
		}
	}
	return nil
}

// Section is the content of one file in a layer. Close does nothing, because the file of the layer is
// closed separately.
type Section struct {
	*io.SectionReader
	archive io.ReaderAt
	entry   entry
}

// Close does nothing and returns nil.
func (Section) Close() error { return nil }

// Search returns the result of find for the content. The result is kept with the layer, for this run
// and for later ones, so all calls for a file must look for the same. A later run does not need the
// content that find reads.
func (s Section) Search(find func(io.Reader) bool) bool {
	if s.entry.search == nil {
		return find(s)
	}
	switch s.entry.search.state.Load() {
	case foundNothing:
		return false
	case foundMarker:
		return true
	}
	archive := s.archive
	if d, ok := archive.(layers.Decompressed); ok {
		archive = d.Unrecorded()
	}
	if find(io.NewSectionReader(archive, s.entry.at, s.entry.size)) {
		s.entry.search.state.Store(foundMarker)
		return true
	}
	s.entry.search.state.Store(foundNothing)
	return false
}

// refuse returns the error for a layer that imagegate does not evaluate because of the way it is
// built.
func refuse(format string, args ...any) error {
	return &layers.RefusedError{Reason: fmt.Sprintf(format, args...)}
}
