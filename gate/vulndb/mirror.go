package vulndb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/distribution"
	"github.com/klauspost/compress/zstd"

	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/policy/evidence"
)

// publish writes the database in a folder to a mirror or to a single archive. In a mirror, it
// replaces latest.json only after the archive is complete.
func publish(ctx context.Context, folder, to string, info evidence.Database) (*BuildResult, error) {
	if archiveExtension(to) != "" {
		sum, err := writeArchive(ctx, folder, to, info.Built)
		return &BuildResult{Archive: to, Checksum: sum}, err
	}
	sub := filepath.Join(to, fmt.Sprintf("v%d", v6.ModelVersion))
	undo, err := mkdirAll(sub)
	if err != nil {
		return nil, err
	}
	out := &BuildResult{
		Archive: filepath.Join(sub, archiveName(info)),
		Latest:  filepath.Join(sub, distribution.LatestFileName),
	}
	if out.Checksum, err = writeArchive(ctx, folder, out.Archive, info.Built); err != nil {
		return nil, errors.Join(err, undo())
	}
	doc, err := distribution.NewArchive(out.Archive, info.Built, v6.ModelVersion, v6.Revision, v6.Addition)
	if err != nil {
		return nil, errors.Join(err, os.Remove(out.Archive), undo())
	}
	var text bytes.Buffer
	if err := distribution.NewLatestDocument(*doc).Write(&text); err != nil {
		return nil, errors.Join(err, os.Remove(out.Archive), undo())
	}
	if err := replaceFile(out.Latest, append(text.Bytes(), '\n')); err != nil {
		return nil, errors.Join(err, os.Remove(out.Archive), undo())
	}
	return out, nil
}

// archiveName returns a unique name for an archive in the naming format of the Grype project: the
// schema, the time of the oldest data, and the build time.
func archiveName(info evidence.Database) string {
	var oldest time.Time
	for _, p := range info.Providers {
		if oldest.IsZero() || p.Captured.Before(oldest) {
			oldest = p.Captured
		}
	}
	return fmt.Sprintf("vulnerability-db_v%s_%s_%d.tar.zst", info.Schema, oldest.UTC().Format(time.RFC3339), info.Built.Unix())
}

func archiveExtension(file string) string {
	for _, ext := range []string{".tar.zst", ".tar.gz"} {
		if strings.HasSuffix(file, ext) {
			return ext
		}
	}
	return ""
}

// writeArchive packs the database file of a folder into an archive and returns the archive's
// checksum. The same database always gives the same archive.
func writeArchive(ctx context.Context, folder, to string, modified time.Time) (_ string, err error) {
	db, err := os.Open(filepath.Join(folder, v6.VulnerabilityDBFileName))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	stat, err := db.Stat()
	if err != nil {
		return "", err
	}
	out, err := disk.Prepare(to, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Discard()) }()
	sum := sha256.New()
	packed, err := compressor(io.MultiWriter(out, sum), archiveExtension(to))
	if err != nil {
		return "", err
	}
	t := tar.NewWriter(packed)
	if err := t.WriteHeader(&tar.Header{
		Name: v6.VulnerabilityDBFileName, Typeflag: tar.TypeReg, Mode: 0o644,
		Size: stat.Size(), ModTime: modified, Format: tar.FormatPAX,
	}); err != nil {
		return "", err
	}
	if _, err := io.Copy(t, contextReader{ctx, db}); err != nil {
		return "", err
	}
	if err := errors.Join(t.Close(), packed.Close(), out.Sync()); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), out.Commit()
}

func compressor(w io.Writer, ext string) (io.WriteCloser, error) {
	if ext == ".tar.gz" {
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	}
	// Use one goroutine, so that the same input gives the same output.
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
}

// newestIn returns the newest archive in a mirror that publish wrote, and its checksum.
func newestIn(dir string) (file, checksum string, err error) {
	sub := filepath.Join(dir, fmt.Sprintf("v%d", v6.ModelVersion))
	f, err := os.Open(filepath.Join(sub, distribution.LatestFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("the folder does not contain v%d/%s: give an archive, or a folder that \"db build --to\" wrote", v6.ModelVersion, distribution.LatestFileName)
	}
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLatest+1))
	if err != nil {
		return "", "", err
	}
	latest, err := parseLatest(data)
	switch {
	case err != nil:
		return "", "", err
	case !filepath.IsLocal(latest.Path):
		return "", "", fmt.Errorf("%s names the archive %q, which is not a file in the mirror", distribution.LatestFileName, latest.Path)
	}
	return filepath.Join(sub, latest.Path), latest.Checksum, nil
}

// mkdirAll creates a folder and its parents. undo removes the folders that it created.
func mkdirAll(dir string) (undo func() error, err error) {
	var made []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return func() error {
		for _, d := range made {
			if err := os.Remove(d); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
