package evidence

import "time"

// Database describes the vulnerability database and its origin.
type Database struct {
	Schema string    `json:"schema"` // such as "6.1.9"
	Built  time.Time `json:"built,omitzero"`
	// Digest is the SHA-256 of the database file, "sha256:<hex>".
	Digest string `json:"digest"`
	// Source is the origin of the database: a URL without credentials, or the base name of a file.
	Source    string     `json:"source,omitempty"`
	Providers []Provider `json:"providers"`
	// Advisories counts the advisories for the image: for its distribution and for each package
	// type. An empty list means incomplete evidence, so the image is denied.
	Advisories []Advisories `json:"advisories,omitempty"`
}

// Advisories is the number of advisories for one distribution or package type. An
// advisory that names several packages counts once for each.
type Advisories struct {
	// Distribution is id and version of os-release, such as "debian 12". It is empty for a package
	// type.
	Distribution string `json:"distribution,omitempty"`
	Type         string `json:"type,omitempty"` // such as "npm"
	Count        int    `json:"count"`
	// AtLeast means that counting stopped at a limit, so the database can have more advisories than
	// Count.
	AtLeast bool `json:"atLeast,omitempty"`
	// ByCPE means that the database lists no advisory under the type itself. Count is then the
	// number of all advisories by CPE, which can be about any type.
	ByCPE bool `json:"byCPE,omitempty"`
}

// Of names the distribution or package type in messages: "debian 12" or "npm packages".
func (a Advisories) Of() string {
	if a.Distribution != "" {
		return a.Distribution
	}
	return a.Type + " packages"
}

// Provider is one source of the data in a database.
type Provider struct {
	Name     string    `json:"name"`
	Captured time.Time `json:"captured,omitzero"` // the time when its data was fetched from upstream
}
