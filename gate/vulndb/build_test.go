package vulndb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anchore/clio"
	"github.com/anchore/grype/grype/db/provider"
	"github.com/anchore/grype/grype/db/v6/distribution"
	"github.com/anchore/grype/grype/db/v6/installation"
	"github.com/anchore/grype/grype/vulnerability"
	syftpkg "github.com/anchore/syft/syft/pkg"
)

// advisory is an OSV document for a company's own package.
const advisory = `{
  "schema_version": "1.7.0",
  "id": "ACME-2026-1",
  "modified": "2026-06-01T00:00:00Z",
  "published": "2026-05-30T00:00:00Z",
  "aliases": ["CVE-2025-0282"],
  "summary": "The parser runs what it reads",
  "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
  "affected": [{
    "package": {"ecosystem": "npm", "name": "@acme/parser"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "1.0.0"}, {"fixed": "1.4.2"}]}]
  }],
  "references": [{"type": "ADVISORY", "url": "https://acme.example/2026-1"}]
}`

// advisories returns an input folder for Build with one provider maintained by hand.
func advisories(t *testing.T, files map[string]string) string {
	t.Helper()
	from := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(from, "acme", filepath.FromSlash(name)), []byte(text))
	}
	return from
}

func opened(t *testing.T, from string) *DB {
	t.Helper()
	dir := t.TempDir()
	importFile(t, dir, mirror(t, from, built).Archive)
	return openDB(t, dir)
}

// TestPrivateAdvisoryIsNotSkipped checks that the build includes private advisories. grype's
// builder skips OSV documents with unknown IDs.
func TestPrivateAdvisoryIsNotSkipped(t *testing.T) {
	from := advisories(t, map[string]string{"2026/1.json": advisory, "README.md": "how we do this", "LICENSE": "x"})
	for _, feed := range []string{"nvd", "kev", "epss"} {
		copyTree(t, filepath.Join(records, feed), filepath.Join(from, feed))
	}
	db := opened(t, from)
	found := matches(t, db, packageOf(syftpkg.NpmPkg, "@acme/parser", "1.4.1", ""))
	if !slices.Equal(ids(found), []string{"ACME-2026-1"}) {
		t.Fatalf("found %v", ids(found))
	}
	v := found[0].Vulnerability
	if v.Metadata.Severity != "Critical" || v.Metadata.DataSource != "https://acme.example/2026-1" ||
		v.Metadata.Description != "The parser runs what it reads" {
		t.Errorf("metadata is %+v", v.Metadata)
	}
	if v.Fix.State != vulnerability.FixStateFixed || !slices.Equal(v.Fix.Versions, []string{"1.4.2"}) {
		t.Errorf("fix is %+v", v.Fix)
	}
	if want := time.Date(2026, 5, 30, 0, 0, 0, 0, time.UTC); !Published(v).Equal(want) {
		t.Errorf("published %s", Published(v))
	}
	// The advisory has a CVE as an alias. KEV and EPSS data about this CVE must be found, too.
	if len(v.Metadata.KnownExploited) != 1 || len(v.Metadata.EPSS) != 1 {
		t.Errorf("known exploits are %v, EPSS is %v", v.Metadata.KnownExploited, v.Metadata.EPSS)
	}
	for _, clean := range []string{"0.9.0", "1.4.2"} {
		if found := matches(t, db, packageOf(syftpkg.NpmPkg, "@acme/parser", clean, "")); len(found) != 0 {
			t.Errorf("%s has %v", clean, ids(found))
		}
	}
	if err := db.Err(); err != nil {
		t.Error(err)
	}
}

// TestPrivateAdvisoryInAnEnvelopeIsNotSkipped checks that the build includes a private advisory in
// vunnel's envelope. For such a record, Build tries grype's own processor first.
func TestPrivateAdvisoryInAnEnvelopeIsNotSkipped(t *testing.T) {
	envelope := `{"schema":"https://raw.githubusercontent.com/anchore/vunnel/main/schema/vulnerability/osv/schema-1.6.1.json",
		"identifier":"acme/1","item":` + advisory + `}`
	db := opened(t, advisories(t, map[string]string{"results/1.json": envelope}))
	if found := ids(matches(t, db, packageOf(syftpkg.NpmPkg, "@acme/parser", "1.4.1", ""))); !slices.Equal(found, []string{"ACME-2026-1"}) {
		t.Errorf("found %v", found)
	}
}

