package config

import (
	"fmt"
	"slices"
)

// Key is a key of the file. It has the name of the environment variable that sets the same flag:
// "db-url" for IMAGEGATE_DB_URL.
type Key struct {
	Name string
	// Variable is the environment variable of the flag. It is empty for a flag that only the command
	// line can set. A file cannot have such a key.
	Variable string
	// Bool is set for a flag that takes no value.
	Bool bool
	// Repeatable is set for a flag with several values.
	Repeatable bool
	Form       Form
	// Words are the only valid values. For an Output, they are the formats. For a PathOrURI, they are
	// values that are not paths. Default: any value.
	Words []string
	// Extensions are the extensions of files in the formats of an Output, such as ".json".
	Extensions []string
	// Description is the help of the flag.
	Description string
}

// Form says which part of a value is a path.
type Form uint8

const (
	// Plain is a value without a path.
	Plain Form = iota
	// Path is the path of a file or folder.
	Path
	// PathOrURI is a path, or a URI with "://".
	PathOrURI
	// Output is the format of a report, or a format, "=" and a path.
	Output
)

// foundKeys are the keys that a found file can have. They select what a run prints and how many
// SBOMs it keeps. None of them changes a decision, or which files a run reads.
var foundKeys = []string{"output", "details", "log-format", "progress", "color", "quiet", "cache-max"}

// Found reports whether a found file can have the key.
func (k Key) Found() bool { return slices.Contains(foundKeys, k.Name) }

// risks says why a found file cannot have a key. All other keys have one reason.
var risks = map[string]string{
	"cache-dir": "the folder holds the vulnerability database, so a pull request could bring a database without the vulnerabilities of its image",
	"temp-dir":  "the image is unpacked there, so a pull request could choose a folder that others can change",
}

// refusal returns the problem of a key that the file cannot have, or "".
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
