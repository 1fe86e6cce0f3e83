package password

import (
	"bytes"
	"strings"
	"testing"
)

// TestVariableNeedsNoPrompt checks that COSIGN_PASSWORD is used without a prompt, even if its value
// is empty.
func TestVariableNeedsNoPrompt(t *testing.T) {
	for _, want := range []string{"correct horse", ""} {
		t.Setenv(Variable, want)
		var out bytes.Buffer
		for _, get := range []func() ([]byte, error){
			func() ([]byte, error) { return Of(t.Context(), strings.NewReader("x"), &out, "Password: ") },
			func() ([]byte, error) { return New(t.Context(), strings.NewReader("x"), &out) },
		} {
			if got, err := get(); string(got) != want || err != nil || out.Len() > 0 {
				t.Errorf("%q, %v, printed %q", got, err, &out)
			}
		}
	}
}
