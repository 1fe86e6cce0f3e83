package formats

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// labels match the lines of the text report that count the items which do not block.
var labels = map[string]*regexp.Regexp{
	"warning":     regexp.MustCompile(`(?m)^WARNINGS +(\d+)`),
	"excepted":    regexp.MustCompile(`(?m)^EXCEPTED +(\d+)`),
	"notAffected": regexp.MustCompile(`(?m)^VEX +(\d+) not affected`),
}

// TestTextAgrees checks that the text report has the word, the reason and the counts of the
// verdict. The text report cannot be parsed like the other formats, so the number of blocking
// problems is checked only in the reason.
func TestTextAgrees(t *testing.T) {
	reports := outcomes(t)
	delete(reports, "hostile") // text from the image imitates the labels
	for seed := range uint64(100) {
		reports[fmt.Sprint("seed ", seed)] = generated(t, seed)
	}
	for name, r := range reports {
		data, err := write(t, row(t, "text"), r)
		if err != nil {
			t.Fatal(err)
		}
		v, text := r.Verdict(), string(data)
		if !regexp.MustCompile(`(?m)^` + v.Word + `  `).MatchString(text) {
			t.Errorf("%s: no line begins with %s:\n%s", name, v.Word, text)
		}
		why, _, _ := strings.Cut(v.Why, " error") // the message of an error follows on lines of its own
		if !strings.Contains(strings.ToLower(strings.Join(strings.Fields(text), " ")), strings.ToLower(why)) {
			t.Errorf("%s: the text does not say %q:\n%s", name, why, text)
		}
		if r.Decision == nil {
			continue
		}
		for status, want := range map[string]int{"warning": v.Counts.Warnings, "excepted": v.Counts.Excepted, "notAffected": v.Counts.NotAffected} {
			got := 0
			if m := labels[status].FindStringSubmatch(text); m != nil {
				if got, err = strconv.Atoi(m[1]); err != nil {
					t.Error(err)
				}
			}
			if got != want {
				t.Errorf("%s: the text counts %d of status %s, want %d", name, got, status, want)
			}
		}
	}
}
