package vulndb

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/vulnerability"
	"gorm.io/gorm"

	"github.com/imagegate/imagegate/policy/evidence"
)

// maxFailures is the maximum number of errors that are collected. Without a limit, a failing disk
// would add an error for every package.
const maxFailures = 20

// failures collects errors. It is safe for concurrent use.
type failures struct {
	mu      sync.Mutex
	first   []error
	dropped int
}

func (f *failures) add(doing string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.first) == maxFailures {
		f.dropped++
		return
	}
	f.first = append(f.first, fmt.Errorf("%s: %w", doing, err))
}

func (f *failures) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.first)
	if f.dropped > 0 {
		all = append(all, fmt.Errorf("and %d more errors", f.dropped))
	}
	return errors.Join(all...)
}

// recordingProvider is grype's provider, but it also records every error. This is needed because
// grype's matchers log the errors of language and CPE searches and continue with fewer matches
// (grype/matcher/internal/common.go).
type recordingProvider struct {
	vulnerability.Provider
	eol      vulnerability.EOLChecker
	origins  vulnerability.StoreMetadataProvider
	failures *failures
}

// recordingProvider must also implement these two interfaces. grype finds them by type assertion,
// and omits checks without an error if they are missing.
var (
	_ vulnerability.EOLChecker            = (*recordingProvider)(nil)
	_ vulnerability.StoreMetadataProvider = (*recordingProvider)(nil)
)

func newProvider(r v6.Reader, f *failures) *recordingProvider {
	inner := v6.NewVulnerabilityProvider(r)
	return &recordingProvider{
		Provider: inner,
		// These type assertions cannot fail: grype asserts at compile time that its provider
		// implements both interfaces.
		eol:      inner.(vulnerability.EOLChecker),
		origins:  inner.(vulnerability.StoreMetadataProvider),
		failures: f,
	}
}

func (p *recordingProvider) FindVulnerabilities(criteria ...vulnerability.Criteria) ([]vulnerability.Vulnerability, error) {
	found, err := p.Provider.FindVulnerabilities(criteria...)
	p.failures.add("searching for vulnerabilities", err)
	for _, v := range found {
		if v.Metadata == nil {
			p.failures.add("reading the metadata of "+v.ID, errors.New("the metadata is missing"))
		}
	}
	return found, err
}

func (p *recordingProvider) VulnerabilityMetadata(ref vulnerability.Reference) (*vulnerability.Metadata, error) {
	md, err := p.Provider.VulnerabilityMetadata(ref) //nolint:staticcheck // deprecated and still part of the interface
	p.failures.add("reading the metadata of "+ref.ID, err)
	return md, err
}

func (p *recordingProvider) GetOperatingSystemEOL(d *distro.Distro) (eol, eoas *time.Time, err error) {
	eol, eoas, err = p.eol.GetOperatingSystemEOL(d)
	p.failures.add("reading the end of life of a distribution", err)
	return eol, eoas, err
}

func (p *recordingProvider) DataProvenance() (map[string]vulnerability.DataProvenance, error) {
	origins, err := p.origins.DataProvenance()
	p.failures.add("reading the providers of the database", err)
	return origins, err
}

// Close does nothing, because closing the DB closes the reader.
func (p *recordingProvider) Close() error { return nil }

// recordingReader is grype's reader, but it also records the errors that grype's provider drops.
// The provider returns empty lists if KEV, EPSS or CWE data cannot be read, and ignores rows
// without content (grype/db/v6/vulnerability_provider.go).
type recordingReader struct {
	v6.Reader
	lowLevelReader
	failures *failures
	noEPSS   bool
	present  knownNames
}

// lowLevelReader has the method that grype's provider needs to join rows. The method is not part of
// the public interface of grype's reader (grype/db/v6/refs.go).
type lowLevelReader interface{ GetDB() *gorm.DB }

