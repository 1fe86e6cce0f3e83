package suggest

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"severity", "starter", "strict", "audit", "id", ""}
	for word, want := range map[string]string{
		"severty": "severity", "SEVERITY": "severity", "stater": "starter", "strikt": "strict", "audti": "audit",
		"": "", "xy": "", "ib": "", "something else": "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
