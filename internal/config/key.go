package config

import (
	"fmt"
	"slices"
)

// Key is a key of the configuration file. Its name is derived from the environment variable of the
// same flag: "db-url" for IMAGEGATE_DB_URL.
type Key struct {
	Name string
	// Variable is the environment variable of the flag. It is empty if only the command line can
	// set the flag. No file can set such a key.
	Variable string
	// Bool is true for a flag that takes no value.
	Bool bool
	// Repeatable is true for a flag that can have several values.
	Repeatable bool
	Form       Form
	// Words are the only valid values. For the form Output, they are the report formats. For
	// PathOrURI, they are the values that are not paths. Default: every value is valid.
	Words []string
	// Extensions are the file extensions of the report formats, such as ".json". Only for the form
	// Output.
	Extensions []string
	// Description is the help text of the flag.
	Description string
}

// Form says which part of a value is a path.
type Form uint8

const (
	// Plain means that no part of the value is a path.
	Plain Form = iota
	// Path means that the value is the path of a file or folder.
	Path
	// PathOrURI means that the value is a path, or a URI with "://".
	PathOrURI
	// Output means that the value is a report format, or a report format, "=" and a path.
	Output
)

// foundKeys are the keys that a found file can set. They select what a run prints and how many
// SBOMs the cache keeps. None of them changes a decision, or which files a run reads.
var foundKeys = []string{"output", "details", "log-format", "progress", "color", "quiet", "cache-max"}

// Found reports whether a found file can set the key.
func (k Key) Found() bool { return slices.Contains(foundKeys, k.Name) }

// risks says why a found file cannot set a key. All keys that are not listed have one common
// reason.
var risks = map[string]string{
	"cache-dir": "the folder holds the vulnerability database, so a pull request could bring a database without the vulnerabilities of its image",
	"temp-dir":  "the image is unpacked there, so a pull request could choose a folder that others can change",
}

// refusal returns the error message for a key that the file cannot set, or "" if it can. found is
// true for a found file.
func (k Key) refusal(found bool) string {
	switch {
	case k.Variable == "":
		return fmt.Sprintf("%q cannot be in a configuration file: the flag is for one run, so only the command line can set it", k.Name)
	case !found || k.Found():
		return ""
	}
	why, ok := risks[k.Name]
	if !ok {
		why = "the change under review may have written it"
	}
	return fmt.Sprintf("%q cannot be in a file that imagegate finds by itself: %s. Put the key into a file outside the checkout and name that file with --config, or set %s", k.Name, why, k.Variable)
}
