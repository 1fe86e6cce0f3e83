package vulndb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// Covers reports whether the database has advisories for a distribution's release. If it has none,
// grype finds nothing in the distribution's packages and does not report the gap.
//
// Covers looks up data as the matchers do: with the same aliases (RHEL's data for AlmaLinux) and
// the same rule for rolling releases. But it never accepts the data of another release. An unknown
// minor version is covered only if the database has data for the whole major version. Debian and
// RHEL have such data, Alpine and Ubuntu do not.
//
// A support channel such as EUS does not count on its own, because its advisories are only searched
// in addition to those for the release. A distribution without a release counts as covered, because
// it is matched against all releases: that can give false findings, but misses none.
func (db *DB) Covers(ctx context.Context, d *distro.Distro) (bool, error) {
	if d == nil {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	rows, err := db.releases(specifier(d))
	return len(rows) > 0, err
}

// specifier returns the query that the matchers use for the release of a distribution.
func specifier(d *distro.Distro) v6.OSSpecifier {
	return v6.OSSpecifier{
		Name:             d.Name(),
		MajorVersion:     d.MajorVersion(),
		MinorVersion:     d.MinorVersion(),
		RemainingVersion: d.RemainingVersion(),
		LabelVersion:     d.LabelVersion(),
	}
}

// coverage caches results about the ecosystems in a database. The database does not change while it
// is open.
type coverage struct {
	mu     sync.Mutex
	types  map[syftpkg.Type]bool
	cpes   *bool
	counts map[string]Advisories
}

// fromPackagesOfType is the part of a query that selects the advisories about packages of a type.
// The query takes the type twice. It applies grype's type replacements; for example, erlang-otp
// uses hex. The order of the join makes SQLite use the index on ecosystems.
const fromPackagesOfType = `FROM packages CROSS JOIN affected_package_handles ON affected_package_handles.package_id = packages.id
	WHERE packages.ecosystem = COALESCE(
		(SELECT replacement_ecosystem FROM package_specifier_overrides WHERE ecosystem = ? COLLATE NOCASE LIMIT 1), ?) COLLATE NOCASE
	AND affected_package_handles.operating_system_id IS NULL`

// CoversType reports whether the database has any advisory that matchers find by the name of a
// package of type t. If it has none, grype finds nothing in such packages and does not report the
// gap. For packages of distributions, use Covers.
func (db *DB) CoversType(ctx context.Context, t syftpkg.Type) (bool, error) {
	db.coverage.mu.Lock()
	defer db.coverage.mu.Unlock()
	if known, ok := db.coverage.types[t]; ok {
		return known, nil
	}
	found, err := db.exists(ctx, "SELECT EXISTS (SELECT 1 "+fromPackagesOfType+")", string(t), string(t))
	if err != nil {
		return false, fmt.Errorf("looking for advisories about packages of type %s: %w", t, err)
	}
	if db.coverage.types == nil {
		db.coverage.types = map[syftpkg.Type]bool{}
	}
	db.coverage.types[t] = found
	return found, nil
}

// HasAdvisories reports whether the database has any advisory for a package of type t with one of
// the names. A name without a group, such as the name of a jar, matches every group.
func (db *DB) HasAdvisories(ctx context.Context, t syftpkg.Type, names ...string) (bool, error) {
	for _, name := range names {
		if name == "" {
			continue
		}
		found, err := db.exists(ctx, `
			SELECT EXISTS (SELECT 1 FROM packages
				WHERE ecosystem = COALESCE(
					(SELECT replacement_ecosystem FROM package_specifier_overrides WHERE ecosystem = ? COLLATE NOCASE LIMIT 1), ?) COLLATE NOCASE
				AND (name = ? COLLATE NOCASE OR name LIKE ? ESCAPE '\'))`,
			string(t), string(t), name, "%:"+likeEscaper.Replace(name))
		if err != nil || found {
			return found, wrapped(err, t, name)
		}
	}
	return false, nil
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func wrapped(err error, t syftpkg.Type, name string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("looking for advisories about the %s package %q: %w", t, name, err)
}

// CoversCPEs reports whether the database has any advisory that matchers find by CPE.
func (db *DB) CoversCPEs(ctx context.Context) (bool, error) {
	db.coverage.mu.Lock()
	defer db.coverage.mu.Unlock()
	if db.coverage.cpes != nil {
		return *db.coverage.cpes, nil
	}
	found, err := db.exists(ctx, "SELECT EXISTS (SELECT 1 FROM affected_cpe_handles)")
	if err != nil {
		return false, fmt.Errorf("looking for advisories by CPE: %w", err)
	}
	db.coverage.cpes = &found
	return found, nil
}

func (db *DB) exists(ctx context.Context, query string, args ...any) (found bool, err error) {
	err = db.reader.GetDB().WithContext(ctx).Raw(query, args...).Scan(&found).Error
	return found, err
}

// EndOfLife returns the first day without new advisories for a release, or the zero time if the
// database has no date. It does not follow aliases, because AlmaLinux does not end on the same day
// as RHEL.
func (db *DB) EndOfLife(d *distro.Distro) (time.Time, error) {
	if d == nil {
		return time.Time{}, nil
	}
	day, _, err := db.provider.GetOperatingSystemEOL(d)
	if err != nil || day != nil {
		return dateOf(day), err
	}
	// grype searches only for the exact release. So it does not find the date of RHEL 9.4 or Debian
	// 12.5, because their date is stored for the major version.
	rows, err := db.releases(v6.OSSpecifier{
		Name:            d.Name(),
		MajorVersion:    d.MajorVersion(),
		MinorVersion:    d.MinorVersion(),
		LabelVersion:    d.LabelVersion(),
		DisableAliasing: true,
	})
	if err != nil {
		return time.Time{}, err
	}
	for _, row := range rows {
		if row.EOLDate != nil {
			return dateOf(row.EOLDate), nil
		}
	}
	return time.Time{}, nil
}

// releases returns the database's rows for exactly this release. If there are none, it returns the
// rows for the whole major version.
func (db *DB) releases(spec v6.OSSpecifier) ([]v6.OperatingSystem, error) {
	exact := spec
	exact.DisableFallback = true
	rows, err := db.reader.GetOperatingSystems(exact)
	if errors.Is(err, v6.ErrMissingOSIdentification) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for %s %s.%s: %w", spec.Name, spec.MajorVersion, spec.MinorVersion, err)
	}
	if len(rows) > 0 {
		return rows, nil
	}
	rows, err = db.reader.GetOperatingSystems(spec)
	if err != nil {
		return nil, fmt.Errorf("looking for %s %s: %w", spec.Name, spec.MajorVersion, err)
	}
	for _, row := range rows {
		if row.MinorVersion != "" {
			// Do not use grype's last fallback, which returns every release with the same major
			// version.
			return nil, nil
		}
	}
	return rows, nil
}

// Published returns the time when a vulnerability was first published, or the zero time if its
// record has no date. The vulnerability must come from a DB.
func Published(v vulnerability.Vulnerability) time.Time {
	if h, ok := v.Reference.Internal.(*v6.VulnerabilityHandle); ok && h != nil {
		return dateOf(h.PublishedDate)
	}
	return time.Time{}
}

func dateOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
