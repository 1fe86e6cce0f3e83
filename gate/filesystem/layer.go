package filesystem

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	"github.com/anchore/stereoscope/pkg/filetree/filenode"
	"github.com/anchore/stereoscope/pkg/image"
)

// layerTree builds the tree of one layer's entries. Entries are added in the order of the archive,
// as runtimes unpack them.
type layerTree struct {
	below   *filetree.FileTree // the merged lower layers
	tree    *filetree.FileTree // the tree of this layer's entries
	catalog *image.FileCatalog
	behind  *indexer

	// openers open the content of files by file ID, not by path. A second entry with the same name
	// is a new file, but an earlier hard link still refers to the first one.
	openers   map[file.ID]file.Opener
	links     symlinks
	folders   map[string]bool // the folders that have an entry, in this layer or a lower one
	whiteouts []string        // the paths of the whiteouts in this layer
	gone      map[string]bool // the paths in lower layers that whiteouts of this layer have removed so far
	emptied   map[string]bool // the folders of lower layers that opaque whiteouts of this layer have emptied so far
}

// addLayer adds a layer's entries to the catalog of all files. It returns the tree of the layer's
// entries and the paths of its whiteouts. The catalog is filled in parallel, because building the
// tree and filling the catalog take equally long.
func addLayer(below *filetree.FileTree, catalog *image.FileCatalog, layer *image.Layer, entries []entry, content io.ReaderAt) (_ *filetree.FileTree, whiteouts []string, err error) {
	t := &layerTree{below: below, tree: filetree.New(), catalog: catalog, behind: newIndexer(catalog, layer),
		openers: map[file.ID]file.Opener{}, links: symlinks{}, folders: map[string]bool{"/": true},
		gone: map[string]bool{}, emptied: map[string]bool{}}
	defer t.behind.finish()
	for _, e := range entries {
		if err := t.add(e.metadata, func() (io.ReadCloser, error) { return e.open(content) }); err != nil {
			return nil, nil, err
		}
		layer.Metadata.Size += e.size
	}
	return t.tree, t.whiteouts, nil
}

// add adds one entry of the layer, in the order of the archive.
func (t *layerTree) add(m file.Metadata, open file.Opener) (err error) {
	if m.Path, err = t.links.place(m.Path); err != nil {
		return err
	}
	if m.Path == "/"+opaque || m.Path == "/" && m.Type != file.TypeDirectory {
		return nil // Runtimes skip this entry, because a whiteout at the root hides nothing.
	}
	if err := t.links.add(m); err != nil {
		return err
	}
	folder, base := path.Split(m.Path)
	isWhiteout := strings.HasPrefix(base, whiteout)
	if ok, err := t.addFolders(m.Path, isWhiteout); err != nil || !ok {
		return err
	}
	if isWhiteout {
		if err := t.hide(m.Path, folder, base); err != nil {
			return err
		}
	}
	if m.Type == file.TypeHardLink {
		if m, open, err = t.resolve(m, open); err != nil {
			return err
		}
	}
	if m.Type == file.TypeDirectory {
		t.folders[m.Path] = true
	}
	return t.put(m, open)
}

// put adds a file to the layer's tree and to the catalog of all files.
func (t *layerTree) put(m file.Metadata, open file.Opener) error {
	ref, err := addNode(t.tree, m)
	if err != nil {
		return refuse("adding %q to the file tree: %v", m.Path, err)
	}
	t.openers[ref.ID()] = open
	t.behind.add(indexed{*ref, m, open})
	return nil
}

