package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
)

// Compression is the compression of a layer.
type Compression int

const (
	Gzip         Compression = iota // gzip, RFC 1952
	Zstd                            // zstd, RFC 8878
	Uncompressed                    // a plain tar archive
)

// File is one entry of a layer. The path has no leading slash and is written to the archive
// unchanged. Missing parent folders are added.
type File struct {
	Path string
	// Content is the content of a regular file.
	Content string
	// Zeros is the number of zero bytes in the file, if it is used instead of Content. Such a file
	// needs almost no memory, and almost no space after compression.
	Zeros int64
	// Mode has the permission bits. Default: 0644, or 0755 for a folder.
	Mode int64
	// Link makes the entry a symbolic link to this target, HardLink makes it a hard link to this
	// path of the image, and Dir makes it a folder.
	Link, HardLink string
	Dir            bool
}

// Whiteout returns an entry that deletes a path of the lower layers.
func Whiteout(p string) File {
	dir, base := path.Split(p)
	return File{Path: dir + ".wh." + base}
}

// Opaque returns an entry that hides the content of a folder in the lower layers.
func Opaque(dir string) File { return File{Path: path.Join(dir, ".wh..wh..opq")} }

// buildLayer packs files in the given order. It returns the blob and its diffID, the digest of the
// archive before compression.
func buildLayer(files []File, c Compression) (blob []byte, diffID v1.Hash, err error) {
	var out bytes.Buffer
	packed, err := compressor(&out, c)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	hash := sha256.New()
	archive := tar.NewWriter(io.MultiWriter(hash, packed))
	folders := map[string]bool{"": true}
	for _, f := range files {
		name := strings.TrimPrefix(f.Path, "/")
		if err := addFolders(archive, folders, name); err != nil {
			return nil, v1.Hash{}, fmt.Errorf("adding the folders of %q: %w", f.Path, err)
		}
		if f.Dir {
			folders[strings.TrimSuffix(name, "/")] = true
		}
		if err := addFile(archive, name, f); err != nil {
			return nil, v1.Hash{}, fmt.Errorf("adding %q: %w", f.Path, err)
		}
	}
	if err := errors.Join(archive.Close(), packed.Close()); err != nil {
		return nil, v1.Hash{}, err
	}
	return out.Bytes(), v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(hash.Sum(nil))}, nil
}

// addFolders adds the missing parent folders of name. It does nothing for a path that leaves the
// archive with "..": tests use such paths on purpose.
func addFolders(archive *tar.Writer, have map[string]bool, name string) error {
	if strings.Contains("/"+name+"/", "/../") {
		return nil
	}
	for i, c := range name {
		if dir := name[:i]; c == '/' && i < len(name)-1 && !have[dir] {
			have[dir] = true
			if err := addFile(archive, dir, File{Dir: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

func addFile(archive *tar.Writer, name string, f File) error {
	header := &tar.Header{Name: name, Mode: f.Mode, ModTime: Created, Typeflag: tar.TypeReg}
	content := io.Reader(strings.NewReader(f.Content))
	switch {
	case f.Dir:
		header.Typeflag, header.Name = tar.TypeDir, strings.TrimSuffix(name, "/")+"/"
	case f.Link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
	case f.HardLink != "":
		header.Typeflag, header.Linkname = tar.TypeLink, strings.TrimPrefix(f.HardLink, "/")
	case f.Zeros > 0:
		header.Size, content = f.Zeros, io.LimitReader(zeros{}, f.Zeros)
	default:
		header.Size = int64(len(f.Content))
	}
	switch {
	case f.Mode != 0:
	case f.Dir:
		header.Mode = 0o755
	case f.Link != "":
		header.Mode = 0o777
	default:
		header.Mode = 0o644
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := io.Copy(archive, content)
	return err
}

// compressor returns a writer that compresses to w. The output is complete after Close.
func compressor(w io.Writer, c Compression) (io.WriteCloser, error) {
	switch c {
	case Gzip:
		return gzip.NewWriter(w), nil
	case Zstd:
		// With several threads, the compressed output could differ between machines.
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	case Uncompressed:
		return plain{w}, nil
	}
	return nil, fmt.Errorf("unknown compression %d", c)
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
