package evidence

import "time"

// VEXStatus is the status of a vulnerability in a product, in the words of OpenVEX.
type VEXStatus string

// The statuses. Only the first two can remove a finding.
const (
	VEXNotAffected        VEXStatus = "not_affected"
	VEXFixed              VEXStatus = "fixed"
	VEXAffected           VEXStatus = "affected"
	VEXUnderInvestigation VEXStatus = "under_investigation"
)

// VEXStatement states how a vulnerability affects some products.
type VEXStatement struct {
	ID      string   `json:"id"`
	Aliases []string `json:"aliases,omitempty"`
	// Products lists purls of packages, or images by digest, "sha256:<hex>", or by purls of type
	// oci. Subcomponents lists purls of packages in these products.
	Products      []string  `json:"products,omitempty"`
	Subcomponents []string  `json:"subcomponents,omitempty"`
	Status        VEXStatus `json:"status"`
	Justification string    `json:"justification,omitempty"`
	Impact        string    `json:"impact,omitempty"`
	// Document names the document of the statement, and Author the author that it states.
	Document string `json:"document,omitempty"`
	Author   string `json:"author,omitempty"`
	// Signer is the verified signer, or nil if the statement is not signed.
	Signer    *Signer   `json:"signer,omitempty"`
	Timestamp time.Time `json:"timestamp,omitzero"`
}

// IDs returns the id and the aliases in lower case, for comparison.
func (s *VEXStatement) IDs() []string { return lowerIDs(s.ID, s.Aliases) }
