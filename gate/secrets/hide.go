package secrets

import (
	"maps"
	"regexp"
	"slices"

	"github.com/imagegate/imagegate/policy/evidence"
)

// confidentialLabel matches names of labels such as "deploy.token" and "com.example.db-password".
var confidentialLabel = regexp.MustCompile(`(?i)(?:^|[._/-])(?:pass|passwd|password|passphrase|pwd|secrets?|tokens?|credentials?|auth|api[._-]?keys?|(?:access|private|secret|signing|encryption)[._-]?keys?)$`)

// HiddenLabels returns the names of the labels whose values must not be shown, sorted, or nil. It
// includes more labels than Find reports, because hiding a label's value does not deny an image.
func (d *Detector) HiddenLabels(labels map[string]string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if d.isSensitive(name, labels[name]) {
			names = append(names, name)
		}
	}
	return names
}

func (d *Detector) isSensitive(name, value string) bool {
	if len(d.Assignment(name, value)) > 0 || userinfo.MatchString(value) || privateKeyHeader.MatchString(value) || hasRandom(value) {
		return true
	}
	return confidentialLabel.MatchString(name) && !isHarmless(name, value)
}

var privateKeyHeader = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`)

// Public returns a text from an image as it may be shown: evidence.HiddenValue if the text looks
// like a credential, and otherwise the text itself.
func (d *Detector) Public(text string) string {
	if userinfo.MatchString(text) || len(d.Text(text)) > 0 || hasRandom(text) {
		return evidence.HiddenValue
	}
	return text
}