func newRecordingReader(r v6.Reader, info evidence.Database, f *failures) (*recordingReader, error) {
	low, ok := r.(lowLevelReader)
	if !ok {
		return nil, fmt.Errorf("grype's reader %T gives no access to its rows", r)
	}
	out := &recordingReader{Reader: r, lowLevelReader: low, failures: f, present: knownNames{names: map[string]tables{}}}
	// The reader fetches the date of the EPSS scores on first use and caches it without a lock. So
	// use it here first, before several goroutines use it. A missing date is an error only if the
	// database has EPSS data.
	_, err := r.GetEpss("CVE-0000-0000")
	switch hasFeed := slices.ContainsFunc(info.Providers, func(p evidence.Provider) bool { return p.Name == "epss" }); {
	case err == nil:
	case errors.Is(err, gorm.ErrRecordNotFound) && !hasFeed:
		out.noEPSS = true
	default:
		return nil, fmt.Errorf("reading the date of the EPSS scores: %w", err)
	}
	return out, nil
}

func (r *recordingReader) GetEpss(cve string) ([]v6.EpssHandle, error) {
	if r.noEPSS {
		return nil, nil
	}
	found, err := r.Reader.GetEpss(cve)
	r.failures.add("reading the EPSS score of "+cve, err)
	return found, err
}

func (r *recordingReader) GetKnownExploitedVulnerabilities(cve string) ([]v6.KnownExploitedVulnerabilityHandle, error) {
	found, err := r.Reader.GetKnownExploitedVulnerabilities(cve)
	r.failures.add("reading the known exploits of "+cve, err)
	for _, one := range found {
		if one.BlobValue == nil {
			// grype's provider would dereference this nil pointer.
			err = errors.Join(err, fmt.Errorf("the KEV entry for %s has no content", one.Cve))
			r.failures.add("reading the known exploits of "+cve, err)
			return nil, err
		}
	}
	return found, err
}

func (r *recordingReader) GetCWEs(cve string) ([]v6.CWEHandle, error) {
	found, err := r.Reader.GetCWEs(cve)
	r.failures.add("reading the weaknesses of "+cve, err)
	return found, err
}

func (r *recordingReader) GetArchitectureAliases() (map[string]string, error) {
	found, err := r.Reader.GetArchitectureAliases()
	r.failures.add("reading the architecture aliases", err)
	return found, err
}

func (r *recordingReader) GetAffectedPackages(p *v6.PackageSpecifier, o *v6.GetPackageOptions) ([]v6.AffectedPackageHandle, error) {
	if there, known := r.about(p); known && !there.affected {
		return nil, nil
	}
	found, err := r.Reader.GetAffectedPackages(p, o)
	for i := range found {
		r.content(found[i].BlobValue == nil, o != nil && o.PreloadBlob, p)
	}
	return found, err
}

func (r *recordingReader) GetUnaffectedPackages(p *v6.PackageSpecifier, o *v6.GetPackageOptions) ([]v6.UnaffectedPackageHandle, error) {
	if there, known := r.about(p); known && !there.unaffected {
		return nil, nil
	}
	found, err := r.Reader.GetUnaffectedPackages(p, o)
	for i := range found {
		r.content(found[i].BlobValue == nil, o != nil && o.PreloadBlob, p)
	}
	return found, err
}

// about returns which database tables have rows about the searched name. known is false if the name
// is not in the known-name index.
func (r *recordingReader) about(p *v6.PackageSpecifier) (there tables, known bool) {
	if p == nil || p.Name == "" {
		return tables{}, false
	}
	return r.present.of(p.Name)
}

// content records an error for a row that should have content but has none. grype's provider would
// ignore such a row.
func (r *recordingReader) content(missing, wanted bool, p *v6.PackageSpecifier) {
	if missing && wanted {
		r.failures.add(fmt.Sprintf("reading the advisories for package %s", p), errors.New("a database row has no content"))
	}
}
