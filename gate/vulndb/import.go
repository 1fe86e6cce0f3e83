package vulndb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// ImportOptions configure Import.
type ImportOptions struct {
	// Dir is the directory of the databases. Import creates it if it does not exist.
	Dir string
	// File is a database archive (.tar.zst, .tar.gz or .tar.xz), a bare database file, or the folder
	// of a mirror, as Build writes it. Of a mirror, Import takes the newest archive and verifies the
	// checksum that the mirror states.
	File string
	// Checksum is the expected checksum of the file, "sha256:<hex>". Default: any file is accepted.
	Checksum string
	Limits   Limits
	// Now returns the current time.
	Now func() time.Time
}

// Import makes a file the current database, for machines that cannot reach a feed. The file may be
// older than the current database, because importing is an explicit choice; CheckAge still checks
// its age. If the file is already current and intact, Import changes nothing, unless Checksum is
// set. On an error the current database does not change.
func Import(ctx context.Context, opts ImportOptions) (_ policy.Database, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("importing the vulnerability database %s: %w", opts.File, err)
		}
	}()
	if opts.Now == nil {
		return policy.Database{}, errors.New("no clock")
	}
	if err := checkChecksum(opts.Checksum); err != nil {
		return policy.Database{}, err
	}
	limits := opts.Limits.withDefaults()

	w, err := lockForWriting(ctx, opts.Dir)
	if err != nil {
		return policy.Database{}, err
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
		return policy.Database{}, err
	}
	// A bare database file has the larger limit. This check only prevents reading without end.
	if !stat.Mode().IsRegular() || stat.Size() > max(limits.Archive, limits.Database) {
		return policy.Database{}, errors.New("it is not a regular file, or it is too large")
	}
	archive, err := fullHash(ctx, file)
	if err != nil {
		return policy.Database{}, err
	}
	from := origin{
		source:  filepath.Base(file),
		archive: "sha256:" + archive.sha256,
		checked: opts.Checksum != "",
		now:     opts.Now(),
	}
	if from.checked && from.archive != opts.Checksum {
		return policy.Database{}, fmt.Errorf("its checksum is %s, not %s", from.archive, opts.Checksum)
	}
	if published != "" && from.archive != published {
		return policy.Database{}, fmt.Errorf("the checksum of %s is %s, but the mirror states %s", file, from.archive, published)
	}
	// With a pinned checksum, always install the file. Only the record in Dir states that the
	// current database came from it, and a user who pins a checksum does not trust that record.
	if have := w.installed(ctx); have != nil && have.record.Archive == from.archive && !from.checked {
		return have.info, nil
	}
	return w.installArchive(ctx, file, limits, from, func(policy.Database) error { return nil })
}

// installArchive extracts an archive and installs its database.
func (w *writer) installArchive(ctx context.Context, file string, limits Limits, from origin, accept func(policy.Database) error) (policy.Database, error) {
	tmp, err := w.temporary()
	if err != nil {
		return policy.Database{}, err
	}
	if err := extract(ctx, file, tmp, limits); err != nil {
		return policy.Database{}, errors.Join(err, os.RemoveAll(tmp))
	}
	return w.install(ctx, tmp, from, accept)
}

// checkChecksum accepts "sha256:<hex>" and the empty string.
func checkChecksum(s string) error {
	if s != "" && !isChecksum(s) {
		return fmt.Errorf("checksum %q: want sha256: and 64 hex digits in lower case", s)
	}
	return nil
}

func isChecksum(s string) bool {
	return len(s) > 7 && s[:7] == "sha256:" && hex64.MatchString(s[7:])
}
