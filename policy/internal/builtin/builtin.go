// Package builtin has the names of the built-in rules. A policy file does not name these rules.
// Most of their names are the path of a key, such as "sbom.minPackages".
package builtin

// Names of built-in rules that several packages refer to.
const (
	NotCovered  = "distribution.notCovered"
	Unknowns    = "sbom.unknowns"
	LazyIndexes = "image.lazyIndexes"
)

var (
	// Excepted lists the built-in rules that exceptions can name.
	Excepted = []string{NotCovered, Unknowns, "database.maxAge", "database.origins", "database.minAdvisories",
		"distribution.endOfLife", "distribution.allow", "sbom.minPackages", LazyIndexes}
	// Paths lists the built-in rules about files. Only an exception for such a rule can have a
	// path.
	Paths = []string{NotCovered, Unknowns}
	// Strict lists the built-in rules that exceptions cannot cover: the rules about incomplete
	// evidence, about an empty SBOM, and about the policy itself.
	Strict = []string{"sbom", "evidence", "exceptions", "exceptions.maxLifetime", "unmatchedImages"}
)
