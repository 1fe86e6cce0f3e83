package vulndb

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// Limits limit the size of data that is downloaded or extracted from an archive. If a field is
// zero, its default applies.
type Limits struct {
	// Archive is the maximum size of a compressed database, in bytes. Default: 2 GiB.
	Archive int64
	// Database is the maximum size of the database file in the archive, in bytes. Default: 16 GiB.
	Database int64
}

func (l Limits) withDefaults() Limits {
	if l.Archive == 0 {
		l.Archive = 2 << 30
	}
	if l.Database == 0 {
		l.Database = 16 << 30
	}
	return l
}

const (
	// maxWindow is the largest window of compressed data, in bytes, that a decompressor keeps in
	// memory. The highest compression level of the zstd command needs this much.
	maxWindow = 128 << 20
	// maxRest is the maximum size of everything in an archive except the database file: padding,
	// and grype's small import.json.
	maxRest = 1 << 20
)

// extract writes the database file of an archive to a folder. The input can also be a bare database
// file. extract detects the format from the content of the input, not from its name.
func extract(ctx context.Context, file, folder string, limits Limits) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(contextReader{ctx, f}, 1<<20)
	magic, err := in.Peek(16)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var plain io.Reader
	switch {
	case bytes.HasPrefix(magic, []byte("SQLite format 3\x00")):
		return writeDatabase(in, folder, limits.Database)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		if plain, err = gzip.NewReader(in); err != nil {
			return fmt.Errorf("decompressing the archive: %w", err)
		}
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return fmt.Errorf("decompressing the archive: %w", err)
		}
		defer z.Close()
		plain = z
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		if plain, err = xz.NewReader(in, maxWindow); err != nil {
			return fmt.Errorf("decompressing the archive: %w", err)
		}
	default:
		return errors.New("the file is neither a tar archive compressed with gzip, zstd or xz nor a sqlite database")
	}
	return unpack(plain, folder, limits.Database)
}

// unpack extracts the database file of a tar archive. The archive must contain exactly one. unpack
// reads the archive to its end, so that it detects truncation.
func unpack(plain io.Reader, folder string, maxDatabase int64) error {
	bounded := &boundedReader{r: plain, left: maxDatabase + maxRest}
	t := tar.NewReader(bounded)
	found := false
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		switch name := strings.TrimPrefix(h.Name, "./"); {
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("the entry %q of the archive is not a regular file", h.Name)
		case name == v6.ImportMetadataFileName:
			// import.json has grype's checksum of the database file on the machine that packed it.
			// imagegate does not need it.
		case name != v6.VulnerabilityDBFileName:
			return fmt.Errorf("the archive contains the unexpected file %q; only %s is allowed", h.Name, v6.VulnerabilityDBFileName)
		case found:
			return fmt.Errorf("the archive contains %q twice", h.Name)
		default:
			found = true
			if err := writeDatabase(t, folder, maxDatabase); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("the archive does not contain %s", v6.VulnerabilityDBFileName)
	}
	// Read to the end of the stream, because the checksum of the compressed stream follows the end
	// of the tar archive.
	if _, err := io.Copy(io.Discard, bounded); err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	return nil
}

func writeDatabase(r io.Reader, folder string, limit int64) (err error) {
	f, err := os.OpenFile(filepath.Join(folder, v6.VulnerabilityDBFileName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	if n > limit {
		return fmt.Errorf("the database file is larger than %d bytes", limit)
	}
	return nil
}

// boundedReader is a reader that returns an error, not io.EOF, if its content is larger than the
// limit.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the content of the archive is larger than allowed")
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
