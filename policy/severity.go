package policy

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Severity is how bad a finding is. The zero value is SeverityUnknown, which
// counts as at or above every threshold: that nobody stated a severity is no
// reason to let a finding through.
type Severity uint8

// The severities in the order in which thresholds compare them.
const (
	SeverityUnknown Severity = iota
	SeverityNegligible
	SeverityLow
	SeverityMedium
	SeverityHigh
	SeverityCritical
)

var severityNames = [...]string{"unknown", "negligible", "low", "medium", "high", "critical"}

// ParseSeverity reads a severity's name in any letter case. Anything else is an
// error, never SeverityUnknown: a misspelt threshold must not become a
// different one.
func ParseSeverity(s string) (Severity, error) {
	for i, name := range severityNames {
		if strings.EqualFold(s, name) {
			return Severity(i), nil
		}
	}
	return SeverityUnknown, fmt.Errorf("unknown severity %q: want one of %s", s, strings.Join(severityNames[:], ", "))
}

// AtLeast reports whether s reaches the threshold. SeverityUnknown reaches
// every threshold, and as a threshold it is reached by everything. So is a
// threshold that is no severity at all.
func (s Severity) AtLeast(threshold Severity) bool {
	return s == SeverityUnknown || s >= threshold || threshold > SeverityCritical
}

// String returns the lower-case name.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText writes the lower-case name.
func (s Severity) MarshalText() ([]byte, error) {
	if int(s) >= len(severityNames) {
		return nil, fmt.Errorf("severity %d has no name", uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText is ParseSeverity.
func (s *Severity) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSeverity(string(text))
	return err
}

// FixState says whether a repaired version exists. The zero value counts as
// FixUnknown, and is written as such.
type FixState string

// The fix states, as vendors publish them.
const (
	FixUnknown   FixState = "unknown"
	FixAvailable FixState = "fixed"
	FixNone      FixState = "not-fixed"
	FixWont      FixState = "wont-fix"
)

// MarshalJSON writes the name, for the zero value that of FixUnknown.
func (f FixState) MarshalJSON() ([]byte, error) {
	if f == "" {
		f = FixUnknown
	}
	return json.Marshal(string(f))
}

// UnmarshalJSON accepts the four names above and nothing else.
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
