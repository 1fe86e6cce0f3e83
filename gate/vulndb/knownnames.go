package vulndb

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// knownNames is the known-name index. For each package name that was looked up, it records whether
// the database has rows about it. Most packages of an image have no advisory, and the index saves
// grype several queries for each of them.
type knownNames struct {
	mu    sync.RWMutex
	names map[string]tables // the index, by folded name
}

// tables records which database tables have rows about a package name, for any ecosystem and any
// distribution.
type tables struct{ affected, unaffected bool }

// of returns which database tables have rows about a name. known is false if the name was never
// looked up.
func (p *knownNames) of(name string) (there tables, known bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	there, known = p.names[fold(name)]
	return there, known
}

func (p *knownNames) add(found map[string]tables) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, there := range found {
		p.names[name] = there
	}
}

// fold returns the same string for all names that are equal in the database. The database ignores
// the case of ASCII letters only: https://www.sqlite.org/datatype3.html#collating_sequences
func fold(name string) string {
	b := []byte(name) // works on bytes, so that invalid UTF-8 does not change
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// askedAtOnce is the maximum number of names in one SQL query. SQLite allows 32766 variables in a
// query.
const askedAtOnce = 1000

// Preload looks up which of the names have rows in the database. Later searches for names without
// rows are then answered from memory. The results are the same, because the database does not
// change while it is open. Searches for other names still query the database.
func (db *DB) Preload(ctx context.Context, names []string) error {
	asked := make([]string, len(names))
	for i, name := range names {
		asked[i] = fold(name)
	}
	slices.Sort(asked)
	for some := range slices.Chunk(slices.Compact(asked), askedAtOnce) {
		if err := db.preloadSome(ctx, some); err != nil {
			return fmt.Errorf("looking up %d package names in the vulnerability database: %w", len(some), err)
		}
	}
	return nil
}

func (db *DB) preloadSome(ctx context.Context, names []string) error {
	var rows []struct {
		Name                 string
		Affected, Unaffected bool
	}
	err := db.reader.GetDB().WithContext(ctx).Raw(`
		SELECT name,
			EXISTS (SELECT 1 FROM affected_package_handles WHERE package_id = packages.id) AS affected,
			EXISTS (SELECT 1 FROM unaffected_package_handles WHERE package_id = packages.id) AS unaffected
		FROM packages WHERE name COLLATE NOCASE IN ?`, names).Scan(&rows).Error
	if err != nil {
		return err
	}
	found := make(map[string]tables, len(names))
	for _, name := range names {
		found[name] = tables{}
	}
	for _, row := range rows {
		there := found[fold(row.Name)]
		found[fold(row.Name)] = tables{there.affected || row.Affected, there.unaffected || row.Unaffected}
	}
	db.reader.present.add(found)
	return nil
}
