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

	"github.com/imagegate/imagegate/policy"
)

// origin says where a database file that is being installed comes from.
type origin struct {
	source  string // for people, without credentials
	archive string // "sha256:<hex>" of the file it came in
	// checked is whether archive was known beforehand, so that the bytes are
	// those that their publisher meant.
	checked bool
	now     time.Time
}

// install checks the database file in a temporary folder, adds the indexes that
// published databases leave out, and makes it the current one. accept may
// refuse the database by what it says of itself. The temporary folder is gone
// afterwards, whatever happens.
func (w *writer) install(ctx context.Context, tmp string, from origin, accept func(policy.Database) error) (_ policy.Database, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	file := filepath.Join(tmp, v6.VulnerabilityDBFileName)
	if !from.checked {
		if err := checkIntegrity(ctx, file); err != nil {
			return policy.Database{}, err
		}
	}
	published, err := fullHash(ctx, file)
	if err != nil {
		return policy.Database{}, err
	}
	info, err := describeFile(tmp)
	if err != nil {
		return policy.Database{}, err
	}
	info.Digest, info.Source = "sha256:"+published.sha256, from.source
	if err := accept(info); err != nil {
		return policy.Database{}, err
	}
	if err := v6.Hydrater()(tmp); err != nil {
		return policy.Database{}, fmt.Errorf("adding indexes: %w", err)
	}
	indexed, err := fullHash(ctx, file)
	if err != nil {
		return policy.Database{}, err
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
		return policy.Database{}, err
	}
	if err := w.commit(ctx, tmp, rec); err != nil {
		return policy.Database{}, fmt.Errorf("making the database current: %w", err)
	}
	return info, nil
}

// finish puts what belongs beside a database file into its folder, and all of
// it onto the disk.
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

// describeFile opens the database in a folder just to ask what it is.
func describeFile(folder string) (policy.Database, error) {
	r, err := v6.NewReader(v6.Config{DBDirPath: folder})
	if err != nil {
		return policy.Database{}, fmt.Errorf("opening the database: %w", err)
	}
	info, err := describe(r)
	return info, errors.Join(err, r.Close())
}

// checkIntegrity has sqlite look through the whole file. It opens truncated and
// damaged files without a word and fails only when a query meets the damage.
func checkIntegrity(ctx context.Context, file string) (err error) {
	// The driver is the one that grype brings.
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
