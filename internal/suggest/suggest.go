// Package suggest finds the correct name for a misspelled name: see [Nearest].
package suggest

import "strings"

// Nearest returns the name that word most likely misspells, or "" if no name is similar enough. It
// ignores case. A name may differ by at most two characters, and by less than half of its length.
func Nearest(word string, names []string) string {
	const longest, farthest = 64, 2
	if len(word) > longest {
		return ""
	}
	best, distance := "", farthest+1
	for _, name := range names {
		d := editDistance(strings.ToLower(word), strings.ToLower(name))
		// If half of a short word or more differs, it is another word and not a misspelling.
		if d < distance && 2*d < len(name) {
			best, distance = name, d
		}
	}
	return best
}

// editDistance returns the Levenshtein distance of a and b in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
