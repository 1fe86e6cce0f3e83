package unpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"time"
)

// stack has the layers of an image, generated from a random seed.
type stack struct {
	r      *rand.Rand
	tame   bool // true: generate entries as image builders do, so that the gate refuses only few stacks
	serial int
	paths  []string // the paths in the layers so far
	files  []string // the possible targets of hard links
	layers [][]byte
}

func newStack(t *testing.T, seed uint64) *stack {
	s := &stack{r: rand.New(rand.NewPCG(seed, 42))}
	s.tame = s.r.IntN(2) == 0
	for range 1 + s.r.IntN(4) {
		s.layers = append(s.layers, s.layer(t))
	}
	return s
}

func (s *stack) one(of ...string) string { return of[s.r.IntN(len(of))] }

// name returns a random path. There are only few possible names, so that different entries often
// have the same path.
func (s *stack) name() string {
	if len(s.paths) > 0 && s.r.IntN(3) == 0 {
		p := s.paths[s.r.IntN(len(s.paths))]
		if s.r.IntN(3) == 0 {
			p += s.one("/a", "/b", "/c/d") // extend the path, so that it leads into a folder or through a link
		}
		return p
	}
	parts := make([]string, 1+s.r.IntN(3))
	for i := range parts {
		parts[i] = s.one("a", "b", "c", "d", "status.d")
	}
	return strings.Join(parts, "/")
}

// layer returns the archive of one generated layer.
func (s *stack) layer(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	flush := func(err error) {
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	here, below := map[string]byte{}, s.files
	if s.r.IntN(3) > 0 {
		s.files = nil
	}
	defer func() { s.files = append(s.files, below...) }()
	for range 1 + s.r.IntN(9) {
		h, content := s.entry(here)
		p := path.Clean("/" + h.Name)[1:]
		if s.tame {
			_, hides := here[strings.Replace(p, ".wh.", "", 1)]
			if _, ok := here[p]; ok || hides || p == "" || s.isBelowFile(here, p) {
				continue
			}
			for i := range len(p) {
				if p[i] == '/' && here[p[:i]] == 0 {
					here[p[:i]] = tar.TypeDir
					flush(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: p[:i] + "/", Mode: 0o755, ModTime: time.Unix(1, 0)}))
				}
			}
		}
		// The gate refuses two entries of different types at one path, so stacks with such entries
		// test little.
		if before, ok := here[p]; (ok && before != h.Typeflag || s.isBelowFile(here, p)) && s.r.IntN(8) > 0 {
			continue
		}
		here[p] = h.Typeflag
		if h.Typeflag != tar.TypeXGlobalHeader && !strings.HasPrefix(path.Base(p), ".wh.") {
			s.paths = append(s.paths, p)
			if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeLink {
				s.files = append(s.files, p)
			}
		}
		if h.Typeflag == tar.TypeReg && len(content) > 0 && s.r.IntN(12) == 0 {
			flush(nil)
			buf.Write(sparse(t, h.Name, content))
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			continue // the writer refused an invalid header and wrote nothing
		}
		_, err := w.Write([]byte(content))
		flush(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func (s *stack) isBelowFile(here map[string]byte, p string) bool {
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		if typ, ok := here[d]; ok && typ != tar.TypeDir && (s.tame || typ != tar.TypeSymlink) {
			return true
		}
	}
	return false
}

// entry returns the header and the content of one generated entry.
func (s *stack) entry(here map[string]byte) (*tar.Header, string) {
	s.serial++
	h := &tar.Header{Typeflag: tar.TypeReg, Name: s.name(), Mode: int64(s.r.IntN(0o10000)) | 0o400, ModTime: time.Unix(int64(s.serial), 0), Format: tar.FormatPAX}
	content := ""
	switch s.r.IntN(20) {
	case 0, 1:
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, h.Name+"/", h.Mode|0o700
	case 2, 3, 4:
		h.Typeflag, h.Linkname = tar.TypeSymlink, s.one("", "/", "../", "./")+s.name()
	case 5, 6, 7:
		h.Typeflag, h.Linkname = tar.TypeLink, s.one("", "", "/", "./", "a/../")+s.name()
		switch { // choose an existing target, because runtimes refuse a hard link without a target
		case len(s.files) > 0 && (s.tame || s.r.IntN(8) > 0):
			h.Linkname = s.files[s.r.IntN(len(s.files))]
		case s.r.IntN(8) > 0:
			h.Typeflag, h.Linkname = tar.TypeReg, ""
		}
	case 8, 9, 10:
		folder, base := path.Split(h.Name)
		h.Name = folder + ".wh." + base
	case 11:
		h.Name = path.Join(path.Dir(h.Name), ".wh..wh..opq")
	case 12:
		h.Typeflag = []byte{tar.TypeChar, tar.TypeBlock, tar.TypeFifo}[s.r.IntN(3)]
		if h.Typeflag != tar.TypeFifo && (s.tame || s.r.IntN(4) > 0) {
			h.Devmajor, h.Devminor = 1, 3
		}
	default:
		content = fmt.Sprintf("file %d", s.serial)
		h.Size = int64(len(content))
	}
	switch {
	case s.r.IntN(10) == 0:
		if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeDir {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "x"}
		}
	case !s.tame && s.r.IntN(40) == 0:
		h.PAXRecords = map[string]string{"SCHILY.xattr." + s.one("user.overlay.opaque", "trusted.overlay.redirect", "user.overlay.redirect"): s.one("y", "/a", "/b/c")}
	case !s.tame && s.r.IntN(40) == 0:
		record := s.one("comment", "path", "linkpath")
		return &tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{record: s.name()}}, ""
	case !s.tame && s.r.IntN(10) == 0:
		h.Name = s.one("/", "./", "../", "c/../", "b//") + h.Name
	}
	return h, content
}

// sparse returns a tar archive with a sparse file in GNU tar's format. The archive omits the zeros
// at the end of the file.
func sparse(t *testing.T, name, content string) []byte {
	t.Helper()
	packed := fmt.Sprintf("1\n0\n%d\n", len(content))
	packed += strings.Repeat("\x00", 512-len(packed)) + content
	records := ""
	for _, r := range []string{"major=1", "minor=0", "name=" + name, fmt.Sprint("realsize=", len(content)+1000)} {
		r = " GNU.sparse." + r + "\n"
		n := len(r) + 2 // a record begins with its own length, which has two digits here
		records += fmt.Sprint(n) + r
	}
	var buf bytes.Buffer
	for _, m := range []struct {
		typ     byte
		content string
	}{{tar.TypeXHeader, records}, {tar.TypeReg, packed}} {
		w := tar.NewWriter(&buf)
		at := buf.Len()
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/file", Mode: 0o644, Size: int64(len(m.content)), Format: tar.FormatUSTAR})
		if err == nil {
			_, err = w.Write([]byte(m.content))
		}
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		header := buf.Bytes()[at : at+512]
		header[156] = m.typ
		copy(header[148:156], "        ")
		sum := 0
		for _, b := range header {
			sum += int(b)
		}
		copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return buf.Bytes()
}
