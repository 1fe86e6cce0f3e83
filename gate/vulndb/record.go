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
	recordVersion = 2
	maxRecord     = 64 << 10
)

// record describes an installed database. It is stored in the folder of the database file.
type record struct {
	Version int `json:"version"`
	// Digest is the SHA-256 of the database file as published. Archive is the SHA-256 of the file
	// that contained it. Both have the form "sha256:<hex>".
	Digest  string     `json:"digest"`
	Archive string     `json:"archive"`
	File    recordFile `json:"file"`
	// Source is a URL without credentials, or the base name of a file.
	Source    string    `json:"source"`
	Built     time.Time `json:"built"`
	Installed time.Time `json:"installed"`
	// Client is the database schema of the grype version that added the indexes.
	Client string `json:"client"`
}

// recordFile describes the database file in the folder, with the added indexes.
type recordFile struct {
	SHA256 string `json:"sha256"` // in hexadecimal
	XXH64  string `json:"xxh64"`  // of the XXH64 of each chunk, in hexadecimal; see fastHash
	Size   int64  `json:"size"`
}

var hex64 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readRecord reads the record of a folder. Unknown fields are an error.
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
		return record{}, fmt.Errorf("reading %s: the record is larger than %d bytes", f.Name(), maxRecord)
	}
	var rec record
	if err := decodeStrict(data, &rec); err != nil {
		return record{}, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if rec.Version != recordVersion || !hex64.MatchString(rec.File.SHA256) {
		return record{}, fmt.Errorf("reading %s: the file is not a record of version %d", f.Name(), recordVersion)
	}
	return rec, nil
}

// decodeStrict parses exactly one JSON value. Unknown fields are an error.
func decodeStrict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("found data after the first JSON value")
	}
	return nil
}

// write writes the record to a folder atomically.
func (rec record) write(folder string) error {
	rec.Version = recordVersion
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(folder, recordName), append(data, '\n'))
}

// replaceFile writes a file atomically and syncs it to disk.
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