// addFolders adds the parent folders of p that have no entry of their own, because runtimes create
// them. A search that lists a folder finds the folder only if it has an entry.
//
// Runtimes differ if a lower layer has a link in place of such a folder. A runtime that unpacks
// into one folder follows the link. An overlay file system replaces the link with a new folder. So
// a file behind such a link is refused. For a whiteout behind such a link, addFolders returns
// false: ignoring the whiteout keeps every file that some runtime shows.
func (t *layerTree) addFolders(p string, isWhiteout bool) (ok bool, err error) {
	dir := path.Dir(p)
	if t.folders[dir] {
		return true, nil
	}
	if ok, err := t.addFolders(dir, isWhiteout); err != nil || !ok {
		return ok, err
	}
	if here := nodeAt(t.tree, file.Path(dir)); here != nil && here.Reference != nil {
		return true, nil // If the parent is not a folder, adding the entry fails later.
	}
	switch there := nodeAt(t.below, file.Path(dir)); {
	case there == nil || t.isGone(dir):
	case there.FileType == file.TypeSymLink:
		if isWhiteout {
			return false, nil
		}
		return false, refuse("%q has no entry for its folder %q, which is a link to %q in a layer below: some runtimes follow the link, and others replace it",
			p, dir, there.LinkPath)
	case there.FileType == file.TypeDirectory && there.Reference != nil:
		t.folders[dir] = true
		return true, nil
	}
	t.folders[dir] = true
	return true, t.put(impliedFolder(dir), noContent)
}

// impliedFolder returns the metadata of a folder without an entry, as runtimes create it.
func impliedFolder(dir string) file.Metadata {
	return file.Metadata{Path: dir, Type: file.TypeDirectory,
		FileInfo: file.ManualInfo{NameValue: path.Base(dir), ModeValue: fs.ModeDir | 0o755, ModTimeValue: time.Unix(0, 0)}}
}

func noContent() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(nil)), nil }

// hide records a whiteout and the paths of lower layers that it removes.
func (t *layerTree) hide(p, folder, base string) error {
	if base == opaque {
		t.emptied[path.Clean(folder)] = true
		t.whiteouts = append(t.whiteouts, p)
		return nil
	}
	hidden := folder + strings.TrimPrefix(base, whiteout)
	if to, ok := t.links[hidden]; ok {
		return refuse("%q is a whiteout of a link to %q in the same layer", p, to)
	}
	t.gone[hidden] = true
	t.whiteouts = append(t.whiteouts, p)
	return nil
}

// isGone reports whether whiteouts of this layer have removed the file or folder at p from the
// lower layers.
func (t *layerTree) isGone(p string) bool {
	if len(t.gone) == 0 && len(t.emptied) == 0 {
		return false
	}
	for ; p != "/"; p = path.Dir(p) {
		if t.gone[p] || t.emptied[path.Dir(p)] {
			return true
		}
	}
	return false
}

// resolve replaces a hard link with the file that it refers to. This file may be in a lower layer.
// A runtime that unpacks all layers into one folder links to the file that exists at that moment,
// and keeps it even if its first name is removed. A link to a missing file stays a link, and no
// runtime unpacks it.
func (t *layerTree) resolve(m file.Metadata, open file.Opener) (file.Metadata, file.Opener, error) {
	t.behind.catchUp()
	to, err := t.target(m)
	if err != nil {
		return m, open, err
	}
	node := t.at(to)
	if to == "/" || node == nil || node.Reference == nil {
		return m, open, nil
	}
	target, err := t.catalog.Get(*node.Reference)
	if err != nil || target.Type == file.TypeDirectory || target.Type == file.TypeHardLink {
		return m, open, nil //nolint:nilerr // runtimes cannot create a hard link to a folder or to a missing file
	}
	opened, ok := t.openers[node.Reference.ID()]
	if !ok {
		ref := *node.Reference
		opened = func() (io.ReadCloser, error) { return t.catalog.Open(ref) }
	}
	// Permissions, owner and time come from the link, because an archive also stores them for
	// links.
	m.FileInfo = file.ManualInfo{
		NameValue: path.Base(m.Path), SizeValue: target.Size(), ModTimeValue: m.ModTime(),
		ModeValue: m.Mode()&^fs.ModeType | target.Mode()&fs.ModeType,
	}
	m.MIMEType, m.Type, m.LinkDestination = target.MIMEType, target.Type, target.LinkDestination
	return m, opened, t.links.add(m) // A hard link to a symbolic link is itself a symbolic link.
}