// TestPrivateAdvisoryForADistributionHidesNothing checks that a private advisory for a distribution
// is found and does not hide the distribution's own feed. Without the codename, grype would not
// find the advisory's row for the release, and that row would hide the feed.
func TestPrivateAdvisoryForADistributionHidesNothing(t *testing.T) {
	text := strings.NewReplacer(`"npm"`, `"Debian:12"`, "@acme/parser", "acme-agent", "SEMVER", "ECOSYSTEM").Replace(advisory)
	from := advisories(t, map[string]string{"1.json": text})
	copyTree(t, filepath.Join(records, "debian"), filepath.Join(from, "debian"))
	db := opened(t, from)
	on := release("debian", "12", "bookworm")
	for name, want := range map[string]string{"acme-agent": "ACME-2026-1", "jq": "CVE-2025-48060"} {
		p := packageOf(syftpkg.DebPkg, name, "1.4.1-1", "")
		p.Distro = on
		if found := ids(matches(t, db, p)); !slices.Equal(found, []string{want}) {
			t.Errorf("%s has %v, not %s", name, found, want)
		}
	}
}

func TestUnusableRecordIsNotSkipped(t *testing.T) {
	const os = `{"schema":"https://example.com/vulnerability/os/schema-1.0.0.json","identifier":"x","item":{"Vulnerability":{
		"Name":"CVE-2026-1","NamespaceName":"debian:12","Severity":"High",
		"FixedIn":[{"Name":"a","NamespaceName":"debian:12","Version":"VERSION","VersionFormat":"FORMAT"}]}}}`
	const github = `{"schema":"https://example.com/vulnerability/github-security-advisory/schema-1.0.0.json","identifier":"x","item":{"Advisory":{
		"ghsaId":"GHSA-1","Severity":"High","FixedIn":[{"name":"a","ecosystem":"ECOSYSTEM","range":"RANGE","identifier":"1.2.3"}]}}}`
	replace := func(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }
	for name, tt := range map[string]struct{ text, want string }{
		"no JSON":              {"{", "EOF"},
		"two values":           {advisory + "{}", "data after"},
		"empty object":         {"{}", "invalid id"},
		"list":                 {"[]", "cannot unmarshal"},
		"misspelt field":       {replace(advisory, `"affected"`, `"afected"`), "afected"},
		"unknown schema":       {`{"schema":"https://example.com/vulnerability/rumour/schema-1.0.0.json","item":{}}`, "rumour"},
		"unknown version":      {`{"schema":"https://example.com/vulnerability/os/schema-9.0.0.json","item":{}}`, "not supported"},
		"envelope lacks item":  {`{"schema":"https://example.com/vulnerability/os/schema-1.0.0.json"}`, "lacks"},
		"nothing inside":       {`{"schema":"https://example.com/vulnerability/os/schema-1.0.0.json","item":{"Vulnerability":{}}}`, "the record is empty"},
		"affects nothing, os":  {strings.ReplaceAll(replace(os, `"FixedIn":[{`, `"FixedIn":[],"Other":[{`), "VERSION", "1"), "affects no package"},
		"apk version":          {replace(os, "debian:12", "alpine:3.18", "VERSION", "not a version", "FORMAT", "apk"), "not a version"},
		"github range":         {replace(github, "ECOSYSTEM", "npm", "RANGE", ">= 1.2.x.y.z, < banana!"), "affected versions"},
		"github ecosystem":     {replace(github, "ECOSYSTEM", "cobol", "RANGE", "< 1.2.3"), `"cobol"`},
		"id with a line break": {replace(advisory, "ACME-2026-1", `ACME\n::error::`), "invalid id"},
		"no id":                {replace(advisory, `"id": "ACME-2026-1",`, ""), "invalid id"},
		"affects nothing":      {replace(advisory, `"id"`, `"affected": [], "id"`, `"affected": [{`, `"credits": [{`), "affects no package"},
		"no package name":      {replace(advisory, "@acme/parser", ""), "no name"},
		"unknown ecosystem":    {replace(advisory, `"npm"`, `"NPM"`), `"NPM"`},
		"name a release":       {replace(advisory, `"npm"`, `"Debian"`), "name a release"},
		"Ubuntu Pro":           {replace(advisory, `"npm"`, `"Ubuntu:Pro:22.04:LTS"`), "name a release"},
		"no versions":          {replace(advisory, `"ranges"`, `"versions":[],"ranges"`, `[{"introduced": "1.0.0"}, {"fixed": "1.4.2"}]`, `[]`), "no event that introduces"},
		"only commits":         {replace(advisory, "SEMVER", "GIT"), "no affected versions"},
		"unknown range type":   {replace(advisory, "SEMVER", "SEMVAR"), "SEMVAR"},
		"bad version":          {replace(advisory, "1.4.2", "one.four"), "one.four"},
		"two versions":         {replace(advisory, "1.4.2", "1.4.2 || 1.0.0"), "not a single version"},
		"fixed, not begun":     {replace(advisory, `{"introduced": "1.0.0"}, `, ""), "not introduced"},
		"two in one event":     {replace(advisory, `{"introduced": "1.0.0"}, {`, `{"introduced": "1.0.0", `), "expected one of"},
		"limit":                {replace(advisory, `"fixed"`, `"limit"`), "expected one of"},
		"bad vector":           {replace(advisory, "/AV:N", "/AV:?"), "not a CVSS_V3 vector"},
		"vector of another":    {replace(advisory, "CVSS_V3", "CVSS_V4"), "not a CVSS_V4 vector"},
		"severity in no words": {replace(advisory, `"references"`, `"database_specific":{"severity":"sever"},"references"`), "sever"},
		"severity as a number": {replace(advisory, `"references"`, `"database_specific":{"severity":9.8},"references"`), "expected a string"},
		"bad date":             {replace(advisory, "2026-05-30T00:00:00Z", "30 May"), "30 May"},
	} {
		t.Run(name, func(t *testing.T) {
			from := advisories(t, map[string]string{"sub/broken.json": tt.text})
			to, tmp := filepath.Join(t.TempDir(), "out"), t.TempDir()
			r, err := Build(t.Context(), BuildOptions{From: from, To: to, TempDir: tmp, Now: stopped(built)})
			if r != nil {
				t.Errorf("there is a result together with the error: %+v", r)
			}
			wantError(t, err, tt.want, filepath.Join("acme", "sub", "broken.json"))
			nothingIn(t, filepath.Dir(to), tmp)
		})
	}
}

