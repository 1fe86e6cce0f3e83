package vex

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

var cycloneDXStates = map[cdx.ImpactAnalysisState]Status{
	cdx.IASNotAffected:          NotAffected,
	cdx.IASFalsePositive:        NotAffected,
	cdx.IASResolved:             Fixed,
	cdx.IASResolvedWithPedigree: Fixed,
	cdx.IASExploitable:          Affected,
	cdx.IASInTriage:             UnderInvestigation,
}

// cycloneDXJustifications maps CycloneDX justifications to OpenVEX justifications with the same
// meaning. OpenVEX has no justification for "requires a certain configuration, dependency or
// environment".
var cycloneDXJustifications = map[cdx.ImpactAnalysisJustification]string{
	cdx.IAJCodeNotPresent:               "vulnerable_code_not_present",
	cdx.IAJCodeNotReachable:             "vulnerable_code_not_in_execute_path",
	cdx.IAJProtectedByCompiler:          "inline_mitigations_already_exist",
	cdx.IAJProtectedAtRuntime:           "inline_mitigations_already_exist",
	cdx.IAJProtectedAtPerimeter:         "inline_mitigations_already_exist",
	cdx.IAJProtectedByMitigatingControl: "inline_mitigations_already_exist",
	cdx.IAJRequiresConfiguration:        "",
	cdx.IAJRequiresDependency:           "",
	cdx.IAJRequiresEnvironment:          "",
}

// cycloneDX parses the vulnerabilities of a BOM that have an analysis.
//
// A vulnerability names the affected package by its URL, or by the bom-ref of a component in the
// same BOM. If the BOM describes a product, the affected component is a package in that product.
// Otherwise, the component itself is the product. A BOM-Link into another BOM matches nothing,
// because that BOM is not available. A reference that is limited to some versions also matches
// nothing, unless the status is affected or under investigation. See
// https://cyclonedx.org/capabilities/vex/.
func cycloneDX(data []byte) ([]Statement, error) {
	var bom cdx.BOM
	if err := json.Unmarshal(data, &bom); err != nil {
		return nil, err
	}
	if bom.BOMFormat != cdx.BOMFormat || bom.SpecVersion < cdx.SpecVersion1_4 {
		return nil, fmt.Errorf("unsupported format %s version %s: VEX needs CycloneDX 1.4 or later", bom.BOMFormat, bom.SpecVersion)
	}
	r := refs{of: map[string]*cdx.Component{}}
	issued := ""
	author := ""
	if m := bom.Metadata; m != nil {
		issued, r.product = m.Timestamp, m.Component
		if m.Supplier != nil {
			author = m.Supplier.Name
		}
		if m.Authors != nil && len(*m.Authors) > 0 {
			author = (*m.Authors)[0].Name
		}
	}
	if r.product != nil {
		if err := r.add([]cdx.Component{*r.product}); err != nil {
			return nil, err
		}
	}
	if bom.Components != nil {
		if err := r.add(*bom.Components); err != nil {
			return nil, err
		}
	}
	if bom.Vulnerabilities == nil {
		return nil, errors.New("the BOM has no vulnerabilities")
	}
	var out []Statement
	for i, v := range *bom.Vulnerabilities {
		if v.Analysis == nil {
			continue // a vulnerability without an analysis is a finding and not a VEX statement
		}
		one, err := analysis(v)
		if err != nil {
			return nil, fmt.Errorf("vulnerability %d, %q: %w", i+1, v.ID, err)
		}
		one.Document, one.Author = bom.SerialNumber, author
		when := cmp.Or(v.Analysis.LastUpdated, v.Analysis.FirstIssued, v.Updated, issued)
		if one.Timestamp, err = time.Parse(time.RFC3339, when); err != nil {
			return nil, fmt.Errorf("vulnerability %d, %q: the analysis has no valid date", i+1, v.ID)
		}
		one.Timestamp = one.Timestamp.UTC()
		if v.Affects == nil {
			out = append(out, one)
			continue
		}
		for _, a := range *v.Affects {
			forProduct := one
			narrowed := a.Range != nil && len(*a.Range) > 0
			suppresses := one.Status == NotAffected || one.Status == Fixed
			if narrowed && suppresses {
				forProduct.Products = []string{}
			} else if forProduct.Products, forProduct.Subcomponents, err = r.resolve(a.Ref); err != nil {
				return nil, fmt.Errorf("vulnerability %d, %q: %w", i+1, v.ID, err)
			}
			out = append(out, forProduct)
		}
	}
	return out, nil
}

func analysis(v cdx.Vulnerability) (Statement, error) {
	status, ok := cycloneDXStates[v.Analysis.State]
	if !ok {
		return Statement{}, fmt.Errorf("unknown analysis state %q", v.Analysis.State)
	}
	j := v.Analysis.Justification
	justification, ok := cycloneDXJustifications[j]
	if j != "" && !ok {
		return Statement{}, fmt.Errorf("unknown analysis justification %q", j)
	}
	out := Statement{ID: v.ID, Status: status, Justification: justification, Impact: cmp.Or(v.Analysis.Detail, string(j))}
	if v.References != nil {
		for _, r := range *v.References {
			if r.ID != "" && r.ID != v.ID {
				out.Aliases = append(out.Aliases, r.ID)
			}
		}
	}
	return out, nil
}

// refs maps each bom-ref of a BOM to its component. product is the product that the BOM describes,
// or nil.
type refs struct {
	of      map[string]*cdx.Component
	product *cdx.Component
}

func (r refs) add(components []cdx.Component) error {
	for i := range components {
		c := &components[i]
		if c.BOMRef != "" {
			if other, ok := r.of[c.BOMRef]; ok && other.PackageURL != c.PackageURL {
				return fmt.Errorf("two components have the bom-ref %q", c.BOMRef)
			}
			r.of[c.BOMRef] = c
		}
		if c.Components != nil {
			if err := r.add(*c.Components); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve returns the names of the product and of the affected package in it. ref is a reference in
// "affects". If the affected component is itself the product, subcomponents is nil.
func (r refs) resolve(ref string) (products, subcomponents []string, err error) {
	c, known := r.of[ref]
	switch {
	case strings.HasPrefix(ref, "urn:cdx:"):
		return []string{}, nil, nil
	case !known && isPURL(ref):
		c = &cdx.Component{PackageURL: ref}
	case !known:
		return nil, nil, fmt.Errorf("the affected component %q is not in the BOM", ref)
	}
	if r.product == nil {
		return componentNames(*c), nil, nil
	}
	if known && c.BOMRef == r.product.BOMRef {
		return componentNames(*r.product), nil, nil
	}
	if c.PackageURL == "" {
		return []string{}, nil, nil
	}
	return componentNames(*r.product), []string{c.PackageURL}, nil
}

// componentNames returns the package URL of a component and, for an image, its digests. SBOM
// generators write the digest of an image into the version.
func componentNames(c cdx.Component) []string {
	out := []string{}
	if isPURL(c.PackageURL) {
		out = append(out, c.PackageURL)
	}
	if c.Type != cdx.ComponentTypeContainer {
		return out
	}
	if strings.HasPrefix(c.Version, "sha256:") {
		if digest := imageDigest(c.Version); digest != "" {
			out = append(out, digest)
		}
	}
	if c.Hashes != nil {
		for _, h := range *c.Hashes {
			if digest := imageDigest(h.Value); h.Algorithm == cdx.HashAlgoSHA256 && digest != "" {
				out = append(out, digest)
			}
		}
	}
	return out
}
