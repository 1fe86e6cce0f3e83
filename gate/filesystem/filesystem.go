package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	"github.com/anchore/stereoscope/pkg/filetree/filenode"
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
	squashed, weight := filetree.New(), int64(0)
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
		listed, content, err := a.open(diffID)
		if err != nil {
			return nil, err
		}
		out.closers = append(out.closers, content)
		// A layer may be listed once and be there a thousand times.
		if weight += listed.weight; weight > maxWeight {
			return nil, errTooHeavy
		}
		tree, whiteouts, err := addLayer(catalog, layer, listed.entries, content)
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
// of what the layer changes, and the paths of its whiteouts in there. The tree and the
// catalog take as long as each other, so that one runs behind the other.
func addLayer(catalog *image.FileCatalog, layer *image.Layer, entries []entry, content io.ReaderAt) (_ *filetree.FileTree, whiteouts []string, err error) {
	tree, behind := filetree.New(), newIndexer(catalog, layer)
	defer behind.finish()
	// What a file is now: a name that comes once more in the layer is another file,
	// and what was linked to before is still the first one.
	openers := map[file.ID]file.Opener{}
	links := symlinks{}
	for _, e := range entries {
		if e.metadata.Path, err = links.place(e.metadata.Path); err != nil {
			return nil, nil, err
		}
		if e.metadata.Path == "/"+opaque {
			continue // the root of an overlay file system hides nothing
		}
		if err := links.add(e.metadata); err != nil {
			return nil, nil, err
		}
		if folder, base := path.Split(e.metadata.Path); strings.HasPrefix(base, whiteout) {
			if to, ok := links[folder+strings.TrimPrefix(base, whiteout)]; ok {
				return nil, nil, refuse("%q is a whiteout of a link to %q in the same layer", e.metadata.Path, to)
			}
			whiteouts = append(whiteouts, e.metadata.Path)
		}
		m, open := e.metadata, file.Opener(func() (io.ReadCloser, error) { return e.open(content) })
		if m.Type == file.TypeHardLink {
			behind.catchUp()
			to, err := links.target(m)
			if err != nil {
				return nil, nil, err
			}
			if target, ok := linked(tree, catalog, openers, m, to); ok {
				m, open = target.metadata, target.open
				if err := links.add(m); err != nil { // one to a link is one itself
					return nil, nil, err
				}
			}
		}
		ref, err := addNode(tree, m)
		if err != nil {
			return nil, nil, refuse("%q: %v", m.Path, err)
		}
		openers[ref.ID()] = open
		behind.add(indexed{*ref, m, open})
		layer.Metadata.Size += e.size
	}
	return tree, whiteouts, nil
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

// symlinks are those of one layer, by their paths, as they are there when an entry
// is unpacked.
type symlinks map[string]string

// add takes note of a link. A second one of the same name would be in its place for
// some, and for stereoscope is not.
func (s symlinks) add(m file.Metadata) error {
	if m.Type != file.TypeSymLink {
		return nil
	}
	if to, ok := s[m.Path]; ok && to != m.LinkDestination {
		return refuse("%q is a link to %q and once more to %q", m.Path, to, m.LinkDestination)
	}
	s[m.Path] = m.LinkDestination
	return nil
}

// maxHops is how many links are followed for one path; Linux follows 40.
const maxHops = 40

// place is where an entry is unpacked to: behind a link in its path, at what that is
// to. It would go with the link otherwise when a layer above removes that.
func (s symlinks) place(p string) (string, error) {
	if !s.above(p) {
		return p, nil
	}
	return s.walk(p)
}

// walk goes along a path as the kernel does: ".." is where a link has led to, and not
// where it is.
func (s symlinks) walk(p string) (string, error) {
	hops, at := 0, "/"
	folder, base := path.Split(p)
	for rest := folder; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		next := path.Join(at, name)
		to, ok := s[next]
		if !ok || name == "" || name == "." || name == ".." {
			at = next
			continue
		}
		if hops++; hops > maxHops {
			return "", refuse("%q is behind more than %d links", p, maxHops)
		}
		if path.IsAbs(to) {
			at = "/"
		}
		rest = to + "/" + rest
	}
	return path.Join(at, base), nil
}

// target is what a hard link is to. Some go along its name as the kernel does, and
// some shorten it before.
func (s symlinks) target(m file.Metadata) (string, error) {
	short := path.Clean("/" + m.LinkDestination)
	to, err := s.walk(m.LinkDestination)
	if err != nil {
		return short, nil //nolint:nilerr // it leads nowhere, as one to a missing file does
	}
	if same, err := s.walk(short); err != nil || same != to {
		return "", refuse("%q is a hard link to %q, which is two places", m.Path, m.LinkDestination)
	}
	return to, nil
}

// above reports whether one of the folders of a path is a link.
func (s symlinks) above(p string) bool {
	if len(s) == 0 {
		return false
	}
	for i := 1; i < len(p); i++ {
		if p[i] == '/' {
			if _, ok := s[p[:i]]; ok {
				return true
			}
		}
	}
	return false
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

// linked finds the file in the same layer that a hard link is to. Permissions,
// owner and time are the link's own; an archive has them there too.
func linked(tree filetree.Reader, catalog *image.FileCatalog, openers map[file.ID]file.Opener, m file.Metadata, to string) (link, bool) {
	if to == "/" {
		return link{}, false
	}
	ok, found, err := tree.File(file.Path(to))
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
