package filesystem

import (
	"path"
	"strings"

	stereoscope "github.com/anchore/stereoscope/pkg/file"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Added is a file or folder that layers add to the layers below.
type Added struct {
	Path     string // clean and absolute
	MIMEType string // empty for a folder
}

// Added returns the files and folders that the upper layers add to the lower ones. It returns false if
// the upper layers do anything else, or if that is not certain: if they change or hide a file, contain a
// link or a device, or add a file that has another name through a link of the lower layers. So if ok is
// true, every file of the lower layers stays as it is, and each added file has the returned path only.
func (a *Archives) Added(lower, upper []v1.Hash) (_ []Added, ok bool) {
	n := &newcomers{at: map[string]*newcomer{}}
	var weight int64
	for _, diffID := range upper {
		l, ok := a.listing(diffID)
		if weight += l.weight; !ok || weight > maxWeight || !n.addAll(l.entries) {
			return nil, false
		}
	}
	links := map[string]string{}
	for _, diffID := range lower {
		l, ok := a.listing(diffID)
		if weight += l.weight; !ok || weight > maxWeight {
			return nil, false
		}
		for i := range l.entries {
			m := &l.entries[i].metadata
			if !n.fits(m) {
				return nil, false
			}
			if m.Type == stereoscope.TypeSymLink {
				links[m.Path] = m.LinkDestination
			}
		}
	}
	for at, to := range links {
		if !n.unreached(at, to, links) {
			return nil, false
		}
	}
	return n.added(), true
}

func (a *Archives) listing(diffID v1.Hash) (listing, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.listed[diffID]
	return l, ok
}

// newcomers are the files and folders of the upper layers, and all folders above them.
type newcomers struct {
	at     map[string]*newcomer
	paths  []string // the keys of at, in the order of the layers
	folder string   // the folder of the last entry of the lower layers, which fits
}

type newcomer struct {
	mimeType string
	file     bool
	existed  bool // a folder that the lower layers have
}

func (n *newcomers) addAll(entries []entry) bool {
	for _, e := range entries {
		m := e.metadata
		if e.sparse || strings.HasPrefix(path.Base(m.Path), whiteout) || path.Clean("/"+m.Path) != m.Path {
			return false
		}
		switch m.Type {
		case stereoscope.TypeDirectory:
			if !n.addFolder(m.Path) {
				return false
			}
		case stereoscope.TypeRegular:
			if _, twice := n.at[m.Path]; twice || m.Path == "/" || !n.addFolder(path.Dir(m.Path)) {
				return false
			}
			n.put(m.Path, &newcomer{mimeType: m.MIMEType, file: true})
		default:
			return false
		}
	}
	return true
}

// addFolder adds a folder and all folders above it. It returns false if one of them is a file.
func (n *newcomers) addFolder(p string) bool {
	for ; p != "/"; p = path.Dir(p) {
		if known, ok := n.at[p]; ok {
			return !known.file // then the folders above are known
		}
		n.put(p, &newcomer{})
	}
	return true
}

func (n *newcomers) put(p string, one *newcomer) {
	n.at[p] = one
	n.paths = append(n.paths, p)
}

// fits reports whether an entry of the lower layers stays as it is: it is none of the newcomers, or a
// folder in both, and no newcomer is a file where the entry needs a folder.
func (n *newcomers) fits(m *stereoscope.Metadata) bool {
	if one, ok := n.at[m.Path]; ok {
		if one.file || m.Type != stereoscope.TypeDirectory {
			return false
		}
		one.existed = true
	}
	folder := path.Dir(m.Path)
	if folder == n.folder {
		return true
	}
	for p := folder; p != "/" && p != "."; p = path.Dir(p) {
		if one, ok := n.at[p]; ok {
			if one.file {
				return false
			}
			one.existed = true
		}
	}
	n.folder = folder
	return true
}

// unreached reports whether a link of the lower layers leads to no newcomer and to no folder above one.
// It looks only at the target of this link. If a chain of links leads to a newcomer, then the target of
// its last link does. It returns false for targets that a path cannot tell: with ".." after a name, or
// relative to a folder behind another link.
func (n *newcomers) unreached(at, to string, links map[string]string) bool {
	rest := to
	if !path.IsAbs(to) {
		for p := path.Dir(at); p != "/" && p != "."; p = path.Dir(p) {
			if _, behind := links[p]; behind {
				return false
			}
		}
		for strings.HasPrefix(rest, "../") || strings.HasPrefix(rest, "./") {
			_, rest, _ = strings.Cut(rest, "/")
		}
		to = path.Join(path.Dir(at), to)
	}
	if rest != ".." && strings.Contains("/"+rest+"/", "/../") {
		return false
	}
	target := path.Clean("/" + to)
	_, leads := n.at[target]
	return !leads && target != "/"
}

// added returns the newcomers that the lower layers do not have.
func (n *newcomers) added() []Added {
	out := []Added{}
	for _, p := range n.paths {
		if one := n.at[p]; !one.existed {
			out = append(out, Added{Path: p, MIMEType: one.mimeType})
		}
	}
	return out
}
