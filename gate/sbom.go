package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/format/common/cyclonedxhelpers"
	"github.com/anchore/syft/syft/format/common/spdxhelpers"
	syftpkg "github.com/anchore/syft/syft/pkg"
	"github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/uuid"
	"github.com/spdx/tools-golang/convert"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/secrets"
	"github.com/imagegate/imagegate/policy"
)

// SBOM is the software bill of materials of one platform's image.
type SBOM struct {
	// Digest is the digest of the manifest that was cataloged.
	Digest v1.Hash
	// Packages, Distribution and Unknowns are the evidence for the policy. Unknowns has every file
	// that a cataloger could not read, even if another cataloger found packages in it.
	Packages     []policy.Package
	Distribution policy.Distribution
	Unknowns     []policy.Unknown
	// SPDX is an SPDX 2.3 JSON document, and CycloneDX a CycloneDX 1.6 JSON document. Both list
	// packages, not files. They are identical byte for byte for the same digest and tool versions.
	SPDX      []byte
	CycloneDX []byte

	syft *sbom.SBOM // the matcher's input, without a round trip through JSON
	// sorted are the packages of syft, kept here because syft copies each package on every call.
	sorted []syftpkg.Package
	// owners are the files that packages of the distribution own, sorted by path.
	owners []ownedFile
}

// catalog generates the SBOM of one platform's image from its fetched layers. It reads only the
// image itself and never resolves a reference, which could name another image by now.
func catalog(ctx context.Context, a *filesystem.Archives, p *Platform, tool Tool) (_ *SBOM, err error) {
	img, err := a.Stack(ctx, p.Image, p.Digest)
	if err != nil {
		return nil, fmt.Errorf("indexing the layers of %s: %w", p.Digest, err)
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	// Pass only the digest as a name. With a repository or tag, two documents about one image would
	// differ.
	src := stereoscopesource.New(img.Image, stereoscopesource.ImageConfig{
		Reference: p.Digest.String(),
		Alias:     source.Alias{Name: p.Digest.String(), Version: p.Digest.String()},
	})
	cfg := catalogConfig(tool)
	licensed, err := withLicenses(ctx, cfg)
	if err != nil {
		return nil, err
	}
	stop, large := watchDropped(), &largeFiles{}
	s, err := syft.CreateSBOM(licensed, quickSource{src, img.Image, large}, cfg)
	skipped := stop()
	if err != nil {
		return nil, fmt.Errorf("cataloging %s: %w", p.Digest, err)
	}
	// If the context is canceled, catalogers stop early and return no error.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	more, err := droppedUnknowns(skipped, img.Image)
	if err != nil {
		return nil, fmt.Errorf("cataloging %s: %w", p.Digest, err)
	}
	if err := hideCredentials(s); err != nil {
		return nil, err
	}
	out := newSBOM(s, p)
	out.Unknowns = large.unknowns(append(out.Unknowns, more...))
	if err := machineFault(out); err != nil {
		return nil, err
	}
	// The image's own resolver does not limit how much of a file is read.
	files, err := src.FileResolver(source.SquashedScope)
	if err != nil {
		return nil, fmt.Errorf("cataloging %s: %w", p.Digest, err)
	}
	if err := out.findOwners(ctx, files); err != nil {
		return nil, err
	}
	out.classifyUnknowns()
	return out, nil
}

// hideCredentials removes values of the image configuration from a syft SBOM before it is written
// to a document or the cache. It removes the raw configuration, which has the values of all
// variables, and the values of labels that look like credentials. No matcher reads them.
func hideCredentials(s *sbom.SBOM) error {
	m, ok := s.Source.Metadata.(source.ImageMetadata)
	if !ok {
		return fmt.Errorf("the source of the SBOM is a %T", s.Source.Metadata)
	}
	patterns, err := secrets.Load()
	if err != nil {
		return err
	}
	m.RawConfig, m.RawManifest, m.Annotations = nil, nil, nil
	m.Labels = maps.Clone(m.Labels)
	for _, name := range patterns.HiddenLabels(m.Labels) {
		m.Labels[name] = policy.HiddenValue
	}
	s.Source.Metadata = m
	return nil
}

// machineFaults are errors of this machine. They say nothing about the image.
var machineFaults = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, syscall.EIO,
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}

