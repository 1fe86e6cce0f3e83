package filesystem

import (
	"bytes"
	"encoding/gob"
	"io/fs"
	"time"

	stereoscope "github.com/anchore/stereoscope/pkg/file"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/layers"
)

// noted is an entry of a listing, as a [layers.Memory] keeps it.
type noted struct {
	Name            string
	Path, Link      string
	Bytes           int64
	Mode            fs.FileMode
	Seconds         int64
	Nanoseconds     int
	UserID, GroupID int
	Type            int
	MIMEType        string
	At, Size        int64
	Sparse          bool
	Searched        int32
}

// Notes returns the functions that let layers remember listings. build identifies this code.
func (a *Archives) Notes(build string) layers.Notes {
	return layers.Notes{Build: build, Of: a.notesOf, Use: a.use}
}

// notesOf returns a function that encodes the listing of a layer. It returns nil if the layer is not
// listed.
func (a *Archives) notesOf(diffID v1.Hash) func() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.listed[diffID]
	if !ok {
		return nil
	}
	return func() []byte { return encodeListing(l) }
}

func encodeListing(l listing) []byte {
	out := make([]noted, len(l.entries))
	for i, e := range l.entries {
		m := e.metadata
		at := m.ModTime()
		out[i] = noted{Name: m.Name(), Path: m.Path, Link: m.LinkDestination, Bytes: m.FileInfo.Size(), Mode: m.Mode(),
			Seconds: at.Unix(), Nanoseconds: at.Nanosecond(), UserID: m.UserID, GroupID: m.GroupID, Type: int(m.Type), MIMEType: m.MIMEType,
			At: e.at, Size: e.size, Sparse: e.sparse}
		if e.search != nil {
			out[i].Searched = e.search.state.Load()
		}
	}
	var data bytes.Buffer
	if gob.NewEncoder(&data).Encode(out) != nil {
		return nil
	}
	return data.Bytes()
}

// use lists a layer from notes, with the same limit as [Archives.List].
func (a *Archives) use(diffID v1.Hash, notes []byte) bool {
	var all []noted
	if gob.NewDecoder(bytes.NewReader(notes)).Decode(&all) != nil {
		return false
	}
	l := listing{entries: make([]entry, len(all))}
	before := ""
	for i, n := range all {
		m := stereoscope.Metadata{
			FileInfo: stereoscope.ManualInfo{NameValue: n.Name, SizeValue: n.Bytes, ModeValue: n.Mode, ModTimeValue: time.Unix(n.Seconds, int64(n.Nanoseconds))},
			Path:     n.Path, LinkDestination: n.Link, UserID: n.UserID, GroupID: n.GroupID, Type: stereoscope.Type(n.Type), MIMEType: n.MIMEType,
		}
		e := entry{metadata: m, at: n.At, size: n.Size, sparse: n.Sparse}
		if !n.Sparse && n.Size > 0 {
			e.search = &search{}
			e.search.state.Store(n.Searched)
		}
		l.entries[i] = e
		weight := weightOf(m, before)
		if n.Sparse && n.Size <= maxSparse {
			weight += n.Size
		}
		if !a.weigh(weight) {
			a.unweigh(l.weight)
			return false
		}
		l.weight += weight
		before = m.Path
	}
	a.put(diffID, l)
	return true
}
