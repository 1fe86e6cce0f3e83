// Package vulndb manages the vulnerability database. It fetches, imports, builds, verifies and
// opens grype's schema 6 databases, and reports their age and coverage.
//
// [Update] or [Import] installs a database in a directory. [Open] verifies and opens the current
// database. grype's matchers read from [DB.Provider]. After matching, [DB.Err] reports whether all
// reads of the matchers succeeded. [CheckAge] checks the dates. [Build] makes a database from
// provider records and private advisories, as an archive or as a mirror for Update.
//
// A directory has one folder for each database, and a pointer file that names the current one. The
// name of a folder is the SHA-256 of its database file. A new database gets a new folder, and then
// the pointer changes, so that readers of the old database are not disturbed. Any number of
// processes may open, update and import at the same time.
//
// The package trusts a directory and its folders if only this user or root can write to them.
// Otherwise it returns a *disk.UntrustedError. The checksums in a folder detect damage, but do not
// prove who wrote the files. With a pinned checksum, Import and Update always install from the
// archive, whatever the directory contains. Only Update uses the network.
package vulndb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/vulnerability"

	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/policy/evidence"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	reader     *recordingReader
	provider   *recordingProvider
	failures   *failures
	info       evidence.Database
	readerLock *readerLock
	coverage   coverage
	identity   string
}

// Open verifies the current database in dir against the checksum computed at installation, and
// opens the database. It reads the whole file. The folder is not removed until the DB is closed.
//
// If no database is installed, or the file does not match its record, the error is an
// *UnusableError. Open does not check the age; see CheckAge.
func Open(ctx context.Context, dir string) (*DB, error) {
	l, err := current(ctx, dir)
	if err != nil {
		return nil, err
	}
	db, err := open(ctx, l)
	if err != nil {
		return nil, errors.Join(err, l.release())
	}
	return db, nil
}

func open(ctx context.Context, l *readerLock) (*DB, error) {
	rec, err := verify(ctx, l.folder)
	if err != nil {
		return nil, unusable(ctx, l.dir, err)
	}
	reader, err := v6.NewReader(v6.Config{DBDirPath: l.folder})
	if err != nil {
		return nil, &UnusableError{Problem: Corrupt, Dir: l.dir, Err: err}
	}
	info, err := describe(reader)
	if err != nil {
		return nil, errors.Join(&UnusableError{Problem: Corrupt, Dir: l.dir, Err: err}, reader.Close())
	}
	info.Digest, info.Source = rec.Digest, rec.Source

	f := &failures{}
	recording, err := newRecordingReader(reader, info, f)
	if err != nil {
		return nil, errors.Join(&UnusableError{Problem: Corrupt, Dir: l.dir, Err: err}, reader.Close())
	}
	return &DB{
		reader:     recording,
		provider:   newProvider(recording, f),
		failures:   f,
		info:       info,
		readerLock: l,
		identity:   fmt.Sprintf("%s %s %d %s", rec.File.SHA256, rec.File.XXH64, rec.File.Size, rec.Client),
	}, nil
}

// Provider returns the provider that grype's matchers search. It behaves like grype's own provider,
// and also records every error, including errors that grype only logs. Closing the provider does
// nothing: close the DB instead.
func (db *DB) Provider() vulnerability.Provider { return db.provider }

// Err returns all read errors since the database was opened, joined into one error, or nil. If Err
// is not nil, the matches are incomplete.
func (db *DB) Err() error { return db.failures.err() }

// Info returns the source and the dates of the database. Digest is the digest of the database file
// as published, before indexes were added to it on this machine.
func (db *DB) Info() evidence.Database {
	info := db.info
	info.Providers = slices.Clone(info.Providers)
	return info
}

// Identity identifies the content of the database file and the schema of this build. Two
// databases with the same identity have the same advisories.
func (db *DB) Identity() string { return db.identity }

// Close closes the database. After that, its folder can be removed when it is no longer current.
func (db *DB) Close() error {
	return errors.Join(db.reader.Close(), db.readerLock.release())
}

