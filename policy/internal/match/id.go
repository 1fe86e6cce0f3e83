package match

import (
	"fmt"
	"strings"
)

// CheckID returns an error for text that cannot be the id of one vulnerability.
func CheckID(s string) error {
	if strings.ContainsAny(s, "* \t") {
		return fmt.Errorf("%q is not the id of one vulnerability", s)
	}
	return nil
}
