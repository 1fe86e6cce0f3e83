package match

import (
	"fmt"
	"strings"
)

// CheckID refuses text that is not the id of one vulnerability.
func CheckID(s string) error {
	if strings.ContainsAny(s, "* \t") {
		return fmt.Errorf("%q is not the id of one vulnerability", s)
	}
	return nil
}