func nothingIn(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if left := folders(t, dir); len(left) != 0 {
			t.Errorf("%q is left in %s", left, dir)
		}
	}
}

func TestUnusableFolderIsNotSkipped(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":             {nil, "does not contain a provider's folder"},
		"name of provider":    {map[string]string{"acme inc/1.json": advisory}, "invalid provider name"},
		"no records":          {map[string]string{"acme/README.md": "x"}, "no records"},
		"record outside":      {map[string]string{"1.json": advisory}, "folder with the name of their provider"},
		"YAML":                {map[string]string{"acme/1.json": advisory, "acme/2.yaml": "id: x"}, "2.yaml"},
		"capital letters":     {map[string]string{"acme/1.json": advisory, "acme/2.JSON": advisory}, "2.JSON"},
		"same id twice":       {map[string]string{"acme/1.json": advisory, "acme/2.json": advisory}, "already used by"},
		"bad capture date":    {map[string]string{"acme/1.json": advisory, "acme/captured": "yesterday"}, "captured"},
		"broken state":        {map[string]string{"acme/metadata.json": "{"}, "metadata.json"},
		"state without name":  {map[string]string{"acme/metadata.json": "{}"}, "provider is missing"},
		"state without date":  {map[string]string{"acme/metadata.json": `{"provider":"acme"}`}, "time of capture"},
		"state without files": {map[string]string{"acme/metadata.json": `{"provider":"acme","timestamp":"2026-06-01T00:00:00Z"}`}, "checksum listing of the results is missing"},
		"unknown store": {map[string]string{
			"acme/metadata.json":         `{"provider":"acme","timestamp":"2026-06-01T00:00:00Z","store":"cloud","listing":{"path":"results/listing.xxh64"}}`,
			"acme/results/listing.xxh64": ""}, `"cloud"`},
		"listing leads outside": {map[string]string{
			"acme/metadata.json":         `{"provider":"acme","timestamp":"2026-06-01T00:00:00Z","store":"flat-file","listing":{"path":"results/listing.xxh64"}}`,
			"acme/results/listing.xxh64": "00  ../../etc/passwd\n"}, "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			from := t.TempDir()
			for file, text := range tt.files {
				write(t, filepath.Join(from, filepath.FromSlash(file)), []byte(text))
			}
			to, tmp := filepath.Join(t.TempDir(), "out"), t.TempDir()
			_, err := Build(t.Context(), BuildOptions{From: from, To: to, TempDir: tmp, Now: stopped(built)})
			wantError(t, err, tt.want)
			nothingIn(t, filepath.Dir(to), tmp)
		})
	}
}