// at returns the node that is at a path before the next entry is added, or nil. It does not follow
// links. It also returns a file that a whiteout removed. This is harmless, because a runtime that
// unpacks into one folder cannot create the hard link in that case.
func (t *layerTree) at(p string) *filenode.FileNode {
	if n := nodeAt(t.tree, file.Path(p)); n != nil && n.Reference != nil {
		return n
	}
	return nodeAt(t.below, file.Path(p))
}

// linkAt returns the target of the symbolic link at a path. It returns false if the path is not a
// symbolic link.
func (t *layerTree) linkAt(p string) (string, bool) {
	if to, ok := t.links[p]; ok {
		return to, true
	}
	if n := nodeAt(t.tree, file.Path(p)); n != nil {
		return "", false
	}
	if n := nodeAt(t.below, file.Path(p)); n != nil && n.FileType == file.TypeSymLink {
		return string(n.LinkPath), true
	}
	return "", false
}

// target returns the path of the file that a hard link refers to. Some runtimes resolve the name as
// the kernel does, others first remove "." and ".." elements from the name. If the results differ,
// target refuses the layer.
func (t *layerTree) target(m file.Metadata) (string, error) {
	short := path.Clean("/" + m.LinkDestination)
	to, err := walk(m.LinkDestination, t.linkAt)
	if err != nil {
		return short, nil //nolint:nilerr // the link has no target, like a link to a missing file
	}
	if same, err := walk(short, t.linkAt); err != nil || same != to {
		return "", refuse("%q is a hard link to %q, which runtimes resolve to different files", m.Path, m.LinkDestination)
	}
	return to, nil
}

// addNode adds a file to a tree and returns the reference of the new node.
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
		err = errors.New("the file tree cannot represent this entry")
	}
	return ref, err
}

// symlinks maps the paths of the symbolic links of one layer to their targets. It has the links of
// the entries added so far.
type symlinks map[string]string

// add records a symbolic link. It refuses a second link with the same name and another target,
// because some runtimes replace the first link, but stereoscope does not.
func (s symlinks) add(m file.Metadata) error {
	if m.Type != file.TypeSymLink {
		return nil
	}
	if to, ok := s[m.Path]; ok && to != m.LinkDestination {
		return refuse("%q is first a link to %q and later a link to %q", m.Path, to, m.LinkDestination)
	}
	s[m.Path] = m.LinkDestination
	return nil
}

// maxHops is the maximum number of links that are followed for one path. Linux has the same limit.
const maxHops = 40

// place returns the path of an entry after unpacking, with the links in its path resolved. With the
// unresolved path, the entry would disappear if a higher layer removed the link.
func (s symlinks) place(p string) (string, error) {
	if !s.above(p) {
		return p, nil
	}
	return walk(p, func(at string) (string, bool) { to, ok := s[at]; return to, ok })
}

// walk resolves path p as the kernel does. linkAt returns the target of the link at a path. After a
// link, ".." is relative to the target of the link, not to its location. The last element of the
// path is not resolved.
func walk(p string, linkAt func(string) (string, bool)) (string, error) {
	hops, at := 0, "/"
	folder, base := path.Split(p)
	for rest := folder; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		next := path.Join(at, name)
		to, ok := linkAt(next)
		if !ok || name == "" || name == "." || name == ".." {
			at = next
			continue
		}
		if hops++; hops > maxHops {
			return "", refuse("resolving %q follows more than %d symbolic links", p, maxHops)
		}
		if path.IsAbs(to) {
			at = "/"
		}
		rest = to + "/" + rest
	}
	return path.Join(at, base), nil
}

// above reports whether a parent folder of the path is a link.
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
