package vulndb

import (
	"context"
	"fmt"

	"github.com/anchore/grype/grype/distro"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// maxAdvisories is the maximum number of advisories that are counted for one distribution or
// package type. Counting stops there to save time, because a full database has millions of rows.
const maxAdvisories = 100_000

// Advisories is the number of advisories in the database for a distribution or package type. An
// advisory about several packages counts once for each package.
type Advisories struct {
	Count int
	// AtLeast means that counting stopped at the limit.
	AtLeast bool
}

// CountRelease returns the number of advisories for the packages of a distribution's release. It
// looks up the release in the same way as Covers.
func (db *DB) CountRelease(ctx context.Context, d *distro.Distro) (Advisories, error) {
	if d == nil {
		return Advisories{}, nil
	}
	return db.count("release "+d.String(), func() (Advisories, error) {
		rows, err := db.releases(specifier(d))
		if err != nil || len(rows) == 0 {
			return Advisories{}, err
		}
		ids := make([]int64, len(rows))
		for i, row := range rows {
			ids[i] = int64(row.ID)
		}
		return db.countRows(ctx, "SELECT 1 FROM affected_package_handles WHERE operating_system_id IN ?", ids)
	})
}

// CountType returns the number of advisories that matchers find by the name of a package of type t.
// See CoversType for the advisories that count.
func (db *DB) CountType(ctx context.Context, t syftpkg.Type) (Advisories, error) {
	return db.count("type "+string(t), func() (Advisories, error) {
		return db.countRows(ctx, "SELECT 1 "+fromPackagesOfType, string(t), string(t))
	})
}

// CountCPEs returns the number of advisories that matchers find by CPE.
func (db *DB) CountCPEs(ctx context.Context) (Advisories, error) {
	return db.count("CPE", func() (Advisories, error) { return db.countRows(ctx, "SELECT 1 FROM affected_cpe_handles") })
}

// count returns the number of advisories that ask counts, and caches it under the name what. The
// cached number stays valid because the database does not change while it is open.
func (db *DB) count(what string, ask func() (Advisories, error)) (Advisories, error) {
	db.coverage.mu.Lock()
	defer db.coverage.mu.Unlock()
	if known, ok := db.coverage.counts[what]; ok {
		return known, nil
	}
	counted, err := ask()
	if err != nil {
		return Advisories{}, fmt.Errorf("counting the advisories for %s: %w", what, err)
	}
	if db.coverage.counts == nil {
		db.coverage.counts = map[string]Advisories{}
	}
	db.coverage.counts[what] = counted
	return counted, nil
}

// countRows counts the rows of a query, up to maxAdvisories.
func (db *DB) countRows(ctx context.Context, query string, args ...any) (Advisories, error) {
	var n int
	query = fmt.Sprintf("SELECT count(*) FROM (%s LIMIT %d)", query, maxAdvisories+1)
	if err := db.reader.GetDB().WithContext(ctx).Raw(query, args...).Scan(&n).Error; err != nil {
		return Advisories{}, err
	}
	return Advisories{Count: min(n, maxAdvisories), AtLeast: n > maxAdvisories}, nil
}