func TestLinkedProviderIsNotSkipped(t *testing.T) {
	from := advisories(t, map[string]string{"1.json": advisory})
	if err := os.Symlink(filepath.Join(from, "acme"), filepath.Join(from, "linked")); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), BuildOptions{From: from, To: filepath.Join(t.TempDir(), "x"), TempDir: t.TempDir(), Now: stopped(built)})
	wantError(t, err, "linked", "neither")
}

// workspaceOf writes a provider's workspace in vunnel's format. It returns the folder above it,
// which is the input of Build.
func workspaceOf(t *testing.T, name, store string, captured time.Time, items map[string]string) string {
	t.Helper()
	from := t.TempDir()
	w := provider.NewWorkspaceWriter(from, name)
	var files []provider.File
	switch store {
	case "flat-file":
		for file, text := range items {
			f, err := w.WriteResult(file, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, *f)
		}
	case "sqlite":
		if err := os.MkdirAll(w.ResultsPath(), 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(w.ResultsPath(), "results.db")
		db, err := sql.Open("sqlite", "file:"+file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE results (id TEXT PRIMARY KEY, record BLOB)"); err != nil {
			t.Fatal(err)
		}
		for id, text := range items {
			if _, err := db.ExecContext(t.Context(), "INSERT INTO results VALUES (?, ?)", id, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		digest, err := provider.HashFileXXH64(file)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, provider.File{Path: "results/results.db", Digest: digest})
	}
	if err := w.WriteListing(files); err != nil {
		t.Fatal(err)
	}
	listing, err := provider.HashFileXXH64(w.ListingPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteState(provider.State{
		Provider: name, Version: 1, Processor: "vunnel@0.55.2", Timestamp: captured, Store: store,
		Listing: &provider.File{Path: "results/listing.xxh64", Digest: listing, Algorithm: "xxh64"},
	}); err != nil {
		t.Fatal(err)
	}
	return from
}

func recordText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(records, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWorkspacesOfVunnelAreRead(t *testing.T) {
	item := recordText(t, "github/results/npm/ghsa-896r-f27r-55mw.json")
	captured := built.Add(-30 * time.Hour)
	for _, store := range []string{"flat-file", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			db := opened(t, workspaceOf(t, "github", store, captured, map[string]string{"npm/1.json": item}))
			if p := db.Info().Providers; len(p) != 1 || p[0].Name != "github" || !p[0].Captured.Equal(captured) {
				t.Errorf("providers are %+v", p)
			}
			if found := matches(t, db, packageOf(syftpkg.NpmPkg, "json-schema", "0.3.0", "")); len(found) != 1 {
				t.Errorf("found %v", ids(found))
			}
			wantProblem(t, CheckAge(db.Info(), 24*time.Hour, built), TooOld)
		})
	}
}

func TestWorkspaceMustMatchItsListing(t *testing.T) {
	item := recordText(t, "github/results/npm/ghsa-896r-f27r-55mw.json")
	for name, tt := range map[string]struct {
		damage func(results string)
		want   string
	}{
		"file not listed": {func(r string) { write(t, filepath.Join(r, "2.json"), []byte(advisory)) }, "not in the checksum listing"},
		"file changed":    {func(r string) { write(t, filepath.Join(r, "1.json"), []byte(item+" ")) }, "hash mismatch"},
		"file missing": {func(r string) {
			if err := os.Remove(filepath.Join(r, "1.json")); err != nil {
				t.Fatal(err)
			}
		}, "1.json"},
		"listing missing": {func(r string) {
			if err := os.Remove(filepath.Join(r, "listing.xxh64")); err != nil {
				t.Fatal(err)
			}
		}, "listing"},
	} {
		t.Run(name, func(t *testing.T) {
			from := workspaceOf(t, "github", "flat-file", built, map[string]string{"1.json": item})
			tt.damage(filepath.Join(from, "github", "results"))
			_, err := Build(t.Context(), BuildOptions{From: from, To: filepath.Join(t.TempDir(), "x"), TempDir: t.TempDir(), Now: stopped(built)})
			wantError(t, err, tt.want)
		})
	}
}

func TestCapturedFileDatesACopy(t *testing.T) {
	from := advisories(t, map[string]string{"1.json": advisory, "captured": "2026-06-01T00:00:00Z\n"})
	b := mirror(t, from, built)
	wantProblem(t, CheckAge(b.Database, 120*time.Hour, built), TooOld)
}

// TestMirrorIsAcceptedByGrypeItself checks that both Update and grype's own curator accept the
// output of Build.
func TestMirrorIsAcceptedByGrypeItself(t *testing.T) {
	now := time.Now()
	b := mirror(t, records, now)
	url, _ := serve(t, root(b))
	id := clio.Identification{Name: "test", Version: "1"}
	dist := distribution.DefaultConfig()
	dist.ID, dist.LatestURL, dist.RequireUpdateCheck = id, url, true
	client, err := distribution.NewClient(dist)
	if err != nil {
		t.Fatal(err)
	}
	inst := installation.DefaultConfig(id)
	inst.DBRootDir = t.TempDir()
	curator, err := installation.NewCurator(inst, client)
	if err != nil {
		t.Fatal(err)
	}
	if updated, err := curator.Update(); err != nil || !updated {
		t.Fatalf("updated is %v: %v", updated, err)
	}
	if s := curator.Status(); s.Error != nil || !s.Built.Equal(b.Database.Built) {
		t.Errorf("status is %+v", s)
	}
	r, err := Update(t.Context(), UpdateOptions{Dir: t.TempDir(), URL: url, Now: time.Now})
	if err != nil || r.Database.Digest != b.Database.Digest {
		t.Errorf("result is %+v: %v", r, err)
	}
}

func TestBuildWritesOneMirrorAfterTheOther(t *testing.T) {
	to := t.TempDir()
	opts := BuildOptions{From: records, To: to, TempDir: t.TempDir(), Now: stopped(built)}
	one, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if !one.Database.Built.Equal(built) || one.Records["debian"] != 13 {
		t.Errorf("result is %+v", one)
	}
	opts.Now = stopped(built.Add(time.Hour))
	two, err := Build(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(two.Latest)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Path, Checksum string }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Path != filepath.Base(two.Archive) || doc.Checksum != two.Checksum || one.Latest != two.Latest {
		t.Errorf("latest.json is %+v", doc)
	}
	want := []string{"latest.json", filepath.Base(one.Archive), filepath.Base(two.Archive)}
	slices.Sort(want)
	if got := folders(t, filepath.Dir(two.Archive)); !slices.Equal(got, want) {
		t.Errorf("there is %q, not %q", got, want)
	}
	nothingIn(t, opts.TempDir)
}

func TestBuildWritesASingleArchive(t *testing.T) {
	for _, name := range []string{"db.tar.zst", "db.tar.gz"} {
		out := t.TempDir()
		b, err := Build(t.Context(), BuildOptions{From: records, To: filepath.Join(out, name), TempDir: t.TempDir(), Now: stopped(built)})
		if err != nil {
			t.Fatal(err)
		}
		if got := folders(t, out); !slices.Equal(got, []string{name}) || b.Latest != "" {
			t.Errorf("there is %q; result is %+v", got, b)
		}
		dir := t.TempDir()
		importFile(t, dir, b.Archive)
		if openInfo(t, dir).Digest != b.Database.Digest {
			t.Error("the archive has another database")
		}
	}
}

func TestBuildKeepsTheWorkingDirectory(t *testing.T) {
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	build(t, records, t.TempDir(), built)
	after, err := os.Getwd()
	if err != nil || before != after {
		t.Errorf("the working directory is %s, %v", after, err)
	}
}

func TestCancelledBuildLeavesNothingBehind(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to, tmp := filepath.Join(t.TempDir(), "out"), t.TempDir()
	_, err := Build(ctx, BuildOptions{From: records, To: to, TempDir: tmp, Now: stopped(built)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	nothingIn(t, filepath.Dir(to), tmp)
}

func TestBuildChecksItsOptions(t *testing.T) {
	good := BuildOptions{From: records, To: "x", TempDir: t.TempDir(), Now: stopped(built)}
	for name, spoil := range map[string]func(*BuildOptions){
		"no clock": func(o *BuildOptions) { o.Now = nil },
		"no place": func(o *BuildOptions) { o.To = "" },
		"no temp":  func(o *BuildOptions) { o.TempDir = "" },
		"no from":  func(o *BuildOptions) { o.From = "" },
	} {
		opts := good
		spoil(&opts)
		if _, err := Build(t.Context(), opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEcosystemsLeadToTheirPackages(t *testing.T) {
	for eco, p := range map[string]struct {
		typ    syftpkg.Type
		distro string
	}{
		"npm": {syftpkg.NpmPkg, ""}, "Go": {syftpkg.GoModulePkg, ""}, "PyPI": {syftpkg.PythonPkg, ""},
		"Maven": {syftpkg.JavaPkg, ""}, "RubyGems": {syftpkg.GemPkg, ""}, "crates.io": {syftpkg.RustPkg, ""},
		"NuGet": {syftpkg.DotnetPkg, ""}, "Packagist": {syftpkg.PhpComposerPkg, ""}, "Pub": {syftpkg.DartPubPkg, ""},
		"Hex": {syftpkg.HexPkg, ""}, "SwiftURL": {syftpkg.SwiftPkg, ""}, "GitHub Actions": {syftpkg.GithubActionPkg, ""},
		"Debian:12": {syftpkg.DebPkg, "debian 12"}, "Ubuntu:22.04:LTS": {syftpkg.DebPkg, "ubuntu 22.04"},
		"Alpine:v3.18": {syftpkg.ApkPkg, "alpine 3.18"}, "Wolfi": {syftpkg.ApkPkg, "wolfi 20230201"},
		"Chainguard": {syftpkg.ApkPkg, "chainguard 20230214"},
	} {
		t.Run(eco, func(t *testing.T) {
			name := "acme-parser"
			if p.typ == syftpkg.JavaPkg {
				name = "com.acme:parser"
			}
			text := strings.NewReplacer(`"npm"`, `"`+eco+`"`, "@acme/parser", name, "SEMVER", "ECOSYSTEM").Replace(advisory)
			db := opened(t, advisories(t, map[string]string{"1.json": text}))
			for v, want := range map[string]int{"0.9.0": 0, "1.0.0": 1, "1.4.1": 1, "1.4.2": 0} {
				found := matches(t, db, packageOf(p.typ, name, v, p.distro))
				if len(found) != want {
					t.Errorf("%s has %v", v, ids(found))
				}
			}
			if err := db.Err(); err != nil {
				t.Error(err)
			}
		})
	}
	if n := len(slices.Collect(maps.Keys(languages))); n != 12 {
		t.Errorf("%d languages are supported; this test knows 12", n)
	}
}