// machineFault returns an error if a file was unreadable because of this machine: full disk, too
// many open files. Catalogers report that as an unknown, which would count against the image and
// would be cached. The function compares error texts, because syft keeps only the text of a cause.
func machineFault(s *SBOM) error {
	for _, u := range s.Unknowns {
		for _, fault := range machineFaults {
			if strings.Contains(u.Reason, fault.Error()) {
				return fmt.Errorf("cataloging %s: this machine could not read %q: %w", s.Digest, u.Path, fault)
			}
		}
	}
	return nil
}

// catalogConfig returns syft's default for images, with these differences:
//
//   - Files are not listed, because evidence is about packages. Archives and executables without a
//     recognized package are therefore not listed as unknown.
//   - An unknown is kept even if a package was found in the same file.
//   - Packages are not related to each file that they own. These relations are in none of our
//     documents and take a quarter of the time. Relations between packages stay.
//   - Go symbols are captured. Without them the matcher reports modules whose vulnerable functions
//     are not linked.
func catalogConfig(tool Tool) *syft.CreateSBOMConfig {
	cfg := syft.DefaultCreateSBOMConfig().
		WithTool(tool.Name, tool.Version).
		WithoutFiles().
		WithUnknownsConfig(cataloging.UnknownsConfig{})
	cfg.Packages.Golang = cfg.Packages.Golang.WithCaptureSymbols(cataloging.SymbolScopeAll)
	cfg.Relationships.PackageFileOwnership = false
	return cfg
}

// licenses holds syft's compiled license patterns for all catalogs of this process. Compiling takes
// one to two seconds. syft passes them in a context.
var licenses struct {
	once   sync.Once
	values context.Context
	err    error
}

// withLicenses returns ctx with the compiled license patterns.
func withLicenses(ctx context.Context, cfg *syft.CreateSBOMConfig) (context.Context, error) {
	licenses.once.Do(func() {
		licenses.values, licenses.err = syft.SetContextLicenseScanner(context.WithoutCancel(ctx), cfg.Licenses)
	})
	if licenses.err != nil {
		return nil, fmt.Errorf("compiling licence patterns: %w", licenses.err)
	}
	return valuesOf{ctx, licenses.values}, nil
}

// valuesOf is a context that also has the values of another context.
type valuesOf struct {
	context.Context
	more context.Context
}

// Value looks up the key in the context first, then in more.
func (c valuesOf) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.more.Value(key)
}

// newSBOM returns an SBOM without the documents. [SBOM.document] encodes them.
func newSBOM(s *sbom.SBOM, p *Platform) *SBOM {
	out := &SBOM{Digest: p.Digest, Packages: []policy.Package{}, Unknowns: unknowns(s), syft: s, sorted: s.Artifacts.Packages.Sorted()}
	for _, sp := range out.sorted {
		out.Packages = append(out.Packages, toPackage(sp))
	}
	if r := s.Artifacts.LinuxDistribution; r != nil {
		out.Distribution = policy.Distribution{ID: r.ID, Version: r.VersionID, Name: r.PrettyName}
	}
	return out
}

// document encodes both documents in parallel.
func (s *SBOM) document(p *Platform, tool Tool) error {
	packagesOnly := withoutFiles(*s.syft)
	var group errgroup.Group
	group.Go(func() (err error) {
		if s.SPDX, err = encodeSPDX(packagesOnly, p, tool); err != nil {
			return fmt.Errorf("encoding the SPDX document of %s: %w", p.Digest, err)
		}
		return nil
	})
	group.Go(func() (err error) {
		if s.CycloneDX, err = encodeCycloneDX(packagesOnly, p, tool); err != nil {
			return fmt.Errorf("encoding the CycloneDX document of %s: %w", p.Digest, err)
		}
		return nil
	})
	return group.Wait()
}

