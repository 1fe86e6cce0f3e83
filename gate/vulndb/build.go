package vulndb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/anchore/grype/grype/db/data"
	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
	v6build "github.com/anchore/grype/grype/db/v6/build"
	"github.com/anchore/grype/grype/db/v6/build/transformers"
	grypepkg "github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/policy"
)

// BuildOptions say what to build a database from and where to put it.
type BuildOptions struct {
	// From holds one folder for each provider, named as the provider. It is a
	// workspace as vunnel writes them (metadata.json, and results with their
	// listing), or holds records that people keep by hand: files ending in
	// .json, in any depth, each a record in vunnel's envelope or a bare OSV
	// document.
	//
	// Records kept by hand count as captured when they are built into the
	// database, as there is no upstream that they could fall behind; a copy of
	// them that may be out of date says when it was made in a file "captured"
	// beside them, holding one RFC 3339 time.
	From string
	// To is a folder that becomes a mirror: served over HTTP, Update and grype
	// itself take it as a feed. Ending in .tar.zst or .tar.gz, it is a single
	// archive instead.
	To string
	// TempDir is where the database is put together.
	TempDir string
	// Now tells the time; it becomes the build date.
	Now func() time.Time
}

// BuildResult is what was built.
type BuildResult struct {
	// Archive is the path of the database archive, and Checksum its SHA-256,
	// "sha256:<hex>".
	Archive  string
	Checksum string
	// Latest is the path of the mirror's latest.json; empty for a single
	// archive.
	Latest   string
	Database policy.Database
	// Records counts the records of each provider.
	Records map[string]int
}

// Build makes a database. Every record must end up in it: one that no part of
// grype understands, that names no package, or whose versions cannot be compared
// is an error that names its file, where grype's own builder would log it and go
// on. On an error nothing is left behind.
func Build(ctx context.Context, opts BuildOptions) (_ *BuildResult, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("building a vulnerability database from %s: %w", opts.From, err)
		}
	}()
	switch {
	case opts.Now == nil:
		return nil, errors.New("no clock")
	case opts.To == "":
		return nil, errors.New("no place for the result")
	case opts.TempDir == "":
		return nil, errors.New("no temporary directory")
	}
	now := opts.Now().UTC().Round(time.Second)
	sources, err := readSources(ctx, opts.From, now)
	if err != nil {
		return nil, err
	}
	tempDir, err := checkDir(opts.TempDir)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(tempDir, "vulndb-build-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	counts, err := writeRecords(ctx, tmp, sources)
	if err != nil {
		return nil, err
	}
	if err := setBuildTime(ctx, filepath.Join(tmp, v6.VulnerabilityDBFileName), now); err != nil {
		return nil, err
	}
	info, err := describeFile(tmp)
	if err != nil {
		return nil, err
	}
	sum, err := fullHash(ctx, filepath.Join(tmp, v6.VulnerabilityDBFileName))
	if err != nil {
		return nil, err
	}
	info.Digest = "sha256:" + sum.sha256
	out, err := publish(ctx, tmp, opts.To, info)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", opts.To, err)
	}
	info.Source = filepath.Base(out.Archive)
	out.Database, out.Records = info, counts
	return out, nil
}

// writeRecords puts the records of all sources into a new database.
func writeRecords(ctx context.Context, folder string, sources []source) (_ map[string]int, err error) {
	states := make(provider.States, len(sources))
	for i, s := range sources {
		states[i] = s.state
	}
	w, err := v6build.NewWriter(folder, states, false, 0)
	if err != nil {
		return nil, err
	}
	closed := false
	defer func() {
		if !closed {
			// Only to let go of the file; the caller removes it.
			_ = w.Close()
		}
	}()
	counts := map[string]int{}
	b := &builder{writer: w, processors: v6build.Processors(v6build.NewConfig()), ids: map[string]string{}}
	for _, s := range sources {
		err := s.each(ctx, func(r rawRecord) error {
			counts[s.state.Provider]++
			if err := b.add(s, r); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if counts[s.state.Provider] == 0 {
			return nil, fmt.Errorf("provider %q has no records", s.state.Provider)
		}
	}
	closed = true
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("finishing the database: %w", err)
	}
	return counts, nil
}

// builder turns records into rows.
type builder struct {
	writer     data.Writer
	processors []data.Processor
	ids        map[string]string // of records kept by hand, to the file they are in
}

func (b *builder) add(s source, r rawRecord) error {
	entries, err := b.entries(s, r)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := checkEntry(e, s.byHand); err != nil {
			return err
		}
	}
	return b.writer.Write(entries...)
}

