package evidence

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestMisspelledSeverityIsAnError(t *testing.T) {
	for _, s := range []string{"", "hi", "high ", "CRIT", "important", "moderate", "5", "highcritical"} {
		if got, err := ParseSeverity(s); err == nil {
			t.Errorf("ParseSeverity(%q) = %v", s, got)
		}
	}
	var s Severity
	if err := s.UnmarshalText([]byte("hgih")); err == nil {
		t.Errorf("UnmarshalText gave %v", s)
	}
}

func TestSeverityText(t *testing.T) {
	for s := SeverityUnknown; s <= SeverityCritical; s++ {
		text, err := s.MarshalText()
		if err != nil || string(text) != s.String() {
			t.Errorf("%d: %q, %v", s, text, err)
		}
		var back Severity
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%s: back to %v, %v", s, back, err)
		}
	}
	if text, err := (SeverityCritical + 1).MarshalText(); err == nil {
		t.Errorf("marshalled %q", text)
	}
}

func TestUnknownSeverityIsNotLow(t *testing.T) {
	for s := SeverityUnknown; s <= SeverityCritical+1; s++ {
		if !SeverityUnknown.AtLeast(s) {
			t.Errorf("unknown is below %s", s)
		}
		if !s.AtLeast(SeverityUnknown) || !s.AtLeast(SeverityCritical+1) {
			t.Errorf("%s is below a threshold that is none", s)
		}
	}
	if SeverityHigh.AtLeast(SeverityCritical) || !SeverityHigh.AtLeast(SeverityHigh) {
		t.Error("high reaches high and nothing above")
	}
	all := []Severity{SeverityCritical, SeverityUnknown, SeverityLow, SeverityNegligible, SeverityHigh, SeverityMedium}
	slices.SortFunc(all, Severity.Compare)
	if want := []Severity{SeverityNegligible, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical, SeverityUnknown}; !slices.Equal(all, want) {
		t.Errorf("order %v, want %v", all, want)
	}
}

func TestFixStateText(t *testing.T) {
	for state, want := range map[FixState]string{"": `"unknown"`, FixUnknown: `"unknown"`, FixAvailable: `"fixed"`, FixNone: `"not-fixed"`, FixWont: `"wont-fix"`} {
		if got, err := json.Marshal(state); err != nil || string(got) != want {
			t.Errorf("%q is %s, want %s: %v", string(state), got, want, err)
		}
		var back FixState
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Error(err)
		}
	}
	var s FixState
	if err := json.Unmarshal([]byte(`"Fixed"`), &s); err == nil {
		t.Errorf("read %q", s)
	}
}
