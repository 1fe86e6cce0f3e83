package vex

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// advisory has the fields of a CSAF 2.0 document that describe affected products. imagegate does
// not use the types of github.com/gocsaf/csaf, because they cannot parse the hashes and the product
// groups that the standard defines. See
// https://docs.oasis-open.org/csaf/csaf/v2.0/os/csaf-v2.0-os.html.
type advisory struct {
	Document struct {
		Category    string `json:"category"`
		CSAFVersion string `json:"csaf_version"`
		Publisher   struct {
			Name string `json:"name"`
		} `json:"publisher"`
		Tracking struct {
			ID                 string `json:"id"`
			Status             string `json:"status"`
			CurrentReleaseDate string `json:"current_release_date"`
		} `json:"tracking"`
	} `json:"document"`
	ProductTree struct {
		Branches         []branch       `json:"branches"`
		FullProductNames []namedProduct `json:"full_product_names"`
		ProductGroups    []struct {
			GroupID    string   `json:"group_id"`
			ProductIDs []string `json:"product_ids"`
		} `json:"product_groups"`
		Relationships []relationship `json:"relationships"`
	} `json:"product_tree"`
	Vulnerabilities []vulnerability `json:"vulnerabilities"`
}

type branch struct {
	Branches []branch      `json:"branches"`
	Product  *namedProduct `json:"product"`
}

type namedProduct struct {
	ProductID string `json:"product_id"`
	Helper    struct {
		PURL   string `json:"purl"`
		Hashes []struct {
			FileHashes []struct {
				Algorithm string `json:"algorithm"`
				Value     string `json:"value"`
			} `json:"file_hashes"`
		} `json:"hashes"`
	} `json:"product_identification_helper"`
}

type relationship struct {
	Category         string       `json:"category"`
	FullProductName  namedProduct `json:"full_product_name"`
	ProductReference string       `json:"product_reference"`
	RelatesTo        string       `json:"relates_to_product_reference"`
}

type vulnerability struct {
	CVE string `json:"cve"`
	IDs []struct {
		Text string `json:"text"`
	} `json:"ids"`
	ProductStatus map[string][]string `json:"product_status"`
	Flags         []struct {
		Label      string   `json:"label"`
		ProductIDs []string `json:"product_ids"`
		GroupIDs   []string `json:"group_ids"`
	} `json:"flags"`
	Threats []struct {
		Category   string   `json:"category"`
		Details    string   `json:"details"`
		ProductIDs []string `json:"product_ids"`
		GroupIDs   []string `json:"group_ids"`
	} `json:"threats"`
}

// These are the values that the CSAF standard defines. In csafStatuses, "" means that the status
// does not state whether a product is affected.
var (
	csafStatuses = map[string]Status{
		"known_not_affected": NotAffected, "fixed": Fixed, "first_fixed": Fixed, "known_affected": Affected,
		"first_affected": Affected, "last_affected": Affected, "under_investigation": UnderInvestigation, "recommended": "",
	}
	csafLabels = []string{"component_not_present", "inline_mitigations_already_exist",
		"vulnerable_code_cannot_be_controlled_by_adversary", "vulnerable_code_not_in_execute_path", "vulnerable_code_not_present"}
	// partOf states for each kind of relationship whether one product becomes part of the other.
	partOf = map[string]bool{"default_component_of": true, "external_component_of": true, "optional_component_of": true,
		"installed_on": true, "installed_with": false}
)

// csafVEX parses a final or interim document of CSAF's VEX profile. Products are identified by a
// package URL or by the SHA-256 digest of an image. If one product is part of another, the part
// becomes the subcomponent of the statement, and the other product becomes its product.
func csafVEX(data []byte) ([]Statement, error) {
	var doc advisory
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	d := doc.Document
	switch {
	case d.CSAFVersion != "2.0":
		return nil, fmt.Errorf("unsupported CSAF version %q: must be 2.0", d.CSAFVersion)
	case d.Category != "csaf_vex":
		return nil, fmt.Errorf("unsupported document category %q: must be csaf_vex", d.Category)
	case d.Tracking.Status != "final" && d.Tracking.Status != "interim":
		return nil, fmt.Errorf("unsupported tracking status %q: must be final or interim", d.Tracking.Status)
	case d.Tracking.ID == "":
		return nil, errors.New("the tracking id is missing")
	}
	released, err := time.Parse(time.RFC3339, d.Tracking.CurrentReleaseDate)
	if err != nil {
		return nil, fmt.Errorf("parsing the current release date: %w", err)
	}
	tree, err := newProductTree(doc)
	if err != nil {
		return nil, err
	}
	var out []Statement
	for i, v := range doc.Vulnerabilities {
		statements, err := tree.statements(v)
		if err != nil {
			return nil, fmt.Errorf("vulnerability %d, %q: %w", i+1, v.CVE, err)
		}
		for _, s := range statements {
			s.Document, s.Author, s.Timestamp = d.Tracking.ID, d.Publisher.Name, released.UTC()
			out = append(out, s)
		}
	}
	return out, nil
}

// productTree resolves product ids and group ids.
type productTree struct {
	products map[string]product
	groups   map[string][]string
}

// product has the names of a product. If a statement is about a package in the product, inside has
// the names of that package.
type product struct{ names, inside []string }

