// Package catalog lists the packages of an image: it generates the SBOM of each platform.
//
// [Cataloger.Generate] runs syft's catalogers on fetched layers, and [Cataloger.Document] encodes
// the SPDX and CycloneDX documents. [Encode] and [Decode] store an SBOM with everything that
// matching needs, so that the image need not be read again.
//
// A file that no cataloger can read is listed in SBOM.Unknowns. A file that is unreadable because
// of this machine is an error. syft needs a SQLite driver for RPM databases. The program must
// register one, for example by importing gate/vulndb. Otherwise Generate returns an error.
//
// Generate sets syft's logger for the whole process, because syft reports skipped archives only in
// its log.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"

	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging"
	"github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Tool describes the imagegate build that creates SBOMs and scans.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// URI identifies imagegate as the verifier and the scanner in statements.
	URI string `json:"uri"`
	// Components are the versions of syft, grype and cosign in this build, by name.
	Components map[string]string `json:"components"`
	// Build distinguishes builds of the same version. A cache entry from another build is not used.
	Build string `json:"-"`
}

// Cataloger generates SBOMs. Both fields are required.
type Cataloger struct {
	// Tool is named as the creator in documents.
	Tool Tool
	// Patterns has the patterns for licenses and credentials.
	Patterns *Patterns
	// Texts has the license texts that are known. Default: none.
	Texts *LicenseTexts
}

// Generate generates the SBOM of one platform's image from its fetched layers, without the
// documents. It reads only the given image. It never resolves a reference, because the reference
// could name a different image now.
func (c *Cataloger) Generate(ctx context.Context, a *filesystem.Archives, image v1.Image, digest v1.Hash) (_ *SBOM, err error) {
	img, err := a.Stack(ctx, image, digest)
	if err != nil {
		return nil, fmt.Errorf("indexing the layers of %s: %w", digest, err)
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	// Pass only the digest as the name. With a repository or tag, the documents about one image
	// would depend on where the image is stored.
	src := stereoscopesource.New(img.Image, stereoscopesource.ImageConfig{
		Reference: digest.String(),
		Alias:     source.Alias{Name: digest.String(), Version: digest.String()},
	})
	s, unread, err := c.read(ctx, src, img.Image)
	if err != nil {
		return nil, fmt.Errorf("cataloging %s: %w", digest, err)
	}
	if err := c.hideCredentials(s); err != nil {
		return nil, err
	}
	out := newSBOM(s, digest)
	out.Unknowns = unread(out.Unknowns)
	if err := machineFault(out); err != nil {
		return nil, err
	}
	// Use syft's resolver here, because it reads files of any size completely, as a checksum
	// requires. The resolver for catalogers has a size limit.
	files, err := src.FileResolver(source.SquashedScope)
	if err != nil {
		return nil, fmt.Errorf("cataloging %s: %w", digest, err)
	}
	if err := out.findOwners(ctx, files); err != nil {
		return nil, err
	}
	out.classifyUnknowns()
	return out, nil
}

// read runs syft's catalogers on an image. It returns the SBOM, and in unread the files that
// catalogers skipped without reporting an unknown.
func (c *Cataloger) read(ctx context.Context, src source.Source, img *image.Image) (_ *sbom.SBOM, unread func([]evidence.Unknown) []evidence.Unknown, err error) {
	cfg := catalogConfig(c.Tool)
	texts := cmp.Or(c.Texts, NewLicenseTexts(c.Patterns, func() []byte { return nil }))
	licensed, err := texts.in(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop, large := watchDropped(), &largeFiles{}
	s, err := syft.CreateSBOM(licensed, quickSource{src, img, large}, cfg)
	skipped := stop()
	if err = cmp.Or(err, texts.failed()); err != nil {
		return nil, nil, err
	}
	// If the context is canceled, catalogers stop early and return no error.
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	more, err := droppedUnknowns(skipped, img)
	if err != nil {
		return nil, nil, err
	}
	return s, func(listed []evidence.Unknown) []evidence.Unknown { return large.unknowns(append(listed, more...)) }, nil
}

// hideCredentials removes possible credentials from a syft SBOM before it is written to a document
// or the cache. It removes the raw configuration, which has the values of all variables, and the
// values of labels that look like credentials. No matcher reads these values.
func (c *Cataloger) hideCredentials(s *sbom.SBOM) error {
	m, ok := s.Source.Metadata.(source.ImageMetadata)
	if !ok {
		return fmt.Errorf("the source of the SBOM has unexpected metadata of type %T", s.Source.Metadata)
	}
	patterns, err := c.Patterns.Secrets()
	if err != nil {
		return err
	}
	m.RawConfig, m.RawManifest, m.Annotations = nil, nil, nil
	m.Labels = maps.Clone(m.Labels)
	for _, name := range patterns.HiddenLabels(m.Labels) {
		m.Labels[name] = evidence.HiddenValue
	}
	s.Source.Metadata = m
	return nil
}

// machineFaults are errors that are caused by this machine, not by the image.
var machineFaults = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, syscall.EIO,
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}

// machineFault returns an error if this machine is the reason that a file was unreadable: full
// disk, too many open files. Catalogers report such a file as an unknown, which would count against
// the image and would be cached. machineFault compares error texts, because syft keeps only the
// text of a cause.
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
//   - Files are not listed, because evidence is about packages. Archives and executables without
//     a recognized package are therefore not listed as unknown.
//   - An unknown is kept even if a package was found in the same file.
//   - Packages are not related to each file that they own. These relations take a quarter of the
//     time and are not in imagegate's documents. Relations between packages are kept.
//   - Go symbols are captured. Without them the matcher reports modules whose vulnerable
//     functions are not linked.
func catalogConfig(tool Tool) *syft.CreateSBOMConfig {
	cfg := syft.DefaultCreateSBOMConfig().
		WithTool(tool.Name, tool.Version).
		WithoutFiles().
		WithUnknownsConfig(cataloging.UnknownsConfig{})
	cfg.Packages.Golang = cfg.Packages.Golang.WithCaptureSymbols(cataloging.SymbolScopeAll)
	cfg.Relationships.PackageFileOwnership = false
	return cfg
}
