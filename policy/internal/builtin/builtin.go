// Package builtin has the names of the built-in rules. A built-in rule has no name in the policy file;
// its name is the path of its key.
package builtin

// The built-in rules that are not named after a key of their own.
const (
	NotCovered  = "distribution.notCovered"
	Unknowns    = "sbom.unknowns"
	LazyIndexes = "image.lazyIndexes"
)

var (
	// Excepted lists the built-in rules that exceptions can name.
	Excepted = []string{NotCovered, Unknowns, "database.maxAge", "database.origins", "database.minAdvisories",
		"distribution.endOfLife", "distribution.allow", "sbom.minPackages", LazyIndexes}
	// Paths lists the rules about files, so that an exception can name a path.
	Paths = []string{NotCovered, Unknowns}
	// Strict lists all other built-in rules: incomplete evidence, an empty SBOM, and limits on the
	// policy itself.
	Strict = []string{"sbom", "evidence", "exceptions", "exceptions.maxLifetime", "unmatchedImages"}
)
