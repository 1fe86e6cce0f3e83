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

// SBOM is the bill of materials of one platform's image.
type SBOM struct {
	// Digest is the digest of the manifest that was cataloged.
	Digest v1.Hash
	// Packages, Distribution and Unknowns are what the policy judges. Unknowns
	// has every file that a cataloger could not read, also beside packages.
	Packages     []policy.Package
	Distribution policy.Distribution
	Unknowns     []policy.Unknown
	// SPDX is an SPDX 2.3 JSON document and CycloneDX a CycloneDX 1.6 one.
	// Both list packages, not files, and are equal byte for byte for the same
	// digest and the same versions of the tools.
	SPDX      []byte
	CycloneDX []byte

	syft *sbom.SBOM // what the matcher reads, without a round trip through JSON
	// sorted are the packages in there: syft copies each one for whoever asks.
	sorted []syftpkg.Package
	// owners are the files that packages of the distribution own, sorted by path.
	owners []ownedFile
}

// catalog finds the packages of one platform's image, whose layers have been
// fetched. Everything is read from the image itself, never
// from a reference that could name something else by now.
func catalog(ctx context.Context, a *filesystem.Archives, p *Platform, tool Tool) (_ *SBOM, err error) {
	img, err := a.Stack(ctx, p.Image, p.Digest)
	if err != nil {
		return nil, fmt.Errorf("indexing the layers of %s: %w", p.Digest, err)
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	// The digest is the only name that goes in: a repository or tag would
	// make two documents of one image differ.
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
	// Cancelled catalogers stop early without an error of their own.
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
	// The image's own resolver reads all of a file.
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

// hideCredentials removes from a syft SBOM what the image's configuration says, before it gets into
// a document or the cache: the configuration itself, which has the values of all variables, and
// the values of labels that look like credentials. No matcher reads them.
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

// machineFaults are what can be wrong with a machine, and with no image.
var machineFaults = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, syscall.EIO,
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}

// machineFault is an error where a file could not be read for no reason of its own.
// Catalogers call that an unknown: it would be held against the image, or with a
// policy that warns of unknowns be signed without what is in the file, and the cache
// would keep it. Of a cause the words are all that syft keeps.
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

// catalogConfig is syft's default for images with these differences: files are
// not listed, as evidence is about packages, and so archives and executables in
// which syft recognises no package are not listed as unknown either; no unknown
// is dropped because a package was found beside it; packages are not related to
// each file that they own, as these relations are in no document of ours and take
// a quarter of the time, while those between packages stay; and Go symbols are
// captured, without which the matcher reports modules whose vulnerable functions
// are not linked.
func catalogConfig(tool Tool) *syft.CreateSBOMConfig {
	cfg := syft.DefaultCreateSBOMConfig().
		WithTool(tool.Name, tool.Version).
		WithoutFiles().
		WithUnknownsConfig(cataloging.UnknownsConfig{})
	cfg.Packages.Golang = cfg.Packages.Golang.WithCaptureSymbols(cataloging.SymbolScopeAll)
	cfg.Relationships.PackageFileOwnership = false
	return cfg
}

// licenses keeps syft's licence patterns, which take a second or two to
// compile, from one catalog to the next. syft hands them around in a context.
var licenses struct {
	once   sync.Once
	values context.Context
	err    error
}

// withLicenses returns ctx with the licence patterns in it.
func withLicenses(ctx context.Context, cfg *syft.CreateSBOMConfig) (context.Context, error) {
	licenses.once.Do(func() {
		licenses.values, licenses.err = syft.SetContextLicenseScanner(context.WithoutCancel(ctx), cfg.Licenses)
	})
	if licenses.err != nil {
		return nil, fmt.Errorf("compiling licence patterns: %w", licenses.err)
	}
	return valuesOf{ctx, licenses.values}, nil
}

// valuesOf is a context that has another one's values too.
type valuesOf struct {
	context.Context
	more context.Context
}

// Value looks in the context itself first.
func (c valuesOf) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.more.Value(key)
}

// newSBOM lacks the documents, which [SBOM.document] makes.
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

// document writes the documents, side by side.
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

// unknowns flattens syft's map. A reason reads "cataloger: what went wrong".
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

// withoutFiles leaves out what relates packages to single files, which would
// bring every such file back into the documents.
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

// documentID derives what the encoders would draw at random.
func documentID(format string, digest v1.Hash, tool Tool) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.Join([]string{
		tool.URI, tool.Version, tool.Components["syft"], format, digest.String()}, "\n")))
}

// documentTime is the image's own creation time. The time of the run would
// make every document of one image a different one; when the scan took place
// is said by the scan statement.
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
