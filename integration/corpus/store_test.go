package corpus

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// created is the time of every file and image, so that digests are reproducible.
var created = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// store is the folder that keeps layers between runs, by the digest of their recipe.
type store struct {
	*testing.T
	dir   string
	suite string
}

// layer identifies a layer in the store by its digests.
type layer struct {
	Digest string `json:"digest"` // SHA-256 of the compressed tar archive, in hexadecimal
	DiffID string `json:"diffID"` // SHA-256 of the uncompressed tar archive, in hexadecimal
	Size   int64  `json:"size"`
	// Status is the content of /var/lib/dpkg/status in the layer, and StatusPath its path.
	Status     string `json:"status,omitempty"`
	StatusPath string `json:"statusPath,omitempty"`
}

// layer returns the layer with this key from the store. If it is not there yet, layer calls make to
// write it.
func (s *store) layer(key string, make func(*layerWriter) error) layer {
	s.Helper()
	path := filepath.Join(s.dir, "layers", key+".json")
	var l layer
	if data, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(data, &l); err != nil {
			s.Fatalf("reading %s: %v", path, err)
		}
		return l
	}
	w, err := s.newLayer()
	if err != nil {
		s.Fatal(err)
	}
	defer w.discard()
	if err := make(w); err != nil {
		s.Fatalf("making a layer: %v", err)
	}
	if l, err = w.finish(); err != nil {
		s.Fatalf("making a layer: %v", err)
	}
	s.writeJSON(path, l)
	return l
}

// key returns the digest of a recipe, which may consist of any values that JSON can represent.
func (s *store) key(parts ...any) string {
	s.Helper()
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(parts); err != nil {
		s.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))[:24]
}

func (s *store) writeJSON(path string, v any) {
	s.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		s.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path+".tmp", data, 0o644); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		s.Fatal(err)
	}
}

func (s *store) blob(digest string) string { return filepath.Join(s.dir, "blobs", digest) }

// layerWriter writes a layer as a compressed tar archive into the store.
type layerWriter struct {
	*tar.Writer
	store    *store
	temp     *os.File
	buffer   *bufio.Writer
	zip      *gzip.Writer
	diff     *digester
	blob     *digester
	written  map[string]bool
	status   string
	statusAt string
}

// digester is a writer that hashes and counts the bytes, and passes them to the next writer.
type digester struct {
	to  io.Writer
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	size int64
}

func (d *digester) Write(p []byte) (int, error) {
	n, err := d.to.Write(p)
	d.sum.Write(p[:n])
	d.size += int64(n)
	return n, err
}

func (d *digester) hex() string { return hex.EncodeToString(d.sum.Sum(nil)) }

func (s *store) newLayer() (*layerWriter, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, "blobs"), 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, "blobs"), "new-")
	if err != nil {
		return nil, err
	}
	w := &layerWriter{store: s, temp: f, written: map[string]bool{}}
	w.blob = &digester{to: f, sum: sha256.New()}
	if w.zip, err = gzip.NewWriterLevel(w.blob, gzip.BestSpeed); err != nil {
		return nil, err
	}
	w.diff = &digester{to: w.zip, sum: sha256.New()}
	w.buffer = bufio.NewWriterSize(w.diff, 1<<20)
	w.Writer = tar.NewWriter(w.buffer)
	return w, nil
}

// discard closes and removes the temporary file of a layer that was not completed.
func (w *layerWriter) discard() {
	w.temp.Close()
	os.Remove(w.temp.Name())
}

func (w *layerWriter) finish() (layer, error) {
	if err := w.Close(); err != nil {
		return layer{}, err
	}
	if err := w.buffer.Flush(); err != nil {
		return layer{}, err
	}
	if err := w.zip.Close(); err != nil {
		return layer{}, err
	}
	if err := w.temp.Close(); err != nil {
		return layer{}, err
	}
	l := layer{Digest: w.blob.hex(), DiffID: w.diff.hex(), Size: w.blob.size, Status: w.status, StatusPath: w.statusAt}
	if err := os.Chmod(w.temp.Name(), 0o444); err != nil {
		return layer{}, err
	}
	return l, os.Rename(w.temp.Name(), w.store.blob(l.Digest))
}

// add writes an entry. It sets the time of the entry to created.
func (w *layerWriter) add(h *tar.Header, content io.Reader) error {
	h.ModTime, h.AccessTime, h.ChangeTime = created, time.Time{}, time.Time{}
	h.Uname, h.Gname, h.Format = "", "", tar.FormatUnknown
	w.written[h.Name] = true
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("writing %s: %w", h.Name, err)
	}
	if h.Typeflag != tar.TypeReg || content == nil {
		return nil
	}
	_, err := io.Copy(w.Writer, content)
	return err
}