func newProductTree(doc advisory) (*productTree, error) {
	t := &productTree{products: map[string]product{}, groups: map[string][]string{}}
	for _, p := range doc.ProductTree.FullProductNames {
		if err := t.add(p.ProductID, product{names: p.names()}); err != nil {
			return nil, err
		}
	}
	if err := t.walk(doc.ProductTree.Branches); err != nil {
		return nil, err
	}
	for _, r := range doc.ProductTree.Relationships {
		if err := t.relate(r); err != nil {
			return nil, err
		}
	}
	for _, g := range doc.ProductTree.ProductGroups {
		if _, ok := t.groups[g.GroupID]; ok || g.GroupID == "" {
			return nil, fmt.Errorf("group id %q is empty or used twice", g.GroupID)
		}
		t.groups[g.GroupID] = g.ProductIDs
	}
	return t, nil
}

func (t *productTree) add(id string, p product) error {
	if _, ok := t.products[id]; ok || id == "" {
		return fmt.Errorf("product id %q is empty or used twice", id)
	}
	t.products[id] = p
	return nil
}

func (t *productTree) walk(branches []branch) error {
	for _, b := range branches {
		if b.Product != nil {
			if err := t.add(b.Product.ProductID, product{names: b.Product.names()}); err != nil {
				return err
			}
		}
		if err := t.walk(b.Branches); err != nil {
			return err
		}
	}
	return nil
}

// relate adds the product that a relationship defines to the product tree.
func (t *productTree) relate(r relationship) error {
	part, ok := t.products[r.ProductReference]
	whole, ok2 := t.products[r.RelatesTo]
	within, ok3 := partOf[r.Category]
	if !ok || !ok2 || !ok3 {
		return fmt.Errorf("relationship %[2]q of product %[1]q: unknown category, or %[3]q or %[4]q is not in the product tree", r.FullProductName.ProductID, r.Category, r.ProductReference, r.RelatesTo)
	}
	made := product{names: []string{}}
	// A chain of relationships is not supported: the resulting product matches nothing. A part
	// without a usable name also matches nothing, because the statement would otherwise apply to
	// the whole product.
	if within && part.inside == nil && whole.inside == nil && len(part.names) > 0 {
		made = product{names: whole.names, inside: part.names}
	}
	return t.add(r.FullProductName.ProductID, made)
}

// names returns the package URL and the image digests of a product. It never returns nil.
func (p namedProduct) names() []string {
	out := []string{}
	if isPURL(p.Helper.PURL) {
		out = append(out, p.Helper.PURL)
	}
	for _, file := range p.Helper.Hashes {
		for _, h := range file.FileHashes {
			if digest := imageDigest(h.Value); strings.EqualFold(h.Algorithm, "sha256") && digest != "" {
				out = append(out, digest)
			}
		}
	}
	return out
}

// statements returns one statement for each product that has a status.
func (t *productTree) statements(v vulnerability) ([]Statement, error) {
	one := Statement{ID: v.CVE}
	for _, id := range v.IDs {
		if one.ID == "" {
			one.ID = id.Text
		} else {
			one.Aliases = append(one.Aliases, id.Text)
		}
	}
	status := map[string]Status{}
	for _, group := range slices.Sorted(maps.Keys(v.ProductStatus)) {
		as, known := csafStatuses[group]
		if !known {
			return nil, fmt.Errorf("unknown product status %q", group)
		}
		if as == "" {
			continue
		}
		for _, id := range v.ProductStatus[group] {
			if _, ok := t.products[id]; !ok {
				return nil, fmt.Errorf("product %q is not in the product tree", id)
			}
			if other, ok := status[id]; ok && other != as {
				return nil, fmt.Errorf("product %q is both %s and %s", id, other, as)
			}
			status[id] = as
		}
	}
	all := slices.Sorted(maps.Keys(status))
	justification, impact := map[string]string{}, map[string]string{}
	for _, f := range v.Flags {
		if !slices.Contains(csafLabels, f.Label) {
			return nil, fmt.Errorf("unknown justification flag %q", f.Label)
		}
		if err := t.note(justification, f.Label, f.ProductIDs, f.GroupIDs); err != nil {
			return nil, err
		}
	}
	for _, threat := range v.Threats {
		if threat.Category != "impact" {
			continue
		}
		products := threat.ProductIDs
		if products == nil && threat.GroupIDs == nil {
			products = all
		}
		if err := t.note(impact, threat.Details, products, threat.GroupIDs); err != nil {
			return nil, err
		}
	}
	var out []Statement
	for _, id := range all {
		forProduct := one
		forProduct.Status, forProduct.Products, forProduct.Subcomponents = status[id], t.products[id].names, t.products[id].inside
		if status[id] == NotAffected {
			forProduct.Justification, forProduct.Impact = justification[id], impact[id]
		}
		out = append(out, forProduct)
	}
	return out, nil
}

// note stores a text for the given products and for the products of the given groups.
func (t *productTree) note(notes map[string]string, text string, products, groups []string) error {
	for _, id := range products {
		notes[id] = text
	}
	for _, group := range groups {
		members, ok := t.groups[group]
		if !ok {
			return fmt.Errorf("group %q is not in the product tree", group)
		}
		for _, id := range members {
			notes[id] = text
		}
	}
	return nil
}
