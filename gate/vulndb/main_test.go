package vulndb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anchore/grype/grype"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/matcher/stock"
	grypepkg "github.com/anchore/grype/grype/pkg"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/policy/evidence"
)

const records = "../../examples/records"

// built is the build time of the test databases and the current time in tests.
var built = time.Date(2026, 6, 23, 12, 0, 0, 0, time.UTC)

func stopped(t time.Time) func() time.Time { return func() time.Time { return t } }

func TestMain(m *testing.M) {
	if job := os.Getenv("VULNDB_TEST_CHILD"); job != "" {
		if err := child(job, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "vulndb-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		shared.dir = dir
		return m.Run()
	}())
}

// shared has the mirrors that mirror built from the example records. Tests share these mirrors and
// must not modify them.
var shared struct {
	sync.Mutex
	dir     string
	mirrors map[time.Time]*BuildResult
}

// mirror builds a mirror from a folder of records. For the example records, it returns a shared
// mirror.
func mirror(t *testing.T, from string, at time.Time) *BuildResult {
	t.Helper()
	if from != records {
		return build(t, from, t.TempDir(), at)
	}
	shared.Lock()
	defer shared.Unlock()
	b, ok := shared.mirrors[at]
	if !ok {
		b = build(t, from, filepath.Join(shared.dir, fmt.Sprint(at.UnixNano())), at)
		if shared.mirrors == nil {
			shared.mirrors = map[time.Time]*BuildResult{}
		}
		shared.mirrors[at] = b
	}
	return b
}

func build(t *testing.T, from, to string, at time.Time) *BuildResult {
	t.Helper()
	out, err := Build(t.Context(), BuildOptions{From: from, To: to, TempDir: t.TempDir(), Now: stopped(at)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// root returns the top folder of a mirror, which a test serves over HTTP.
func root(b *BuildResult) string { return filepath.Dir(filepath.Dir(b.Archive)) }

// serve serves a mirror over HTTP. It returns the URL and the number of requests for archives so
// far.
func serve(t *testing.T, dir string) (url string, downloads *atomic.Int64) {
	t.Helper()
	downloads = new(atomic.Int64)
	files := http.FileServer(http.Dir(dir))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".json") {
			downloads.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, downloads
}

// install imports the database of the example records into a new directory.
func install(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	importFile(t, dir, mirror(t, records, built).Archive)
	return dir
}

func importFile(t *testing.T, dir, file string) evidence.Database {
	t.Helper()
	info, err := Import(t.Context(), ImportOptions{Dir: dir, File: file, Now: stopped(built)})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func openDB(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// folders lists the entries of a database directory, except the lock file.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name() != lockName {
			out = append(out, e.Name())
		}
	}
	return out
}

// unchanged checks that the database directory dir still has the same files and the same current
// database after a failed update or import.
func unchanged(t *testing.T, dir string, before []string, info evidence.Database) {
	t.Helper()
	if after := folders(t, dir); !slices.Equal(before, after) {
		t.Errorf("the directory holds %q; before it was %q", after, before)
	}
	db, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatalf("the database that was there cannot be opened any more: %v", err)
	}
	defer db.Close()
	if db.Info().Digest != info.Digest {
		t.Errorf("the database is %s; before it was %s", db.Info().Digest, info.Digest)
	}
}

func wantProblem(t *testing.T, err error, want Problem) *UnusableError {
	t.Helper()
	var u *UnusableError
	if !errors.As(err, &u) || u.Problem != want {
		t.Fatalf("error is %v; want one that says %q", err, want)
	}
	return u
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// currentFolder returns the folder that the pointer file in dir names.
func currentFolder(t *testing.T, dir string) string {
	t.Helper()
	name, err := readPointer(dir)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// tamper changes the current database with SQL, and updates its record so that the change is not
// detected.
func tamper(t *testing.T, dir string, statements ...string) {
	t.Helper()
	folder := currentFolder(t, dir)
	change(t, filepath.Join(folder, v6.VulnerabilityDBFileName), statements...)
	rec, err := readRecord(folder)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := fastHash(t.Context(), filepath.Join(folder, v6.VulnerabilityDBFileName))
	if err != nil {
		t.Fatal(err)
	}
	rec.File.XXH64, rec.File.Size = sum.xxh64, sum.size
	if err := rec.write(folder); err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, file string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// corrupt flips one bit in the middle of a file.
func corrupt(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	write(t, file, data)
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

var languageOf = map[syftpkg.Type]syftpkg.Language{
	syftpkg.NpmPkg: syftpkg.JavaScript, syftpkg.GoModulePkg: syftpkg.Go, syftpkg.PythonPkg: syftpkg.Python,
	syftpkg.JavaPkg: syftpkg.Java, syftpkg.GemPkg: syftpkg.Ruby,
}

// packageOf returns a package as a cataloger would find it. distribution is "" or, for example,
// "debian 12".
func packageOf(typ syftpkg.Type, name, version, distribution string) grypepkg.Package {
	p := grypepkg.Package{
		ID: grypepkg.ID(name + version), Name: name, Version: version, Type: typ, Language: languageOf[typ],
	}
	if distribution != "" {
		id, release, _ := strings.Cut(distribution, " ")
		p.Distro = distro.NewFromNameVersion(id, release)
	}
	if typ == syftpkg.JavaPkg {
		group, artifact, _ := strings.Cut(name, ":")
		p.Name, p.Metadata = artifact, grypepkg.JavaMetadata{PomGroupID: group, PomArtifactID: artifact}
	}
	return p
}

// matches returns the vulnerabilities that grype's matchers find for a package, with the defaults
// of the grype command.
func matches(t *testing.T, db *DB, p grypepkg.Package) []match.Match {
	t.Helper()
	m := grype.VulnerabilityMatcher{
		VulnerabilityProvider: db.Provider(),
		Matchers:              matcher.NewDefaultMatchers(matcher.Config{Stock: stock.MatcherConfig{UseCPEs: true}}),
	}
	found, _, err := m.FindMatchesContext(t.Context(), []grypepkg.Package{p}, grypepkg.Context{Distro: p.Distro})
	if err != nil {
		t.Fatal(err)
	}
	return found.Sorted()
}

func ids(found []match.Match) []string {
	var out []string
	for _, m := range found {
		out = append(out, m.Vulnerability.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