// describe returns the schema, the build time and the providers that the database states. It
// returns an error if the build time or all providers are missing.
func describe(r v6.Reader) (evidence.Database, error) {
	meta, err := r.GetDBMetadata()
	if err != nil {
		return evidence.Database{}, fmt.Errorf("reading the database's metadata: %w", err)
	}
	if meta.BuildTimestamp == nil || meta.BuildTimestamp.IsZero() {
		return evidence.Database{}, errors.New("the database does not state when it was built")
	}
	providers, err := r.AllProviders()
	if err != nil {
		return evidence.Database{}, fmt.Errorf("reading the database's providers: %w", err)
	}
	// A database without providers has no advisories, so matching any image against it finds
	// nothing.
	if len(providers) == 0 {
		return evidence.Database{}, errors.New("the database has no providers")
	}
	info := evidence.Database{
		Schema:    fmt.Sprintf("%d.%d.%d", meta.Model, meta.Revision, meta.Addition),
		Built:     meta.BuildTimestamp.UTC(),
		Providers: []evidence.Provider{},
	}
	for _, p := range providers {
		one := evidence.Provider{Name: p.ID}
		if p.DateCaptured != nil {
			one.Captured = p.DateCaptured.UTC()
		}
		info.Providers = append(info.Providers, one)
	}
	return info, nil
}

// verify compares a folder's database file with the record in the folder.
func verify(ctx context.Context, folder string) (record, error) {
	if err := checkFolder(folder); err != nil {
		return record{}, err
	}
	rec, err := readRecord(folder)
	if err != nil {
		return record{}, err
	}
	if want := folderName(rec.File.SHA256); filepath.Base(folder) != want {
		return record{}, fmt.Errorf("the record in folder %s is for another database, %s", filepath.Base(folder), want)
	}
	got, err := fastHash(ctx, filepath.Join(folder, v6.VulnerabilityDBFileName))
	if err != nil {
		return record{}, err
	}
	if got.size != rec.File.Size || got.xxh64 != rec.File.XXH64 {
		return record{}, fmt.Errorf("the database file changed after it was installed: %d bytes with checksum xxh64:%s, not %d with xxh64:%s",
			got.size, got.xxh64, rec.File.Size, rec.File.XXH64)
	}
	if rec.Client != clientSchema() {
		return record{}, &UnusableError{Problem: Missing, Dir: filepath.Dir(folder),
			Err: fmt.Errorf("the installed database was prepared for schema %q, but this build of imagegate reads %q", rec.Client, clientSchema())}
	}
	return rec, nil
}

// checkFolder refuses a folder that another user could change. It also refuses unexpected files,
// because SQLite would read a journal file next to a database.
func checkFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	if err := disk.Trusted(folder); err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case disk.IsPartial(name):
			continue // This is a temporary file of a writer that was killed.
		case name != v6.VulnerabilityDBFileName && name != recordName && name != lockName:
			return fmt.Errorf("unexpected file %q in %s", name, folder)
		case !e.Type().IsRegular():
			return fmt.Errorf("%q in %s is not a regular file", name, folder)
		}
		if err := disk.Trusted(filepath.Join(folder, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// unusable wraps an error of verify in an *UnusableError. It returns these errors unchanged: an
// *UnusableError, an untrusted folder, a missing permission, and the end of the context.
func unusable(ctx context.Context, dir string, err error) error {
	var already *UnusableError
	var untrusted *disk.UntrustedError
	if errors.As(err, &already) || errors.As(err, &untrusted) || ctx.Err() != nil || errors.Is(err, fs.ErrPermission) {
		return err
	}
	return &UnusableError{Problem: Corrupt, Dir: dir, Err: err}
}

// clientSchema returns the database schema of this build's grype. Installation adds indexes for
// this schema.
func clientSchema() string {
	return fmt.Sprintf("%d.%d.%d", v6.ModelVersion, v6.Revision, v6.Addition)
}

// checkDir returns the absolute path of dir. It refuses directory names that SQLite could not open,
// because grype passes paths to SQLite as URIs without escaping them.
func checkDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no directory given for the vulnerability database")
	}
	if strings.ContainsAny(dir, "?#%") {
		return "", fmt.Errorf("invalid vulnerability database directory %q: the characters ?, # and %% are not supported", dir)
	}
	return filepath.Abs(dir)
}