func toPackage(p syftpkg.Package) policy.Package {
	out := policy.Package{Name: p.Name, Version: p.Version, Type: string(p.Type), PURL: p.PURL}
	for _, l := range p.Licenses.ToSlice() {
		if l.SPDXExpression != "" {
			out.Licenses = append(out.Licenses, l.SPDXExpression)
		} else if l.Value != "" {
			out.Licenses = append(out.Licenses, l.Value)
		}
	}
	for _, l := range p.Locations.ToSlice() {
		out.Found = append(out.Found, policy.Location{Path: l.RealPath, Layer: l.FileSystemID})
	}
	return out
}

// unknowns flattens syft's map. syft's reasons have the form "cataloger: error".
func unknowns(s *sbom.SBOM) []policy.Unknown {
	out := []policy.Unknown{}
	for at, reasons := range s.Artifacts.Unknowns {
		for _, reason := range reasons {
			u := policy.Unknown{Location: policy.Location{Path: at.RealPath, Layer: at.FileSystemID}, Reason: reason}
			if name, rest, ok := strings.Cut(reason, ": "); ok && !strings.ContainsAny(name, " /") {
				u.Cataloger, u.Reason = name, rest
			}
			out = append(out, u)
		}
	}
	slices.SortFunc(out, compareUnknowns)
	return out
}

func compareUnknowns(a, b policy.Unknown) int {
	return strings.Compare(a.Path+"\x00"+a.Cataloger+"\x00"+a.Reason, b.Path+"\x00"+b.Cataloger+"\x00"+b.Reason)
}

// withoutFiles removes relations between packages and single files. They would add every such file
// to the documents again.
func withoutFiles(s sbom.SBOM) sbom.SBOM {
	s.Relationships = slices.DeleteFunc(slices.Clone(s.Relationships), func(r artifact.Relationship) bool {
		return isFile(r.From) || isFile(r.To)
	})
	return s
}

func isFile(v any) bool {
	switch v.(type) {
	case file.Coordinates, file.Location:
		return true
	}
	return false
}

// documentID derives the ID of a document from its content. The encoders would use a random ID.
func documentID(format string, digest v1.Hash, tool Tool) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.Join([]string{
		tool.URI, tool.Version, tool.Components["syft"], format, digest.String()}, "\n")))
}

// documentTime returns the creation time of the image, or the Unix epoch if there is none. With the
// time of the run, two documents about one image would differ. The scan statement has the scan
// time.
func documentTime(p *Platform) time.Time {
	created := p.Config.Created.UTC().Truncate(time.Second)
	if created.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return created
}

func encodeSPDX(s sbom.SBOM, p *Platform, tool Tool) ([]byte, error) {
	doc := spdxhelpers.ToFormatModel(s)
	doc.DocumentNamespace = fmt.Sprintf("%s/spdx/%s-%s", tool.URI, p.Digest.Hex, documentID("spdx-2.3", p.Digest, tool))
	doc.CreationInfo.Created = documentTime(p).Format(time.RFC3339)
	var v23 v2_3.Document
	if err := convert.Document(doc, &v23); err != nil {
		return nil, err
	}
	return marshal(v23)
}

func encodeCycloneDX(s sbom.SBOM, p *Platform, tool Tool) ([]byte, error) {
	bom := cyclonedxhelpers.ToFormatModel(s)
	bom.SerialNumber = documentID("cyclonedx-1.6", p.Digest, tool).URN()
	bom.Metadata.Timestamp = documentTime(p).Format(time.RFC3339)
	var buf bytes.Buffer
	enc := cyclonedx.NewBOMEncoder(&buf, cyclonedx.BOMFileFormatJSON).SetEscapeHTML(false)
	if err := enc.EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}
