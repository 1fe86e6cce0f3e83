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

	"github.com/imagegate/imagegate/policy/evidence"
)

// BuildOptions configure Build.
type BuildOptions struct {
	// From is the folder with the provider records. It has one folder for each provider, with the
	// name of the provider. A provider's folder has one of two forms. It can be a workspace that
	// vunnel wrote: metadata.json, and results with their checksum listing. Or it has records
	// maintained by hand: files that end in .json, at any depth. Each file is a record in vunnel's
	// envelope or a bare OSV document.
	//
	// Records maintained by hand count as captured at build time, because they are the originals.
	// If they are a copy that may be out of date, put a file named "captured" next to them. It
	// contains the time of the copy in RFC 3339.
	From string
	// To is the output. If it ends in .tar.zst or .tar.gz, it is a single archive. Otherwise it is
	// a folder that becomes a mirror. Update and grype accept the mirror as a feed if it is served
	// over HTTP.
	To string
	// TempDir is the folder for temporary files.
	TempDir string
	// Now returns the current time, which becomes the build date.
	Now func() time.Time
}

// BuildResult is the result of Build.
type BuildResult struct {
	// Archive is the path of the database archive. Checksum is its SHA-256 as "sha256:<hex>".
	Archive  string
	Checksum string
	// Latest is the path of the mirror's latest.json. It is empty if To is a single archive.
	Latest   string
	Database evidence.Database
	// Records counts the records of each provider.
	Records map[string]int
}

// Build makes a database that contains every record in opts.From. It returns an error that names
// the file if grype does not support a record, if a record names no package, or if the versions in
// a record cannot be compared. grype's own builder would log these problems and continue. After an
// error, Build leaves no output behind.
func Build(ctx context.Context, opts BuildOptions) (_ *BuildResult, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("building a vulnerability database from %s: %w", opts.From, err)
		}
	}()
	switch {
	case opts.Now == nil:
		return nil, errors.New("no clock given")
	case opts.To == "":
		return nil, errors.New("no output given")
	case opts.TempDir == "":
		return nil, errors.New("no temporary directory given")
	}
	now := opts.Now().UTC().Round(time.Second)
	sources, err := readSources(ctx, opts.From, now)
	if err != nil {
		return nil, &RecordsError{err}
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

// writeRecords writes the records of all providers to a new database. It returns the number of
// records of each provider.
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
			// Ignore the error of Close: the build has already failed, and the caller removes the
			// file.
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
			return nil, &RecordsError{fmt.Errorf("provider %q has no records", s.state.Provider)}
		}
	}
	closed = true
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("finishing the database: %w", err)
	}
	return counts, nil
}

// builder converts the records of providers to database rows and writes the rows.
type builder struct {
	writer     data.Writer
	processors []data.Processor
	ids        map[string]string // files of the records maintained by hand, by provider and record ID
}

func (b *builder) add(s source, r rawRecord) error {
	entries, err := b.entries(s, r)
	if err != nil {
		return &RecordsError{err}
	}
	for _, e := range entries {
		if err := checkEntry(e, s.byHand); err != nil {
			return &RecordsError{err}
		}
	}
	return b.writer.Write(entries...)
}

// entries returns the database rows of a record, as the first of grype's processors that supports
// the record creates them.
func (b *builder) entries(s source, r rawRecord) ([]data.Entry, error) {
	env, err := parseEnvelope(r.data)
	if err != nil {
		return nil, err
	}
	if env == nil {
		if !s.byHand {
			return nil, errors.New("the record is not in vunnel's format: it has neither \"schema\" nor \"item\"")
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
			// grype's processor returns no rows for an OSV record of a feed that it does not know,
			// so convert the record here.
			return b.osv(s, r.name, env.Item)
		}
		return nil, errors.New("the record is empty")
	}
	return nil, fmt.Errorf("schema %q of the record is not supported", env.Schema)
}

// osv converts an OSV document to database rows. It returns an error if two records maintained by
// hand have the same ID.
func (b *builder) osv(s source, name string, document []byte) ([]data.Entry, error) {
	doc, err := parseOSV(document, s.byHand)
	if err != nil {
		return nil, err
	}
	if !s.byHand && len(doc.Affected) == 0 {
		// The document may come from a feed: feeds also publish IDs of advisories that do not
		// affect any package.
		return nil, nil
	}
	if s.byHand {
		key := s.state.Provider + "\x00" + doc.ID
		if other, ok := b.ids[key]; ok {
			return nil, fmt.Errorf("id %q is already used by %s", doc.ID, other)
		}
		b.ids[key] = name
	}
	return doc.entries(s.state)
}

// checkEntry returns an error if matchers could never find the row of a record. byHand is true for
// a record maintained by hand.
func checkEntry(e data.Entry, byHand bool) error {
	row, ok := e.Data.(transformers.RelatedEntries)
	if !ok {
		return fmt.Errorf("unexpected type %T of a database entry", e.Data)
	}
	if h := row.VulnerabilityHandle; byHand && h != nil && h.Status == v6.VulnerabilityActive && len(row.Related) == 0 && h.ProviderID != "nvd" {
		// Only an NVD entry may have no packages: its severities replace missing severities of
		// other records.
		return fmt.Errorf("the record %q affects no package", h.Name)
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
			continue // KEV, EPSS, CWE and end-of-life rows have no versions.
		}
		if byHand && pkg != nil && !isPackageType(pkg.Ecosystem) {
			return fmt.Errorf("ecosystem %q of package %q is unknown: its advisories would never match", pkg.Ecosystem, pkg.Name)
		}
		if blob == nil {
			return errors.New("the record affects a package but lists no versions")
		}
		typ := ""
		if pkg != nil {
			typ = pkg.Ecosystem
		}
		// NVD's version ranges have no ecosystem, so the strict check does not apply to them.
		if err := checkRanges(blob.Ranges, typ, byHand && typ != ""); err != nil {
			return err
		}
	}
	return nil
}

// checkRanges refuses versions that grype cannot compare, because grype would drop their findings
// during matching. typ is the type of the package, or empty without a package.
//
// If strict is true, checkRanges also refuses a range that grype cannot parse with the rules of its
// ecosystem. Feeds have such ranges, and grype compares them loosely. In records maintained by hand
// they are mistakes.
func checkRanges(ranges []v6.Range, typ string, strict bool) error {
	for _, r := range ranges {
		if strict && r.Version.Type == version.UnknownFormat.String() && r.Version.Constraint != "" {
			return fmt.Errorf("the affected versions %q are invalid for their ecosystem", r.Version.Constraint)
		}
		format := version.ParseFormat(r.Version.Type)
		if strict && format == version.UnknownFormat {
			// grype compares versions of unknown format in the format of the matched package.
			format = grypepkg.VersionFormat(grypepkg.Package{Type: syftpkg.Type(typ)})
		}
		c, err := version.GetConstraint(r.Version.Constraint, format)
		if err != nil {
			return fmt.Errorf("cannot parse the affected versions %q: %w", r.Version.Constraint, err)
		}
		// A constraint parses its versions only during a comparison, so compare it with a sample
		// version.
		sample := version.New("1.0.0", format)
		if format == version.UnknownFormat || sample.Validate() != nil {
			continue
		}
		if _, err := c.Satisfied(sample); err != nil {
			return fmt.Errorf("cannot compare the affected versions %q: %w", r.Version.Constraint, err)
		}
	}
	return nil
}

// setBuildTime replaces the build time that grype wrote to a new database.
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
