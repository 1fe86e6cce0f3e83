package vulndb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// ImportOptions configure Import.
type ImportOptions struct {
	// Dir is the directory of the databases. Import creates it if it does not exist.
	Dir string
	// File is a database archive (.tar.zst, .tar.gz or .tar.xz), a bare database file, or the
	// folder of a mirror, as Build writes it. From a mirror, Import takes the newest archive and
	// verifies its checksum in latest.json.
	File string
	// Checksum is the expected checksum of the file, "sha256:<hex>". Default: no check.
	Checksum string
	Limits   Limits
	// Now returns the current time.
	Now func() time.Time
}

// Import installs a database file and makes it the current database, for machines that cannot reach
// a feed. The file may be older than the current database, because importing is an explicit choice.
// CheckAge still checks the age. If the database is already current and intact, Import changes
// nothing, unless Checksum is set. On an error the current database does not change.
func Import(ctx context.Context, opts ImportOptions) (_ evidence.Database, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("importing the vulnerability database %s: %w", opts.File, err)
		}
	}()
	if opts.Now == nil {
		return evidence.Database{}, errors.New("no clock given")
	}
	if err := checkChecksum(opts.Checksum); err != nil {
		return evidence.Database{}, err
	}
	limits := opts.Limits.withDefaults()

	w, err := lockForWriting(ctx, opts.Dir)
	if err != nil {
		return evidence.Database{}, err
	}
	defer func() { err = errors.Join(err, w.close()) }()

	file, published := opts.File, ""
	stat, err := os.Stat(file)
	if err == nil && stat.IsDir() {
		if file, published, err = newestIn(file); err == nil {
			stat, err = os.Stat(file)
		}
	}
	if err != nil {
		return evidence.Database{}, err
	}
	// The file may be a bare database, so use the larger of the two limits. This check only avoids
	// hashing an endless file. extract checks the exact limits.
	if !stat.Mode().IsRegular() || stat.Size() > max(limits.Archive, limits.Database) {
		return evidence.Database{}, errors.New("the file is not a regular file or is too large")
	}
	archive, err := fullHash(ctx, file)
	if err != nil {
		return evidence.Database{}, err
	}
	from := origin{
		source:  filepath.Base(file),
		archive: "sha256:" + archive.sha256,
		checked: opts.Checksum != "",
		now:     opts.Now(),
	}
	if from.checked && from.archive != opts.Checksum {
		return evidence.Database{}, fmt.Errorf("the file has checksum %s, not the expected checksum %s", from.archive, opts.Checksum)
	}
	if published != "" && from.archive != published {
		return evidence.Database{}, fmt.Errorf("the checksum of %s is %s, but latest.json of the mirror lists %s", file, from.archive, published)
	}
	// With a pinned checksum, always install the file. Only the record in Dir states that the
	// current database came from this file, and a user who pins a checksum does not trust the
	// record.
	if have := w.installed(ctx); have != nil && have.record.Archive == from.archive && !from.checked {
		return have.info, nil
	}
	return w.installArchive(ctx, file, limits, from, func(evidence.Database) error { return nil })
}

// installArchive extracts an archive and installs its database.
func (w *writer) installArchive(ctx context.Context, file string, limits Limits, from origin, accept func(evidence.Database) error) (evidence.Database, error) {
	tmp, err := w.temporary()
	if err != nil {
		return evidence.Database{}, err
	}
	if err := extract(ctx, file, tmp, limits); err != nil {
		return evidence.Database{}, errors.Join(err, os.RemoveAll(tmp))
	}
	return w.install(ctx, tmp, from, accept)
}

// checkChecksum returns an error unless s is "sha256:<hex>" or empty.
func checkChecksum(s string) error {
	if s != "" && !isChecksum(s) {
		return fmt.Errorf("invalid checksum %q: expected sha256: and 64 hexadecimal digits in lower case", s)
	}
	return nil
}

func isChecksum(s string) bool {
	return len(s) > 7 && s[:7] == "sha256:" && hex64.MatchString(s[7:])
}
