package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	"github.com/anchore/stereoscope/pkg/image"
)

// filesystem is a platform's image as its catalogers see it: what its layers make
// together. It is what stereoscope makes of the same image, but that the layers were
// listed while they were inflated, that no trees of single layers are kept, and that
// nothing is written to disk.
type filesystem struct {
	*image.Image
	closers []io.Closer
}

// Close ends all reading.
func (f *filesystem) Close() error {
	var err error
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// filesystem puts the layers of an image on top of each other. The result must be
// closed.
func (a *archives) filesystem(ctx context.Context, p *Platform) (_ *filesystem, err error) {
	metadata, err := metadataOfImage(p)
	if err != nil {
		return nil, err
	}
	ls, err := p.Image.Layers()
	if err != nil {
		return nil, fmt.Errorf("listing layers: %w", err)
	}
	catalog := image.NewFileCatalog()
	out := &filesystem{Image: &image.Image{Metadata: metadata, FileCatalog: catalog}}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	squashed := filetree.New()
	for i, l := range ls {
		if err := ctx.Err(); err != nil {
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
		entries, content, err := a.open(diffID)
		if err != nil {
			return nil, err
		}
		out.closers = append(out.closers, content)
		tree, err := addLayer(catalog, layer, entries, content)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", diffID, err)
		}
		if i == 0 {
			squashed, err = tree, withoutWhiteouts(tree)
		} else {
			err = squashed.Merge(tree)
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

func metadataOfImage(p *Platform) (image.Metadata, error) {
	manifest, err := p.Image.RawManifest()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the manifest: %w", err)
	}
	config, err := p.Image.RawConfigFile()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the config: %w", err)
	}
	id, err := p.Image.ConfigName()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the config's digest: %w", err)
	}
	mediaType, err := p.Image.MediaType()
	if err != nil {
		return image.Metadata{}, fmt.Errorf("reading the media type: %w", err)
	}
	return image.Metadata{
		ID: id.String(), Config: *p.Config, RawConfig: config,
		MediaType: mediaType, RawManifest: manifest, ManifestDigest: p.Digest.String(),
		OS: p.Config.OS, Architecture: p.Config.Architecture, Variant: p.Config.Variant,
	}, nil
}

// addLayer adds a layer's entries to the catalog of all files, and returns the tree
// of what the layer changes. The tree and the catalog take as long as each other, so
// that one runs behind the other.
func addLayer(catalog *image.FileCatalog, layer *image.Layer, entries []entry, content io.ReaderAt) (*filetree.FileTree, error) {
	tree, behind := filetree.New(), newIndexer(catalog, layer)
	defer behind.finish()
	// What a file is now: a name that comes once more in the layer is another file,
	// and what was linked to before is still the first one.
	openers := map[file.ID]file.Opener{}
	for _, e := range entries {
		own := func() (io.ReadCloser, error) { return e.open(content) }
		m, open := e.metadata, file.Opener(own)
		if m.Type == file.TypeHardLink {
			behind.catchUp()
			if target, ok := linked(tree, catalog, openers, m); ok {
				m, open = target.metadata, target.open
			}
		}
		ref, err := addNode(tree, m)
		if err != nil && e.metadata.Type == file.TypeHardLink {
			// What is there already is of another type than what the link is to.
			m, open = e.metadata, own
			ref, err = addNode(tree, m)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", m.Path, err)
		}
		openers[ref.ID()] = open
		behind.add(indexed{*ref, m, open})
		layer.Metadata.Size += e.size
	}
	return tree, nil
}

// addNode gives a file its place in a tree.
func addNode(tree *filetree.FileTree, m file.Metadata) (ref *file.Reference, err error) {
	at, to := file.Path(m.Path), file.Path(m.LinkDestination)
	switch m.Type {
	case file.TypeSymLink:
		ref, err = tree.AddSymLink(at, to)
	case file.TypeHardLink:
		ref, err = tree.AddHardLink(at, to)
	case file.TypeDirectory:
		ref, err = tree.AddDir(at)
	default:
		ref, err = tree.AddFile(at)
	}
	if err == nil && ref == nil {
		err = errors.New("the tree has no place for it")
	}
	return ref, err
}

// indexed is a file with what the catalog of all files says of it.
type indexed struct {
	ref      file.Reference
	metadata file.Metadata
	open     file.Opener
}

// indexer puts files into a catalog, in the order in which they come, in a goroutine
// of its own.
type indexer struct {
	next []indexed
	work chan []indexed
	done sync.WaitGroup // of all that was handed over
}

const indexedAtOnce = 256

func newIndexer(catalog *image.FileCatalog, layer *image.Layer) *indexer {
	x := &indexer{work: make(chan []indexed, 8)}
	go func() {
		for files := range x.work {
			for _, f := range files {
				catalog.Index.Add(f.ref, f.metadata)
				catalog.AssociateLayer(f.ref, layer)
				catalog.AssociateOpener(f.ref, f.open)
			}
			x.done.Done()
		}
	}()
	return x
}

func (x *indexer) add(f indexed) {
	if x.next = append(x.next, f); len(x.next) == indexedAtOnce {
		x.flush()
	}
}

func (x *indexer) flush() {
	if len(x.next) == 0 {
		return
	}
	x.done.Add(1)
	x.work <- x.next
	x.next = make([]indexed, 0, indexedAtOnce)
}

// catchUp waits until everything is in the catalog.
func (x *indexer) catchUp() {
	x.flush()
	x.done.Wait()
}

// finish catches up for good.
func (x *indexer) finish() {
	x.catchUp()
	close(x.work)
}

// link is a hard link, described as the file that it is another name of.
type link struct {
	metadata file.Metadata
	open     file.Opener
}

// linked finds the file in the same layer that a hard link is to. Permissions,
// owner and time are the link's own; an archive has them there too.
func linked(tree filetree.Reader, catalog *image.FileCatalog, openers map[file.ID]file.Opener, m file.Metadata) (link, bool) {
	to := file.Path(path.Clean("/" + m.LinkDestination))
	if to == "/" {
		return link{}, false
	}
	ok, found, err := tree.File(to)
	if err != nil || !ok || found == nil || found.Reference == nil {
		return link{}, false
	}
	ref := *found.Reference
	target, err := catalog.Get(ref)
	if err != nil || target.Type == file.TypeDirectory || target.Type == file.TypeHardLink {
		return link{}, false // no link to a folder can be made, and that of a link that leads nowhere does neither
	}
	m.FileInfo = file.ManualInfo{
		NameValue: path.Base(m.Path), SizeValue: target.Size(), ModTimeValue: m.ModTime(),
		ModeValue: m.Mode()&^fs.ModeType | target.Mode()&fs.ModeType,
	}
	m.MIMEType, m.Type, m.LinkDestination = target.MIMEType, target.Type, target.LinkDestination
	open, ok := openers[ref.ID()]
	return link{m, open}, ok
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
