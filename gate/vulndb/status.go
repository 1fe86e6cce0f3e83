package vulndb

import (
	"context"
	"errors"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Status describes the current database of a directory.
type Status struct {
	Dir string
	// Folder is where the current database lies; empty where there is none.
	Folder   string
	Database policy.Database
	// Archive is the checksum of the file that it came in, "sha256:<hex>".
	Archive string
	// Size is the bytes of the database file.
	Size      int64
	Installed time.Time
	// Err is nil if the database was verified, else an *UnusableError that
	// says why it cannot be used; the fields above are then zero as far as
	// they could not be read.
	Err error
}

// ReadStatus verifies the current database as Open does and says what it is. An
// unusable database is no error of looking: it is in Status.Err.
func ReadStatus(ctx context.Context, dir string) (_ Status, err error) {
	s := Status{Dir: dir}
	l, err := current(ctx, dir)
	if err != nil {
		return s.orError(err)
	}
	defer func() { err = errors.Join(err, l.release()) }()
	s.Folder = l.folder
	// What the record says is shown even where the file does not match it.
	if rec, err := readRecord(l.folder); err == nil {
		s.Archive, s.Size, s.Installed = rec.Archive, rec.File.Size, rec.Installed
		s.Database = policy.Database{Built: rec.Built, Digest: rec.Digest, Source: rec.Source}
	}
	rec, err := verify(ctx, l.folder)
	if err != nil {
		return s.orError(unusable(ctx, l.dir, err))
	}
	info, err := describeFile(l.folder)
	if err != nil {
		return s.orError(&UnusableError{Problem: Corrupt, Dir: l.dir, Err: err})
	}
	info.Digest, info.Source = rec.Digest, rec.Source
	s.Database = info
	return s, nil
}

// orError keeps an unusable database as part of the status.
func (s Status) orError(err error) (Status, error) {
	var unusable *UnusableError
	if errors.As(err, &unusable) {
		s.Err = err
		return s, nil
	}
	return Status{}, err
}

// Schema is the schema that this program's database library reads: its number,
// such as "6.1.9".
func Schema() string { return clientSchema() }
