package vulndb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/imagegate/imagegate/policy/evidence"
)

// origin describes the source of a database file during its installation.
type origin struct {
	source  string // the URL or file name for messages, without credentials
	archive string // the checksum of the archive, "sha256:<hex>"
	// checked means that the archive matched a checksum that was known in advance.
	checked bool
	now     time.Time
}

// install checks the database file in the temporary folder tmp, adds the indexes that published
// databases omit, and makes the database current. accept may refuse the database because of its
// metadata. install always removes the temporary folder.
func (w *writer) install(ctx context.Context, tmp string, from origin, accept func(evidence.Database) error) (_ evidence.Database, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	file := filepath.Join(tmp, v6.VulnerabilityDBFileName)
	if !from.checked {
		if err := checkIntegrity(ctx, file); err != nil {
			return evidence.Database{}, err
		}
	}
	published, err := fullHash(ctx, file)
	if err != nil {
		return evidence.Database{}, err
	}
	info, err := describeFile(tmp)
	if err != nil {
		return evidence.Database{}, err
	}
	info.Digest, info.Source = "sha256:"+published.sha256, from.source
	if err := accept(info); err != nil {
		return evidence.Database{}, err
	}
	if err := v6.Hydrater()(tmp); err != nil {
		return evidence.Database{}, fmt.Errorf("adding indexes to the database: %w", err)
	}
	indexed, err := fullHash(ctx, file)
	if err != nil {
		return evidence.Database{}, err
	}
	rec := record{
		Digest:    info.Digest,
		Archive:   from.archive,
		File:      recordFile{SHA256: indexed.sha256, XXH64: indexed.xxh64, Size: indexed.size},
		Source:    from.source,
		Built:     info.Built,
		Installed: from.now.UTC(),
		Client:    clientSchema(),
	}
	if err := finish(tmp, file, rec); err != nil {
		return evidence.Database{}, err
	}
	if err := w.commit(ctx, tmp, rec); err != nil {
		return evidence.Database{}, fmt.Errorf("making the database current: %w", err)
	}
	return info, nil
}

// finish writes the record and the lock file of a database next to its file, and syncs everything
// to disk.
func finish(folder, file string, rec record) error {
	if err := rec.write(folder); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, lockName), nil, 0o644); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o644), f.Sync(), f.Close(), syncDir(folder))
}

// describeFile opens the database in a folder and returns its metadata.
func describeFile(folder string) (evidence.Database, error) {
	r, err := v6.NewReader(v6.Config{DBDirPath: folder})
	if err != nil {
		return evidence.Database{}, fmt.Errorf("opening the database: %w", err)
	}
	info, err := describe(r)
	return info, errors.Join(err, r.Close())
}

// checkIntegrity makes SQLite check the whole file. SQLite opens truncated and damaged files
// without an error, and only fails when a query reaches the damage.
func checkIntegrity(ctx context.Context, file string) (err error) {
	// Package grype registers the SQLite driver.
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro&immutable=1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var answer string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return fmt.Errorf("checking the database: %w", err)
	}
	if answer != "ok" {
		return fmt.Errorf("checking the database: %s", answer)
	}
	return nil
}