// entries finds who understands a record.
func (b *builder) entries(s source, r rawRecord) ([]data.Entry, error) {
	env, err := parseEnvelope(r.data)
	if err != nil {
		return nil, err
	}
	if env == nil {
		if !s.byHand {
			return nil, errors.New("it has no envelope with schema and item")
		}
		return b.osv(s, r.name, r.data)
	}
	for _, p := range b.processors {
		if !p.IsSupported(env.Schema) {
			continue
		}
		entries, err := p.Process(bytes.NewReader(env.Item), s.state)
		if err != nil {
			return nil, err
		}
		switch {
		case len(entries) > 0, s.allowsNothing(env):
			return entries, nil
		case isOSV(env.Schema):
			// grype interprets the records of the feeds it knows, and passes
			// over all others.
			return b.osv(s, r.name, env.Item)
		}
		return nil, errors.New("there is nothing in it")
	}
	return nil, fmt.Errorf("its schema %q is not supported", env.Schema)
}

// osv maps an OSV document, whose id must be new.
func (b *builder) osv(s source, name string, document []byte) ([]data.Entry, error) {
	doc, err := parseOSV(document, s.byHand)
	if err != nil {
		return nil, err
	}
	if !s.byHand && len(doc.Affected) == 0 {
		// Feeds keep the ids of advisories that affect nothing.
		return nil, nil
	}
	if s.byHand {
		key := s.state.Provider + "\x00" + doc.ID
		if other, ok := b.ids[key]; ok {
			return nil, fmt.Errorf("its id %q is already that of %s", doc.ID, other)
		}
		b.ids[key] = name
	}
	return doc.entries(s.state)
}

// checkEntry makes sure that what was read from a record can be matched.
func checkEntry(e data.Entry, byHand bool) error {
	row, ok := e.Data.(transformers.RelatedEntries)
	if !ok {
		return fmt.Errorf("unexpected entry %T", e.Data)
	}
	if h := row.VulnerabilityHandle; byHand && h != nil && h.Status == v6.VulnerabilityActive && len(row.Related) == 0 && h.ProviderID != "nvd" {
		// NVD's have a use without: their severities stand in for others'.
		return fmt.Errorf("%q affects no package", h.Name)
	}
	for _, related := range row.Related {
		var (
			pkg  *v6.Package
			blob *v6.PackageBlob
		)
		switch h := related.(type) {
		case v6.AffectedPackageHandle:
			pkg, blob = h.Package, h.BlobValue
		case v6.UnaffectedPackageHandle:
			pkg, blob = h.Package, h.BlobValue
		case v6.AffectedCPEHandle:
			blob = h.BlobValue
		case v6.UnaffectedCPEHandle:
			blob = h.BlobValue
		case transformers.GoVulnDBAffectedPackage:
			pkg, blob = h.Handle.Package, h.Handle.BlobValue
			if err := checkRanges(h.CustomRanges, "", false); err != nil {
				return err
			}
		default:
			continue // KEV, EPSS, CWE, end of life: nothing to compare
		}
		if byHand && pkg != nil && !isPackageType(pkg.Ecosystem) {
			return fmt.Errorf("ecosystem %q of package %q is not known: nothing would ever match it", pkg.Ecosystem, pkg.Name)
		}
		if blob == nil {
			return errors.New("it affects a package and does not say in which versions")
		}
		typ := ""
		if pkg != nil {
			typ = pkg.Ecosystem
		}
		// NVD's ranges are of no ecosystem, and so have no rules to follow.
		if err := checkRanges(blob.Ranges, typ, byHand && typ != ""); err != nil {
			return err
		}
	}
	return nil
}

// checkRanges refuses versions that grype could not compare when it matches: it
// then drops the finding. typ is the type of the package, or empty where there
// is none.
//
// Where strict, a range that grype's reader has given up to compare by the rules
// of its ecosystem is refused too. Feeds have such ranges, and grype compares
// them loosely; by hand they are a slip.
func checkRanges(ranges []v6.Range, typ string, strict bool) error {
	for _, r := range ranges {
		if strict && r.Version.Type == version.UnknownFormat.String() && r.Version.Constraint != "" {
			return fmt.Errorf("the affected versions %q do not follow the rules of their ecosystem", r.Version.Constraint)
		}
		format := version.ParseFormat(r.Version.Type)
		if strict && format == version.UnknownFormat {
			// Compared by the format of the package that is matched.
			format = grypepkg.VersionFormat(grypepkg.Package{Type: syftpkg.Type(typ)})
		}
		c, err := version.GetConstraint(r.Version.Constraint, format)
		if err != nil {
			return fmt.Errorf("the affected versions %q cannot be read: %w", r.Version.Constraint, err)
		}
		// The versions in a constraint are not parsed until one is compared
		// with them.
		sample := version.New("1.0.0", format)
		if format == version.UnknownFormat || sample.Validate() != nil {
			continue
		}
		if _, err := c.Satisfied(sample); err != nil {
			return fmt.Errorf("the affected versions %q cannot be compared: %w", r.Version.Constraint, err)
		}
	}
	return nil
}

// setBuildTime replaces the time of day that grype has put into a new database.
func setBuildTime(ctx context.Context, file string, now time.Time) (err error) {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "UPDATE db_metadata SET build_timestamp = ?", now); err != nil {
		return fmt.Errorf("setting the build time: %w", err)
	}
	return nil
}
