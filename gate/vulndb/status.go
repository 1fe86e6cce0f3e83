package vulndb

import (
	"context"
	"errors"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Status describes the current database of a directory.
type Status struct {
	Dir string
	// Folder is the folder of the current database. It is empty if no database is installed.
	Folder   string
	Database evidence.Database
	// Archive is the checksum of the archive that contained the database, "sha256:<hex>".
	Archive string
	// Size is the size of the database file, in bytes.
	Size      int64
	Installed time.Time
	// Err is nil if the database was verified. Otherwise it is an *UnusableError with the reason.
	// Fields that could not be read are then zero.
	Err error
}

// ReadStatus verifies the current database as Open does, and describes it. If the database cannot
// be used, ReadStatus returns no error, and Status.Err has the reason.
func ReadStatus(ctx context.Context, dir string) (_ Status, err error) {
	s := Status{Dir: dir}
	l, err := current(ctx, dir)
	if err != nil {
		return s.orError(err)
	}
	defer func() { err = errors.Join(err, l.release()) }()
	s.Folder = l.folder
	// Show the data in the record even if the database file does not match the record.
	if rec, err := readRecord(l.folder); err == nil {
		s.Archive, s.Size, s.Installed = rec.Archive, rec.File.Size, rec.Installed
		s.Database = evidence.Database{Built: rec.Built, Digest: rec.Digest, Source: rec.Source}
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

// orError sets Status.Err and returns a nil error if err is an *UnusableError. Otherwise it returns
// err.
func (s Status) orError(err error) (Status, error) {
	var unusable *UnusableError
	if errors.As(err, &unusable) {
		s.Err = err
		return s, nil
	}
	return Status{}, err
}

// Schema returns the database schema that this build reads, such as "6.1.9".
func Schema() string { return clientSchema() }
