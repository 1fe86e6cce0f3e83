package vulndb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/imagegate/imagegate/internal/disk"
)

const (
	recordName    = "record.json"
	recordVersion = 1
	maxRecord     = 64 << 10
)

// record stands beside a database file and says what was installed.
type record struct {
	Version int `json:"version"`
	// Digest is the SHA-256 of the database file as published, and Archive
	// that of the file it came in, "sha256:<hex>".
	Digest  string     `json:"digest"`
	Archive string     `json:"archive"`
	File    recordFile `json:"file"`
	// Source is a URL without credentials, or a file's base name.
	Source    string    `json:"source"`
	Built     time.Time `json:"built"`
	Installed time.Time `json:"installed"`
	// Client is the schema for which indexes were added.
	Client string `json:"client"`
}

// recordFile describes the database file as it lies in the folder, with
// indexes.
type recordFile struct {
	SHA256 string `json:"sha256"` // hex
	XXH64  string `json:"xxh64"`  // hex
	Size   int64  `json:"size"`
}

var hex64 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readRecord reads a folder's record strictly.
func readRecord(folder string) (record, error) {
	f, err := os.Open(filepath.Join(folder, recordName))
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return record{}, err
	}
	if len(data) > maxRecord {
		return record{}, fmt.Errorf("reading %s: it is longer than %d bytes", f.Name(), maxRecord)
	}
	var rec record
	if err := decodeStrict(data, &rec); err != nil {
		return record{}, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if rec.Version != recordVersion || !hex64.MatchString(rec.File.SHA256) {
		return record{}, fmt.Errorf("reading %s: it is not a record of version %d", f.Name(), recordVersion)
	}
	return rec, nil
}

// decodeStrict reads exactly one JSON value without unknown fields.
func decodeStrict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is more after the first value")
	}
	return nil
}

// write puts the record into a folder, at once or not at all.
func (rec record) write(folder string) error {
	rec.Version = recordVersion
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(folder, recordName), append(data, '\n'))
}

// replaceFile writes a file at once or not at all, and through to the disk.
func replaceFile(file string, data []byte) (err error) {
	f, err := disk.Prepare(file, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Discard()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Commit()
}
