package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/format/common/cyclonedxhelpers"
	"github.com/anchore/syft/syft/format/common/spdxhelpers"
	"github.com/anchore/syft/syft/sbom"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/uuid"
	"github.com/spdx/tools-golang/convert"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"golang.org/x/sync/errgroup"
)

// Document encodes the SPDX and the CycloneDX document of an SBOM in parallel. created is the
// creation time of the image, or zero if unknown.
func (c *Cataloger) Document(s *SBOM, created time.Time) error {
	packagesOnly := withoutFiles(*s.syft)
	var group errgroup.Group
	group.Go(func() (err error) {
		if s.SPDX, err = encodeSPDX(packagesOnly, s.Digest, created, c.Tool); err != nil {
			return fmt.Errorf("encoding the SPDX document of %s: %w", s.Digest, err)
		}
		return nil
	})
	group.Go(func() (err error) {
		if s.CycloneDX, err = encodeCycloneDX(packagesOnly, s.Digest, created, c.Tool); err != nil {
			return fmt.Errorf("encoding the CycloneDX document of %s: %w", s.Digest, err)
		}
		return nil
	})
	return group.Wait()
}

// withoutFiles returns a copy of the SBOM without the relations between packages and single files.
// Otherwise the documents would list every such file.
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

// documentID derives the ID of a document from the image and the tool, so that every run gives the
// same ID. By default, the encoders use a random ID.
func documentID(format string, digest v1.Hash, tool Tool) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.Join([]string{
		tool.URI, tool.Version, tool.Components["syft"], format, digest.String()}, "\n")))
}

// documentTime returns the creation time of the image, or the Unix epoch if the image has none.
// With the time of the run, two documents about one image would differ. The time of the scan is in
// the scan statement.
func documentTime(created time.Time) time.Time {
	created = created.UTC().Truncate(time.Second)
	if created.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return created
}

func encodeSPDX(s sbom.SBOM, digest v1.Hash, created time.Time, tool Tool) ([]byte, error) {
	doc := spdxhelpers.ToFormatModel(s)
	doc.DocumentNamespace = fmt.Sprintf("%s/spdx/%s-%s", tool.URI, digest.Hex, documentID("spdx-2.3", digest, tool))
	doc.CreationInfo.Created = documentTime(created).Format(time.RFC3339)
	var v23 v2_3.Document
	if err := convert.Document(doc, &v23); err != nil {
		return nil, err
	}
	return marshal(v23)
}

func encodeCycloneDX(s sbom.SBOM, digest v1.Hash, created time.Time, tool Tool) ([]byte, error) {
	bom := cyclonedxhelpers.ToFormatModel(s)
	bom.SerialNumber = documentID("cyclonedx-1.6", digest, tool).URN()
	bom.Metadata.Timestamp = documentTime(created).Format(time.RFC3339)
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
