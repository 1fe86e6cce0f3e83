package evidence

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// Severity is the severity of a finding. The zero value is SeverityUnknown, which reaches every
// threshold: a missing severity must not let a finding through.
type Severity uint8

// The severities, in ascending order.
const (
	SeverityUnknown Severity = iota
	SeverityNegligible
	SeverityLow
	SeverityMedium
	SeverityHigh
	SeverityCritical
)

var severityNames = [...]string{"unknown", "negligible", "low", "medium", "high", "critical"}

// ParseSeverity reads the name of a severity. Letter case is ignored. Any other text is an error,
// never SeverityUnknown: a misspelled threshold must not become a different one.
func ParseSeverity(s string) (Severity, error) {
	for i, name := range severityNames {
		if strings.EqualFold(s, name) {
			return Severity(i), nil
		}
	}
	return SeverityUnknown, fmt.Errorf("unknown severity %q: expected one of %s", s, strings.Join(severityNames[:], ", "))
}

// AtLeast reports whether s reaches the threshold. SeverityUnknown reaches every threshold. Every
// severity reaches a threshold that is unknown or invalid.
func (s Severity) AtLeast(threshold Severity) bool {
	return s == SeverityUnknown || s >= threshold || threshold > SeverityCritical
}

// Compare orders severities. It puts SeverityUnknown above all others.
func (s Severity) Compare(other Severity) int { return cmp.Compare(s.urgency(), other.urgency()) }

func (s Severity) urgency() int {
	if s == SeverityUnknown {
		return 1 << 8
	}
	return int(s)
}

// String returns the name in lower case.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText writes the name in lower case.
func (s Severity) MarshalText() ([]byte, error) {
	if int(s) >= len(severityNames) {
		return nil, fmt.Errorf("severity %d has no name", uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads a name like ParseSeverity.
func (s *Severity) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSeverity(string(text))
	return err
}

// FixState states whether a fixed version exists. The zero value counts as FixUnknown and is
// written as FixUnknown.
type FixState string

// The fix states, as vendors publish them.
const (
	FixUnknown   FixState = "unknown"
	FixAvailable FixState = "fixed"
	FixNone      FixState = "not-fixed"
	FixWont      FixState = "wont-fix"
)

// MarshalJSON writes the name. The zero value is written as FixUnknown.
func (f FixState) MarshalJSON() ([]byte, error) {
	if f == "" {
		f = FixUnknown
	}
	return json.Marshal(string(f))
}

// UnmarshalJSON accepts only the names of the four fix states.
func (f *FixState) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	switch v := FixState(s); v {
	case FixUnknown, FixAvailable, FixNone, FixWont:
		*f = v
		return nil
	}
	return fmt.Errorf("unknown fix state %q", s)
}
